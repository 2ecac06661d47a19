//! Tasks per second through the whole chain: queue, worker, message server,
//! store, acknowledgement. Beside it, the plain Python consumer and the broker
//! alone, on the same broker in the same run.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::process::{Program, Ready, command, messenger};
use crate::jobs::queue::{Broker, Outgoing, Place, Queue};

#[derive(Clone, Debug)]
pub struct Config {
    /// Without a broker, only the embedded queue is measured.
    pub broker: Option<String>,
    /// An interpreter with pika and the stubs; without it, no Python consumer.
    pub python: Option<PathBuf>,
    /// For each measurement; a tenth of it for those with one task at a time.
    pub tasks: usize,
}

/// One measurement.
pub struct Row {
    pub what: &'static str,
    pub tasks: usize,
    pub per_second: f64,
}

/// Always the same, so that at most this one is left on somebody's broker. It is
/// empty after a run that has not failed.
const QUEUE: &str = "messenger_bench_tasks";

/// The program that is compared with.
const PYTHON: &str = include_str!("../../../tests/reference/jobs_consumer.py");

/// Tasks that are sent at once.
const BATCH: usize = 1000;

/// What any exchange may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Measures one after the other, and shows each.
///
/// # Errors
/// A broker that is not there, or a program that does not start.
pub fn run(config: &Config, mut show: impl FnMut(Row)) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let this = std::env::current_exe()?;
    let server = ["server", "--host", "127.0.0.1", "--port", "0"];
    let server = messenger(&this, &[&server[..], &["--services", "message"]].concat());
    let server = Program::start(server, &Ready::Line)?;
    let (server, folder) = (server.address(), folder.path());
    let (few, many) = (config.tasks.div_ceil(10), config.tasks);
    if let Some(url) = &config.broker {
        let place = Place::RabbitMq(Broker::new(url, QUEUE)?);
        broker_alone(&place, many, &mut show)?;
        if let Some(python) = &config.python {
            let script = folder.join("jobs_consumer.py");
            std::fs::write(&script, PYTHON)?;
            let mut consumer = command(python);
            consumer.arg("-u").arg(script).env("AMQP_URL", url);
            consumer.env("TASK_QUEUE", QUEUE).env("GRPC_TARGET", server);
            let what = "RabbitMQ: the plain Python consumer, prefetch 1";
            show(consume(what, &place, few, consumer)?);
        }
        let one = workers("1", "1", server, folder, Some(url))?;
        show(consume("RabbitMQ: 1 worker, prefetch 1", &place, few, one)?);
        let four = workers("4", "64", server, folder, Some(url))?;
        show(consume(
            "RabbitMQ: 4 workers, prefetch 64",
            &place,
            many,
            four,
        )?);
    }
    let place = Place::Embedded(folder.to_owned());
    let one = workers("1", "1", server, folder, None)?;
    show(consume("embedded: 1 worker, prefetch 1", &place, few, one)?);
    let four = workers("4", "64", server, folder, None)?;
    show(consume(
        "embedded: 4 workers, prefetch 64",
        &place,
        many,
        four,
    )?);
    Ok(())
}

/// Ours.
fn workers(
    count: &str,
    prefetch: &str,
    server: &str,
    folder: &Path,
    broker: Option<&String>,
) -> io::Result<Command> {
    let this = std::env::current_exe()?;
    let work = ["jobs", "work", "--queue-name", QUEUE, "--target", server];
    let mut command = messenger(&this, &work);
    command.args(["--workers", count, "--prefetch", prefetch]);
    command.arg("--data-dir").arg(folder);
    command.envs(broker.map(|url| ("AMQP_URL", url)));
    Ok(command)
}

/// What the broker carries when nobody works: sent and confirmed, and
/// delivered and acknowledged.
fn broker_alone(place: &Place, tasks: usize, show: &mut impl FnMut(Row)) -> Outcome<()> {
    let row = |what, started: Instant| Row {
        what,
        tasks,
        per_second: tasks as f64 / started.elapsed().as_secs_f64(),
    };
    let queue = Queue::open(place)?;
    queue.depth(PATIENCE)?;
    let started = Instant::now();
    fill(&queue, tasks)?;
    show(row("RabbitMQ alone: sent and confirmed", started));
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
    show(row(what, started));
    Ok(())
}

fn fill(queue: &Queue, tasks: usize) -> Outcome<()> {
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
fn consume(what: &'static str, place: &Place, tasks: usize, mut command: Command) -> Outcome<Row> {
    let queue = Queue::open(place)?;
    queue.depth(PATIENCE)?;
    fill(&queue, tasks)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::null());
    let mut consumer = Program::spawn(command)?;
    let stdout = consumer.child().and_then(|child| child.stdout.take());
    let lines = BufReader::new(stdout.ok_or("no pipe")?).lines();
    let answers = lines.map_while(Result::ok);
    let mut answers = answers.filter(|line| line.contains(" -> "));
    answers.next().ok_or("the consumer has ended")?;
    let (started, rest) = (Instant::now(), tasks - 1);
    if answers.take(rest).count() < rest {
        return Err("the consumer has ended before its tasks".into());
    }
    Ok(Row {
        what,
        tasks: rest,
        per_second: rest as f64 / started.elapsed().as_secs_f64(),
    })
}
