//! 10,000 tasks and four workers, while workers, the server and the broker are
//! killed. Every task that was confirmed has exactly one result, the right one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::jobs::{Place, expected, text};
use crate::support::process::Process;
use crate::support::programs::{Server, free_port};
use crate::support::rabbitmq::Broker;
use crate::support::{eventually, heavy};

const TASKS: usize = 10_000;
const BATCH: usize = 500;
const WORKERS: usize = 4;

fn task(number: usize) -> String {
    match number % 3 {
        0 => format!("user{number}"),
        1 => format!("fact:{}", number % 100),
        _ => format!("freq:abracadabra {number}"),
    }
}

/// Sends all tasks, each batch until it is confirmed; what is sent, by its id.
fn send_all(place: &Place) -> HashMap<String, String> {
    let deadline = Instant::now() + Duration::from_secs(300);
    let mut sent = HashMap::new();
    for start in (0..TASKS).step_by(BATCH) {
        let tasks: Vec<_> = (start..start + BATCH).map(task).collect();
        let ids = loop {
            let (code, ids) = place.try_send(&tasks);
            if code == 0 {
                break ids;
            }
            assert!(ids.is_empty(), "nothing is claimed");
            assert!(Instant::now() < deadline, "no broker takes the tasks");
        };
        sent.extend(ids.into_iter().zip(tasks));
    }
    sent
}

fn survive(place: &Place, broker: Option<&Broker>) {
    let _machine = heavy();
    let port = free_port();
    let start = || Server::start_on(port, &["--services", "message"]);
    let address = format!("127.0.0.1:{port}");
    let work = || place.work(&address, &["--prefetch", "16"]);
    let mut server = Some(start());
    let mut workers: Vec<Process> = (0..WORKERS).map(|_| work()).collect();
    let sent_all = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let sent = send_all(place);
            sent_all.store(true, Ordering::SeqCst);
            sent
        });
        let mut round = 0;
        while round < 8 || !sent_all.load(Ordering::SeqCst) {
            // Something has to be under way when it is killed.
            workers[round % WORKERS]
                .line(Duration::from_secs(120))
                .expect("work goes on");
            // Dropping a process kills it with SIGKILL.
            workers[round % WORKERS] = work();
            if round % 3 == 1 {
                server = None;
                server.get_or_insert_with(start);
            }
            if let Some(broker) = broker
                && round == 4
            {
                broker.restart();
            }
            round += 1;
        }
        sending.join().expect("all is sent")
    });
    assert_eq!(sent.len(), TASKS);
    let mut jobs = Vec::new();
    let within = Duration::from_secs(300);
    eventually(within, "every confirmed task has a result", || {
        jobs = place.list(&[]);
        let done = jobs.iter().filter(|job| job["state"] == "done");
        done.filter(|job| sent.contains_key(job["id"].as_str().unwrap()))
            .count()
            == TASKS
    });
    let mut results = HashMap::new();
    for job in &jobs {
        assert!(
            results.insert(text(&job["id"]), job).is_none(),
            "two of {job}"
        );
        let task = text(&job["task"]);
        assert_eq!(job["result"], expected(&task), "{job}");
    }
    for (id, task) in &sent {
        assert_eq!(results[id]["task"], **task);
    }
    drop((server, workers));
}

#[test]
fn embedded() {
    survive(&Place::embedded(), None);
}

#[test]
fn rabbitmq() {
    let broker = Broker::start();
    survive(&Place::at(&broker.url()), Some(&broker));
}
