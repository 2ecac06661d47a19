//! The load client: what it prints, and that it sees what is wrong.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::history::Store;
use crate::support::programs::messenger;

/// What is wrong with a stub's answers.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Some numbers are never given.
    Skips,
    /// Some numbers are given twice.
    Repeats,
    /// Messages of an answer are in another order.
    Reorders,
    /// The answer shows a message that came later.
    Later,
    /// Some messages do not count.
    Miscounts,
}

/// A log in memory, on a thread for each connection.
fn stub(fault: Fault) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Arc::new(Mutex::new(Vec::new()));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let log = log.clone();
            thread::spawn(move || serve(stream, fault, &log));
        }
    });
    port
}

fn serve(stream: TcpStream, fault: Fault, log: &Mutex<Vec<Value>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if let Some(value) = line.strip_prefix("Content-Length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let answer = Value::from(append(&mut log.lock().unwrap(), &body, fault)).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream
            .get_mut()
            .write_all((head + &answer).as_bytes())
            .ok()?;
    }
}

fn append(log: &mut Vec<Value>, body: &[u8], fault: Fault) -> Vec<Value> {
    let mut message: Value = serde_json::from_slice(body).unwrap();
    let last = log
        .last()
        .map_or(0, |message| message["number"].as_i64().unwrap());
    let odd = log.len() % 20 == 15;
    let of_sender = log
        .iter()
        .filter(|other| other["sender"] == message["sender"]);
    let count = of_sender.count() + usize::from(!(odd && fault == Fault::Miscounts));
    message["number"] = match fault {
        Fault::Skips if odd => last + 2,
        Fault::Repeats if odd => last,
        _ => last + 1,
    }
    .into();
    message["sentAt"] = format!("2026-01-02T03:04:05.{:09}Z", log.len()).into();
    message["senderCount"] = count.into();
    log.push(message);
    let mut answer = log[log.len().saturating_sub(10)..].to_vec();
    if odd && fault == Fault::Reorders {
        answer.swap(4, 5);
    }
    if odd && fault == Fault::Later {
        let mut later = answer[9].clone();
        later["number"] = (last + 2).into();
        later["text"] = "later".into();
        answer.remove(0);
        answer.push(later);
    }
    answer
}

/// Exit code, standard output and log of a run with so many workers.
fn run(port: u16, arguments: &[&str]) -> (i32, String, String) {
    let url = format!("http://127.0.0.1:{port}");
    let load = [
        "history",
        "load",
        "--url",
        &url,
        "--workers",
        "4",
        "--requests",
        "25",
    ];
    let mut process = messenger(&[&load, arguments].concat());
    let code = process.wait_exit(Duration::from_secs(60));
    let mut out = String::new();
    while let Some(line) = process.line(SOON) {
        out += &line;
        out.push('\n');
    }
    (code, out, process.log())
}

#[test]
fn faults_are_printed_and_make_the_exit_code_one() {
    let (code, _, log) = run(stub(Fault::None), &[]);
    assert_eq!((code, log.as_str()), (0, ""));
    for (fault, words) in [
        (Fault::Skips, "has the numbers"),
        (Fault::Repeats, "was given to two messages"),
        (Fault::Reorders, "has the numbers"),
        (Fault::Later, "ends with \"later\""),
        (Fault::Miscounts, "senderCount is"),
    ] {
        let (code, out, log) = run(stub(fault), &["--json"]);
        assert_eq!(code, 1, "{words}");
        let violation = |line: &str| line.starts_with("violation: ") && line.contains(words);
        assert!(log.lines().any(violation), "{words}: {log}");
        let count = serde_json::from_str::<Value>(&out).unwrap()["violations"].as_u64();
        let last = format!("messenger: {} violations in the answers", count.unwrap());
        assert_eq!(log.lines().last(), Some(&*last));
    }
}

#[test]
fn a_run_prints_a_table_or_json_and_draws_a_plot() {
    let store = Store::sqlite();
    let log = store.replica(&[], &[]);
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("latency.svg");
    let (code, out, log_text) = run(log.port(), &["--plot", plot.to_str().unwrap()]);
    assert_eq!((code, log_text.as_str()), (0, ""));
    for word in [
        "total s",
        "requests/s",
        "p50",
        "p90",
        "p99",
        "max",
        "replica",
        &log.address(),
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(
        svg.starts_with("<svg") && svg.contains("requests, %"),
        "{svg}"
    );
    let (code, out, _) = run(log.port(), &["--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &json["requests"], &json["violations"]),
        (0, &json!(100), &json!(0))
    );
    assert_eq!(json["replicas"][0]["requests"], 100);
    assert_eq!(store.check(&[]), 200);
}

#[test]
fn replicas_that_fail_are_counted_and_none_at_all_is_an_error() {
    let store = Store::sqlite();
    let log = store.replica(&[], &[]);
    let dead = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, out, _) = run(log.port(), &["--json", "--url", &dead.to_string()]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0, "{out}");
    // Each went to the other one in the end.
    assert_eq!(json["requests"], 100, "{out}");
    assert!(json["replicas"][1]["errors"].as_u64() > Some(0), "{out}");
    let (code, _, log) = run(dead.port(), &[]);
    assert!(
        code == 1 && log.contains("no request was answered"),
        "{log}"
    );
}
