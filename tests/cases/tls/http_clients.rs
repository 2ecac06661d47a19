//! Our HTTP clients before servers with TLS: the console's for the log, the load, and the
//! health check.

use std::time::Duration;

use crate::support::certificates::{Authority, Pair};
use crate::support::events::Events;
use crate::support::history::Store;
use crate::support::http::request;
use crate::support::programs::{Console, Program, Server, messenger};
use crate::support::tls::{ca, flags};
use crate::support::{SOON, eventually};

/// A log that is not called localhost, and that only lets in who has a certificate.
fn log(authority: &Authority) -> (Store, Program) {
    let pair = authority.issue(&["log.example"]);
    let clients = ca(authority);
    let store = Store::sqlite();
    let mutual = ["--tls-client-ca", &*clients];
    let log = store.replica(&[&flags(&pair)[..], &mutual].concat(), &[]);
    (store, log)
}

/// What a client of the log needs, with this prefix.
fn all_flags(prefix: &str, ca: &str, own: &Pair, name: &str) -> Vec<String> {
    let (certificate, key) = own.paths();
    let values = [
        ("ca", ca),
        ("cert", certificate),
        ("key", key),
        ("name", name),
    ];
    let pairs = values.map(|(flag, value)| [format!("--{prefix}tls-{flag}"), value.into()]);
    pairs.concat()
}

fn texts(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

#[test]
fn the_console_follows_a_log_over_mutual_tls() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let own = authority.issue(&["console"]);
    let server = Server::start(&[]);
    let (_store, log) = log(&authority);
    let console = |ca: &str, name: &str| {
        let address = log.address();
        let flags = all_flags("history-", ca, &own, name);
        let flags = [&["--history", &*address], &texts(&flags)[..]].concat();
        Console::start(&server.address(), &flags)
    };
    let said = |console: &Program, text: &str| {
        let body = format!(r#"{{"sender":"anna","text":"{text}"}}"#);
        let json = [("Content-Type", "application/json")];
        request("POST", console.port(), "/api/history", &json, &body)
    };
    let good = console(&ca(&authority), "log.example");
    let page = Events::open(good.port(), "");
    let answer = said(&good, "over TLS");
    assert_eq!(answer.status, 200, "{}", answer.body);
    eventually(SOON, "the stream brings it", || {
        page.next().data.to_string().contains("over TLS")
    });
    for (ca, name) in [(ca(&other), "log.example"), (ca(&authority), "localhost")] {
        let bad = console(&ca, name);
        let answer = said(&bad, "to nobody");
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(
            answer.body.contains("certificate verify failed"),
            "{}",
            answer.body
        );
    }
}

#[test]
fn load_and_health_check_speak_tls() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let own = authority.issue(&["load"]);
    let (_store, log) = log(&authority);
    let url = format!("https://{}", log.address());
    let health = format!("{url}/healthz");
    let run = |command: &[&str], ca: &str, name: &str| {
        let flags = all_flags("", ca, &own, name);
        let mut process = messenger(&[command, &texts(&flags)].concat());
        let lines = process.lines(2 * SOON).join("\n");
        (
            process.wait_exit(Duration::from_secs(5)),
            lines + &process.log(),
        )
    };
    let load = [
        "history",
        "load",
        "--workers",
        "2",
        "--requests",
        "20",
        "--url",
        &url,
    ];
    let check = ["healthcheck", "--http", &health];
    for command in [&load[..], &check] {
        let (code, said) = run(command, &ca(&authority), "log.example");
        assert_eq!(code, 0, "{said}");
        for (ca, name) in [(ca(&other), "log.example"), (ca(&authority), "localhost")] {
            let (code, said) = run(command, &ca, name);
            assert_ne!(code, 0, "{said}");
            assert!(said.contains("certificate"), "{said}");
        }
    }
}
