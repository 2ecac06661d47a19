//! Tasks per second through the whole chain: queue, worker, message server,
//! store, acknowledgement. Beside it, the plain Python consumer and the broker
//! alone, on the same broker in the same run.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::Program;
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
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub what: &'static str,
    pub tasks: usize,
    pub seconds: f64,
}

impl Row {
    pub fn per_second(&self) -> f64 {
        self.tasks as f64 / self.seconds
    }
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
    let services = ["--services", "message"].map(str::to_owned);
    let server = Program::server(0, &services)?;
    let bench = Bench {
        config,
        server: server.address().to_owned(),
        folder: folder.path(),
    };
    let (few, many) = (config.tasks.div_ceil(10), config.tasks);
    if let Some(broker) = &config.broker {
        let place = Place::RabbitMq(Broker::new(broker, QUEUE)?);
        for row in bench.broker_alone(&place, many)? {
            show(row);
        }
        if let Some(python) = &config.python {
            let what = "RabbitMQ: the plain Python consumer, prefetch 1";
            show(bench.consumer(what, &place, few, bench.python(python)?)?);
        }
        let what = "RabbitMQ: 1 worker, prefetch 1";
        show(bench.consumer(what, &place, few, bench.ours(&["1", "1"], Some(broker))?)?);
        let what = "RabbitMQ: 4 workers, prefetch 64";
        show(bench.consumer(what, &place, many, bench.ours(&["4", "64"], Some(broker))?)?);
    }
    let place = Place::Embedded(folder.path().to_owned());
    let what = "embedded: 1 worker, prefetch 1";
    show(bench.consumer(what, &place, few, bench.ours(&["1", "1"], None)?)?);
    let what = "embedded: 4 workers, prefetch 64";
    show(bench.consumer(what, &place, many, bench.ours(&["4", "64"], None)?)?);
    Ok(())
}

struct Bench<'a> {
    config: &'a Config,
    server: String,
    folder: &'a Path,
}

impl Bench<'_> {
    /// What the broker carries when nobody works: sent and confirmed, and
    /// delivered and acknowledged.
    fn broker_alone(&self, place: &Place, count: usize) -> Outcome<[Row; 2]> {
        let queue = Queue::open(place)?;
        queue.depth(PATIENCE)?;
        let sent = self.fill(&queue, count)?;
        let deliveries = queue.consume(256);
        let started = Instant::now();
        let mut taken = 0;
        while taken < count {
            let first = deliveries.recv_timeout(PATIENCE)?;
            let tokens = std::iter::once(first).chain(deliveries.try_iter());
            let tokens: Vec<_> = tokens.map(|delivery| delivery.token).collect();
            taken += tokens.len();
            queue.ack(tokens);
        }
        // Asked behind the last acknowledgement.
        queue.depth(PATIENCE)?;
        let row = |what, seconds| Row {
            what,
            tasks: count,
            seconds,
        };
        Ok([
            row("RabbitMQ alone: sent and confirmed", sent),
            row(
                "RabbitMQ alone: delivered and acknowledged, prefetch 256",
                started.elapsed().as_secs_f64(),
            ),
        ])
    }

    /// Returns how many seconds it took.
    fn fill(&self, queue: &Queue, count: usize) -> Outcome<f64> {
        let started = Instant::now();
        let mut numbers = 0..count;
        loop {
            let batch = numbers.by_ref().take(BATCH);
            let batch: Vec<_> = batch.map(|n| Outgoing::new(task(n).into_bytes())).collect();
            if batch.is_empty() {
                return Ok(started.elapsed().as_secs_f64());
            }
            queue.publish(batch, PATIENCE)?;
        }
    }

    /// From its first line to its last: a consumer writes one for each task.
    fn consumer(
        &self,
        what: &'static str,
        place: &Place,
        count: usize,
        mut command: Command,
    ) -> Outcome<Row> {
        let queue = Queue::open(place)?;
        queue.depth(PATIENCE)?;
        self.fill(&queue, count)?;
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut consumer = Ended(command.stderr(Stdio::null()).spawn()?);
        let stdout = consumer.0.stdout.take();
        let stdout = stdout.ok_or_else(|| io::Error::other("no pipe"))?;
        let mut lines = BufReader::new(stdout).lines();
        let mut answers = lines.by_ref().map_while(Result::ok);
        let mut answers = answers.by_ref().filter(|line| line.contains(" -> "));
        answers.next().ok_or("the consumer has ended")?;
        let started = Instant::now();
        let seen = answers.take(count - 1).count();
        let seconds = started.elapsed().as_secs_f64();
        if seen < count - 1 {
            return Err("the consumer has ended before its tasks".into());
        }
        Ok(Row {
            what,
            tasks: count - 1,
            seconds,
        })
    }

    fn ours(&self, size: &[&str; 2], broker: Option<&str>) -> Outcome<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["jobs", "work", "--log-level", "off", "--queue-name", QUEUE]);
        command.args(["--workers", size[0], "--prefetch", size[1]]);
        command.args(["--target", &self.server]);
        command.arg("--data-dir").arg(self.folder);
        command.env_remove("AMQP_URL").env_remove("DATABASE_URL");
        command.envs(broker.map(|url| ("AMQP_URL", url)));
        Ok(command)
    }

    fn python(&self, python: &Path) -> Outcome<Command> {
        let script = self.folder.join("jobs_consumer.py");
        fs::write(&script, PYTHON)?;
        let mut command = Command::new(python);
        command.arg("-u").arg(script).env("TASK_QUEUE", QUEUE);
        command.env("GRPC_TARGET", &self.server);
        let broker = self.config.broker.as_deref();
        command.envs(broker.map(|url| ("AMQP_URL", url)));
        Ok(command)
    }
}

/// All three kinds, small.
fn task(number: usize) -> String {
    match number % 3 {
        0 => format!("user{number}"),
        1 => format!("fact:{}", number % 50),
        _ => format!("freq:abracadabra{number}"),
    }
}

/// A process that is ended when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
