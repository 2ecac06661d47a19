//! `messenger bench jobs`: tasks per second through the whole chain of queue, worker,
//! message server, store and acknowledgement. Beside it, the plain Python consumer and
//! the broker alone, on the same broker in the same run.

use std::io::BufRead as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Output;
use crate::cli::Error;
use crate::compare::load::process::{Program, command, messenger};
use crate::jobs::queue::{Broker, Outgoing, Place, Queue};

/// Always the same, so that at most this one is left on somebody's broker. It is
/// empty after a run that has not failed.
const QUEUE: &str = "messenger_bench_tasks";

/// The program that is compared with.
const PYTHON: &str = include_str!("../../../tests/reference/jobs_consumer.py");

/// Tasks that are sent at once.
const BATCH: usize = 1000;

/// What any exchange may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measure tasks per second: our workers, the Python consumer, the broker alone
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// RabbitMQ's address; without it, only the embedded queue is measured
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    amqp_url: Option<String>,
    /// An interpreter with pika and the stubs, for the Python consumer
    #[arg(long, env = "MESSENGER_TEST_PYTHON", value_name = "FILE")]
    python: Option<PathBuf>,
    /// Tasks of each measurement; a tenth of them where tasks are sent one by one
    #[arg(long, env = "MESSENGER_BENCH_TASKS", default_value_t = 20_000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    tasks: u32,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench jobs
  AMQP_URL=amqp://user:password@localhost messenger bench jobs --python target/venv/bin/python";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let folder = tempfile::tempdir()?;
        let server = super::server(&["--services".into(), "message".into()])?;
        let (server, folder) = (server.address(), folder.path());
        let (few, many) = (self.tasks.div_ceil(10) as usize, self.tasks as usize);
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        if let Some(url) = self.amqp_url.as_deref().filter(|url| !url.is_empty()) {
            let place = Place::RabbitMq(Broker::new(url, QUEUE)?);
            broker_alone(&place, many, &mut rows)?;
            if let Some(python) = &self.python {
                let script = folder.join("jobs_consumer.py");
                std::fs::write(&script, PYTHON)?;
                let mut consumer = command(python);
                consumer.arg("-u").arg(script).env("AMQP_URL", url);
                consumer.env("TASK_QUEUE", QUEUE).env("GRPC_TARGET", server);
                let what = "RabbitMQ: the plain Python consumer, prefetch 1";
                rows.push(consume(what, &place, few, consumer)?);
            }
            places.push(("RabbitMQ", place, Some(url)));
        }
        places.push(("embedded", Place::Embedded(folder.to_owned()), None));
        for (name, place, broker) in &places {
            for (size, count, prefetch, tasks) in [
                ("1 worker, prefetch 1", "1", "1", few),
                ("4 workers, prefetch 64", "4", "64", many),
            ] {
                let work = ["jobs", "work", "--queue-name", QUEUE, "--target", server];
                let mut workers = messenger(&std::env::current_exe()?, &work);
                workers.args(["--workers", count, "--prefetch", prefetch, "--data-dir"]);
                workers
                    .arg(folder)
                    .envs(broker.map(|url| ("AMQP_URL", url)));
                rows.push(consume(&format!("{name}: {size}"), place, tasks, workers)?);
            }
        }
        let columns = [
            ("", "what", 1.0, 0),
            ("tasks", "tasks", 1.0, 0),
            ("tasks/s", "perSecond", 1.0, 0),
        ];
        self.output.rows(&rows, &columns)
    }
}

fn row(what: &str, tasks: usize, started: Instant) -> Value {
    let rate = tasks as f64 / started.elapsed().as_secs_f64();
    tracing::info!("{what}: {rate:.0} tasks/s");
    json!({"what": what, "tasks": tasks, "perSecond": rate})
}

/// What the broker carries when nobody works: sent and confirmed, and
/// delivered and acknowledged.
fn broker_alone(place: &Place, tasks: usize, rows: &mut Vec<Value>) -> Result<(), Error> {
    let queue = Queue::open(place)?;
    queue.depth(PATIENCE)?;
    let started = Instant::now();
    fill(&queue, tasks)?;
    rows.push(row("RabbitMQ alone: sent and confirmed", tasks, started));
    let deliveries = queue.consume(256);
    let started = Instant::now();
    let mut taken = 0;
    while taken < tasks {
        let first = deliveries.recv_timeout(PATIENCE)?;
        let tokens = std::iter::once(first).chain(deliveries.try_iter());
        let tokens: Vec<_> = tokens.map(|delivery| delivery.token).collect();
        taken += tokens.len();
        queue.ack(tokens);
    }
    // Asked behind the last acknowledgement.
    queue.depth(PATIENCE)?;
    let what = "RabbitMQ alone: delivered and acknowledged, prefetch 256";
    rows.push(row(what, tasks, started));
    Ok(())
}

fn fill(queue: &Queue, tasks: usize) -> Result<(), Error> {
    // All three kinds, small.
    let task = |number: usize| match number % 3 {
        0 => format!("user{number}"),
        1 => format!("fact:{}", number % 50),
        _ => format!("freq:abracadabra{number}"),
    };
    let numbers: Vec<_> = (0..tasks).collect();
    for batch in numbers.chunks(BATCH) {
        let batch = batch.iter().map(|n| Outgoing::new(task(*n).into_bytes()));
        queue.publish(batch.collect(), PATIENCE)?;
    }
    Ok(())
}

/// From its first line to its last: a consumer writes one for each task.
fn consume(what: &str, place: &Place, tasks: usize, command: Command) -> Result<Value, Error> {
    let queue = Queue::open(place)?;
    queue.depth(PATIENCE)?;
    fill(&queue, tasks)?;
    let (_consumer, lines) = Program::piped(command)?;
    let answers = lines.lines().map_while(Result::ok);
    let mut answers = answers.filter(|line| line.contains(" -> "));
    answers.next().ok_or("the consumer has ended")?;
    let (started, rest) = (Instant::now(), tasks - 1);
    if answers.take(rest).count() < rest {
        return Err("the consumer has ended before its tasks".into());
    }
    Ok(row(what, rest, started))
}
