//! Clients that send, and a plain Python consumer.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use messenger::jobs::queue::Outgoing;

use super::event::JobsEvent;
use super::site::Site;
use super::tasks::{Kind, number, short, text};
use crate::chaos::record::Pen;
use crate::chaos::run::Stop;
use crate::support::jobs::A_WHILE;
use crate::support::process::Signal;
use crate::support::programs::Python;

/// The pen of a producer, and the tasks that it has to see done.
pub struct Sending {
    pub pen: Pen<JobsEvent>,
    pub confirmed: Vec<u64>,
}

impl Sending {
    fn ask(&mut self, tasks: &[u64]) {
        for task in tasks {
            self.pen.note(JobsEvent::Asked { task: *task });
        }
    }

    fn confirm(&mut self, tasks: &[u64]) {
        for task in tasks {
            self.pen.note(JobsEvent::Confirmed { task: *task });
        }
        self.confirmed.extend(tasks);
    }

    fn unknown(&mut self, tasks: &[u64], why: &str) {
        for task in tasks {
            let (task, why) = (*task, why.to_owned());
            self.pen.note(JobsEvent::Unknown { task, why });
        }
    }
}

fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

/// In this process: several messages at a time, each with up to three tasks. `pause`
/// is in milliseconds.
pub fn publish(
    seed: u64,
    kind: Kind,
    pause: u64,
    site: &Site,
    mut to: Sending,
    stop: &Stop,
) -> Vec<u64> {
    let mut numbers = kind.numbers();
    let mut rng = Rng::with_seed(seed ^ (numbers.start << 32));
    let queue = site.open();
    // A text that is not UTF-8 is not split.
    let most = if kind == Kind::Good { 3 } else { 1 };
    while !stop.wait(millis(&mut rng, 0..pause)) {
        let count = rng.usize(1..=4);
        let mut message = |_| numbers.by_ref().take(rng.usize(1..=most)).collect();
        let messages: Vec<Vec<u64>> = (0..count).map(&mut message).collect();
        let tasks = messages.concat();
        to.ask(&tasks);
        let outgoing = messages.iter().map(|tasks| {
            let texts: Vec<_> = tasks.iter().map(|task| text(*task)).collect();
            let id = format!("m{}", tasks[0]);
            Outgoing {
                id,
                ..Outgoing::new(texts.join(&b','))
            }
        });
        let within = millis(&mut rng, 500..4_000);
        match queue.publish(outgoing.collect(), within) {
            Ok(()) => to.confirm(&tasks),
            Err(error) => to.unknown(&tasks, &error.to_string()),
        }
    }
    to.confirmed
}

/// `messenger jobs send`, which is killed now and then, or has to refuse.
pub fn send(seed: u64, site: &Site, mut to: Sending, stop: &Stop) -> Vec<u64> {
    let mut numbers = Kind::Sent.numbers();
    let mut rng = Rng::with_seed(seed ^ (numbers.start << 32));
    while !stop.wait(millis(&mut rng, 100..700)) {
        let tasks: Vec<u64> = numbers.by_ref().take(rng.usize(1..30)).collect();
        to.ask(&tasks);
        let timeout = format!("{}ms", rng.u64(500..4_000));
        let texts: Vec<_> = tasks.iter().map(|task| text(*task)).collect();
        let texts = texts
            .iter()
            .map(|text| str::from_utf8(text).expect("UTF-8"));
        let mut arguments = vec!["send", "--timeout", &timeout];
        arguments.extend(texts);
        let refused = rng.u8(..6) == 0;
        if refused {
            // There is no task in it.
            arguments.push(" ,");
        }
        let mut sender = site.jobs(&arguments);
        if rng.u8(..6) == 0 {
            thread::sleep(millis(&mut rng, 1..300));
            sender.signal(Signal::KILL);
        }
        let said = sender.lines(A_WHILE);
        let code = sender.wait_exit(A_WHILE);
        let sent = said
            .iter()
            .filter_map(|line| line.strip_prefix("sent ")?.split_once(' '));
        let mut sent: Vec<u64> = sent.map(|(_, task)| number(task)).collect();
        if code != 0 {
            // The last line of one that was killed may be cut.
            sent.retain(|task| tasks.contains(task));
        }
        to.confirm(&sent);
        let left: Vec<_> = tasks
            .into_iter()
            .filter(|task| !sent.contains(task))
            .collect();
        match sender.log().contains("tasks: there is none") {
            true => left
                .iter()
                .for_each(|task| to.pen.note(JobsEvent::Refused { task: *task })),
            false => to.unknown(&left, &format!("exit code {code}")),
        }
    }
    to.confirmed
}

/// The variables of plain Python programs.
fn variables<'a>(site: &'a Site, server: &'a str) -> [(&'static str, &'a str); 3] {
    let broker = site.broker.as_deref().expect("a broker");
    [
        ("AMQP_URL", broker),
        ("TASK_QUEUE", &site.queue),
        ("GRPC_TARGET", server),
    ]
}

/// The plain Python producer, which waits for no confirmation.
pub fn send_with_python(seed: u64, site: &Site, mut to: Sending, stop: &Stop) {
    let mut rng = Rng::with_seed(seed ^ (Kind::Plain.numbers().start << 32));
    for task in Kind::Plain.numbers() {
        if stop.wait(millis(&mut rng, 500..2_000)) {
            return;
        }
        to.ask(&[task]);
        let text = text(task);
        let text = OsStr::from_bytes(&text).to_string_lossy();
        let producer = Python::spawn("jobs_producer.py", &[&text], &variables(site, ""));
        // Killed when it takes longer.
        let _ = producer.try_line(Duration::from_secs(5));
        drop(producer);
        to.unknown(&[task], "it waits for no confirmation");
    }
}

/// The plain Python consumer: it ends whenever something goes wrong, and is started
/// again. Adds what it has printed.
pub fn consume_with_python(
    seed: u64,
    site: &Site,
    server: &str,
    printed: &Mutex<BTreeSet<u64>>,
    over: &AtomicBool,
    mut pen: Pen<JobsEvent>,
) {
    let mut rng = Rng::with_seed(seed);
    while !over.load(Ordering::SeqCst) {
        let until = Instant::now() + millis(&mut rng, 1_000..12_000);
        let consumer = Python::spawn("jobs_consumer.py", &[], &variables(site, server));
        loop {
            match consumer.try_line(Duration::from_millis(100)) {
                Ok(Some(line)) => {
                    let Some((task, result)) = line.split_once(" -> ") else {
                        continue;
                    };
                    let (task, result) = (number(task), short(result));
                    pen.note(JobsEvent::Printed { task, result });
                    printed.lock().expect("no panic").insert(task);
                }
                Ok(None) => break,
                Err(_) if over.load(Ordering::SeqCst) || Instant::now() > until => {
                    // What it has printed until then still comes.
                    consumer.signal(Signal::KILL);
                }
                Err(_) => {}
            }
        }
    }
}
