//! Clients that others write from the .proto alone: grpcio, and grpclib, whose HTTP/2 is
//! not the C core's.

use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::http::{Seen, seen};
use crate::support::process::Process;
use crate::support::programs::{Python, Server};
use crate::support::rpc::{client, send};

const STACKS: [&str; 2] = ["grpcio", "grpclib"];

fn line(process: &Process) -> Value {
    let line = process.line(SOON);
    let line = line.unwrap_or_else(|| panic!("{}", process.log()));
    serde_json::from_str(&line).expect("JSON")
}

fn messages(process: &Process, count: usize) -> Vec<Seen> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let messages = (0..count).map(|_| line(process));
    messages
        .map(|it| {
            seen(
                &text(&it["author"]),
                &text(&it["text"]),
                it["ns"].as_i64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn other_stacks_read_in_order_come_back_and_are_told_of_a_gap() {
    let server = Server::start(&["--replay-messages", "50"]);
    let address = server.address();
    let sender = client(&address);
    for stack in STACKS {
        let subscribe = |after: &[&str]| {
            let arguments = [&[stack, &address], after].concat();
            let process = Python::spawn("subscriber.py", &arguments, &[]);
            let subscribed = line(&process);
            (process, subscribed)
        };
        let (live, subscribed) = subscribe(&[]);
        assert_eq!(subscribed["gap"], false, "{stack}");
        let epoch = subscribed["epoch"].as_str().unwrap();
        let text = |n: usize| format!("{n} мир");
        let sent: Vec<_> = (0..100)
            .map(|n| seen(stack, &text(n), send(&sender, stack, &text(n))))
            .collect();
        assert_eq!(messages(&live, 100), sent, "{stack}");
        let after = sent[59].nanos.to_string();
        let (resumed, subscribed) = subscribe(&[epoch, &after]);
        let filled = json!({"epoch": epoch, "ns": sent[59].nanos, "gap": false});
        assert_eq!(subscribed, filled, "{stack}");
        assert_eq!(messages(&resumed, 40), sent[60..], "{stack}");
        let (late, subscribed) = subscribe(&[epoch, &sent[9].nanos.to_string()]);
        let gap = json!({"epoch": epoch, "ns": sent[99].nanos, "gap": true});
        assert_eq!(subscribed, gap, "{stack}");
        let next = seen(stack, "live", send(&sender, stack, "live"));
        for process in [&live, &resumed, &late] {
            assert_eq!(messages(process, 1), std::slice::from_ref(&next), "{stack}");
        }
        let (_, refused) = subscribe(&["", &after]);
        let told = json!({"code": "INVALID_ARGUMENT", "details": "after.epoch: is empty"});
        assert_eq!(refused, told, "{stack}");
    }
}
