//! `messenger shadow` sees the faults that the checks see: each check runs through it, with
//! the plain Python program on the left and the fault on the right.

use std::fs::{self, File};
use std::path::Path;

use messenger::compare::load::process::Program;
use messenger::compare::shadow::{Report, Side, start};
use messenger::http::client::Client;
use serde_json::Value;

use super::*;
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually};

/// What a shadow cannot see.
const UNSEEN: &[&str] = &[
    // It answers UNIMPLEMENTED by itself.
    "unknown-method",
    // The second side is asked one whole request at a time.
    "request-in-pieces",
    "twenty-clients",
    // All of it is sent within a second after the reader came, in which what one side's
    // stream has alone is no difference.
    "answer-time",
    // These checks start programs anew behind the shadow's back.
    "port-opens-subscribed",
    "server-restart",
    "sent-while-reconnecting",
    "two-bridges",
];

struct Pair {
    addresses: [String; 2],
    _programs: Vec<Program>,
}

fn toolbox(scripts: &Path) -> Toolbox {
    plan(scripts, &[], &[], &[]).toolbox
}

/// Python servers, the right one with a fault.
fn servers(fault: &str) -> Pair {
    let folders = ["none", fault].map(|fault| planted(fault, "none"));
    let started = folders.each_ref().map(|folder| {
        let program = toolbox(folder.path()).server(&Peer::Python, 0);
        program.unwrap()
    });
    Pair {
        addresses: started.each_ref().map(|it| it.address().to_owned()),
        _programs: started.into(),
    }
}

/// Our servers, and Python bridges before them, the right one with a fault.
fn bridges(fault: &str) -> [Pair; 2] {
    let folders = ["none", fault].map(|fault| planted("none", fault));
    let (mut servers, mut bridges) = (Vec::new(), Vec::new());
    for folder in &folders {
        let toolbox = toolbox(folder.path());
        let server = toolbox.server(&Peer::Ours, 0).unwrap();
        let bridge = toolbox.bridge_among_messages(&Peer::Python, server.address());
        let bridge = bridge.unwrap();
        empty(server.address(), bridge.address());
        servers.push(server);
        bridges.push(bridge);
    }
    [servers, bridges].map(|programs| Pair {
        addresses: [0, 1].map(|at: usize| programs[at].address().to_owned()),
        _programs: programs,
    })
}

/// What was sent while a bridge has started is not in its postbox any more.
fn empty(server: &str, bridge: &str) {
    let (sender, mut http) = (client(server), Client::new(bridge, None));
    send(&sender, "marker", "the last one");
    eventually(SOON, "the last message is in a flush", || {
        let flushed = http.post("/getAndFlushMessages", "");
        flushed.is_ok_and(|it| String::from_utf8_lossy(&it).contains("the last one"))
    });
}

/// What a shadow in front of these says while `work` uses its places.
fn shown(
    grpc: &Pair,
    http: Option<&Pair>,
    work: impl FnOnce(String, Option<String>),
) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.jsonl");
    let report = Report {
        json: true,
        file: Some(File::create(&path).unwrap()),
        ..Report::default()
    };
    let place = |pair: &Pair| (0, pair.addresses.clone());
    let (grpc, http) = (place(grpc), http.map(place));
    let shadow = start("127.0.0.1", Some(&grpc), http.as_ref(), Side::Left, report).unwrap();
    let grpc = format!("127.0.0.1:{}", shadow.grpc().unwrap());
    work(grpc, shadow.http.map(|address| address.to_string()));
    shadow.shut_down();
    let lines = fs::read_to_string(path).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// The differences that a check shows where this fault is planted.
fn differences_of(check: &str, fault: &str, is_server: bool) -> Vec<Value> {
    let run_check = |grpc: String, http: Option<String>| {
        let bridges: Vec<_> = http.iter().cloned().map(Peer::Foreign).collect();
        let plan = plan(
            Path::new(""),
            &[Peer::Foreign(grpc.clone())],
            &bridges,
            &[check],
        );
        run(&plan, &|_, _, _| {}).unwrap();
        // What one of them has not given by then is missing.
        if let Some(http) = http {
            empty(&grpc, &http);
        }
    };
    let mut lines = match is_server {
        true => shown(&servers(fault), None, run_check),
        false => {
            let [servers, bridges] = bridges(fault);
            shown(&servers, Some(&bridges), run_check)
        }
    };
    // "late" is a known difference, only less often.
    let known = |line: &Value| line["known"].is_string() && fault != "late";
    lines.retain(|line| line["difference"].is_string() && !known(line));
    lines
}

fn planted_faults() -> Vec<(&'static str, &'static str, bool)> {
    let servers = SERVER_FAULTS.iter().map(|row| (row, true));
    let all = servers.chain(BRIDGE_FAULTS.iter().map(|row| (row, false)));
    let all = all.filter_map(|((check, fault), is_server)| match fault {
        Planted(fault) | MayDiffer(fault) => Some((*check, *fault, is_server)),
        Differs | Hangs => None,
    });
    all.filter(|(check, ..)| !UNSEEN.contains(check)).collect()
}

/// Runs them, several at a time.
fn all(rows: Vec<(&'static str, &'static str, bool)>) -> Vec<(String, Vec<Value>)> {
    let (rows, seen) = (Mutex::new(rows.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let next = rows.lock().unwrap().next();
                    let Some((check, fault, is_server)) = next else {
                        return;
                    };
                    let mut found = differences_of(check, fault, is_server);
                    // Some need luck: that a reader comes before a send, for instance, which it
                    // rarely does on a busy machine.
                    for _ in 0..if fault == "none" { 0 } else { 9 } {
                        if found.is_empty() {
                            found = differences_of(check, fault, is_server);
                        }
                    }
                    let name = format!("{check} with {fault}");
                    seen.lock().unwrap().push((name, found));
                }
            });
        }
    });
    seen.into_inner().unwrap()
}

#[test]
fn a_shadow_shows_each_planted_fault() {
    let _machine = heavy();
    let seen = all(planted_faults());
    assert!(seen.len() > 30, "{}", seen.len());
    for (name, found) in &seen {
        println!("{name}: {}", found.first().unwrap_or(&Value::Null));
    }
    let unseen: Vec<_> = seen.iter().filter(|(_, found)| found.is_empty()).collect();
    assert!(unseen.is_empty(), "{unseen:#?}");
}

#[test]
fn a_shadow_shows_nothing_where_nothing_is_planted() {
    let _machine = heavy();
    let mut rows = planted_faults();
    rows.iter_mut().for_each(|(_, fault, _)| *fault = "none");
    let seen = all(rows);
    let wrong: Vec<_> = seen.iter().filter(|(_, found)| !found.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
