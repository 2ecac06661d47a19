//! What other sites' pages may ask of bridge, log and console: nothing. For curl and
//! programs, which do not say where they come from, nothing changes.

use crate::support::SOON;
use crate::support::eventually;
use crate::support::history::Store;
use crate::support::http::{flush, request, seen};
use crate::support::programs::{Bridge, Console, Server};
use crate::support::rpc::{client, send};

/// A request, with fields, and the status that is due.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16);

fn check(port: u16, cases: &[Case<'_>]) {
    for (method, path, fields, status) in cases {
        let answer = request(method, port, path, fields, r#"{"author":"a","text":"b"}"#);
        let seen = (answer.status, &answer.body);
        assert_eq!(
            answer.status, *status,
            "{method} {path} {fields:?}: {seen:?}"
        );
        if matches!(status, 403 | 421) {
            assert_eq!(answer.json()["error"]["code"], "PERMISSION_DENIED");
        }
    }
}

const CROSS_SITE: &[(&str, &str)] = &[("Sec-Fetch-Site", "cross-site")];
const FOREIGN: &[(&str, &str)] = &[("Origin", "http://evil.example")];
const SANDBOX: &[(&str, &str)] = &[("Origin", "null")];
const REBOUND: &[(&str, &str)] = &[("Host", "rebind.evil")];
const PROXIED: &[(&str, &str)] = &[
    ("Host", "chat.example:80"),
    ("Origin", "https://chat.example:80"),
];

#[test]
fn a_foreign_page_neither_empties_the_postbox_nor_writes_to_the_chat() {
    const FLUSH: &str = "/getAndFlushMessages";
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &["--allow-host", "chat.example,b"]);
    let time = send(&client(&server.address()), "a", "b");
    let port = bridge.port();
    let own = format!("http://127.0.0.1:{port}");
    for fields in [CROSS_SITE, FOREIGN, SANDBOX] {
        check(
            port,
            &[
                ("POST", FLUSH, fields, 403),
                ("POST", "/sendMessage", fields, 403),
            ],
        );
    }
    check(
        port,
        &[
            ("POST", FLUSH, REBOUND, 421),
            ("POST", "/sendMessage", REBOUND, 421),
            ("GET", "/", REBOUND, 421),
            ("GET", "/", PROXIED, 200),
            ("GET", "/", &[("Origin", &own)], 200),
            ("GET", "/", &[("Host", "localhost:1")], 200),
        ],
    );
    // It has all the messages that there are: one, which is still there.
    eventually(SOON, "the message", || {
        flush(port) == [seen("a", "b", time)]
    });
    check(port, &[("POST", FLUSH, &[("Origin", &own)], 200)]);
}

#[test]
fn a_foreign_page_neither_writes_to_the_log_nor_follows_it() {
    let store = Store::sqlite();
    let log = store.replica(&[], &[("MESSENGER_ALLOW_HOST", "chat.example")]);
    for fields in [CROSS_SITE, FOREIGN, SANDBOX] {
        let paths = [("POST", "/"), ("GET", "/messages"), ("GET", "/events")];
        check(
            log.port(),
            &paths.map(|(method, path)| (method, path, fields, 403)),
        );
    }
    check(
        log.port(),
        &[
            ("POST", "/", REBOUND, 421),
            ("GET", "/events", REBOUND, 421),
            ("GET", "/messages", PROXIED, 200),
        ],
    );
    assert!(store.table().is_empty());
}

#[test]
fn a_foreign_page_does_not_follow_the_console() {
    let server = Server::start(&[]);
    let console = Console::start(&server.address(), &["--allow-host", "chat.example"]);
    for fields in [CROSS_SITE, FOREIGN, SANDBOX] {
        check(
            console.port(),
            &[("GET", "/events", fields, 403), ("GET", "/", fields, 403)],
        );
    }
    check(
        console.port(),
        &[
            ("GET", "/events", REBOUND, 421),
            ("GET", "/", PROXIED, 200),
            ("GET", "/", &[], 200),
        ],
    );
}
