//! A message server that has too much to do, or that a task crashes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use serde_json::Value;

use crate::support::eventually;
use crate::support::jobs::{A_WHILE, Place, on_both_queues, text};
use crate::support::programs::Server;

use super::message_server;

on_both_queues!(
    a_server_that_has_too_much_to_do_kills_no_task,
    a_task_that_crashes_the_server_dies_alone,
);

fn a_server_that_has_too_much_to_do_kills_no_task(place: Place) {
    let flags = [
        "--services",
        "message",
        "--rate",
        "8/s",
        "--rate-burst",
        "2",
    ];
    let server = Server::start(&flags);
    let tasks: Vec<_> = (0..20).map(|n| format!("fact:{n}")).collect();
    place.send(&tasks);
    let worker = place.work(&server.address(), &["--attempts", "1", "--workers", "20"]);
    for job in place.wait_for(tasks.len()).values() {
        assert_eq!(
            (&job["state"], &job["attempts"]),
            (&"done".into(), &1.into())
        );
    }
    assert!(
        worker.log().contains("RESOURCE_EXHAUSTED"),
        "it was too much"
    );
}

/// Between worker and server; a request with "crash" in it ends the connection, as the
/// end of the server's process would.
fn crashing(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, server) = (listener.local_addr().unwrap(), server.to_owned());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&server) else {
                return;
            };
            let (back, front) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || pipe(back, front));
            thread::spawn(move || pipe(client, server));
        }
    });
    address.to_string()
}

fn pipe(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if buffer[..length].windows(5).any(|bytes| bytes == b"crash") {
            break;
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn a_task_that_crashes_the_server_dies_alone(place: Place) {
    let server = message_server();
    let ids = place.send(&["crash it", "fact:3", "fact:4", "fact:5"]);
    let address = crashing(&server.address());
    let _worker = place.work(&address, &["--crashes", "3", "--workers", "2"]);
    let jobs = place.wait_for(4);
    assert_eq!(jobs[&ids[0]]["state"], "dead", "{}", jobs[&ids[0]]);
    assert!(text(&jobs[&ids[0]]["error"]).starts_with("UNAVAILABLE"));
    for id in &ids[1..] {
        assert_eq!(jobs[id]["state"], "done", "{}", jobs[id]);
        assert_eq!(jobs[id]["attempts"], 1);
    }
    eventually(A_WHILE, "it is a dead letter", || {
        let dead: Vec<Value> = serde_json::from_str(&place.dead(&["list", "--json"])).unwrap();
        dead.len() == 1 && dead[0]["id"] == *ids[0]
    });
}
