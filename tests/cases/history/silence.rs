//! Connections that are there, and say nothing.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::history::{Store, say, shown};
use crate::support::http::request;
use crate::support::postgres::cluster;

/// Backends that are stopped until this is dropped.
struct Stopped(Vec<Pid>);

impl Stopped {
    fn all_of(url: &str) -> Self {
        let ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'messenger history'";
        let rows = Store::postgres_connection(url).query(ours, &[]).unwrap();
        let pids = rows.iter().filter_map(|row| Pid::from_raw(row.get(0)));
        let stopped = Self(pids.collect());
        stopped.send(Signal::STOP);
        stopped
    }

    fn send(&self, signal: Signal) {
        for pid in &self.0 {
            kill_process(*pid, signal).expect("a backend");
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.send(Signal::CONT);
    }
}

#[test]
fn a_backend_that_says_nothing_is_given_up_for_a_new_connection() {
    let cluster = cluster(&[]);
    let url = cluster.create("log").unwrap();
    let store = Store::Url(url.clone());
    let log = store.replica(&["--database-timeout", "2s"], &[]);
    let port = log.port();
    let healthy = || request("GET", port, "/healthz", &[], "").status == 200;
    assert!(healthy());
    assert_eq!(shown(&say(port, "anna", "before")).len(), 1);
    let stopped = Stopped::all_of(&url);
    assert!(stopped.0.len() >= 2, "a reader's and a writer's");
    let began = Instant::now();
    let works = || say(port, "anna", "after").status == 200 && healthy();
    while !works() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "it goes on waiting"
        );
        thread::yield_now();
    }
    drop(stopped);
    store.check(&[]);
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_is_503_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let store = Store::Url(format!("postgresql://nobody@127.0.0.1:{port}/log"));
    let mut log = store.spawn(&["--database-timeout", "300ms"], &[]);
    assert_eq!(log.wait_exit(crate::support::SOON), 1);
    assert!(log.log().contains("within 300ms"), "{}", log.log());
}
