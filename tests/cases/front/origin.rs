//! What other sites' pages may ask of bridge, log and console: nothing. For curl and
//! programs, which do not say where they come from, nothing changes.

use messenger::http::Limits;

use super::{ask, echo, start};
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

/// The status of the answer to a request with these fields, on a loopback address.
fn status(line: &str, fields: &str) -> u16 {
    let limits = Limits {
        hosts: vec!["chat.example".into()],
        ..Limits::default()
    };
    let front = start(limits, echo);
    let text = format!("{line} HTTP/1.1\r\n{fields}\r\n\r\n");
    ask(front.local_addr(), text.as_bytes()).status
}

#[test]
fn only_names_of_this_machine_are_answered_on_its_loopback_addresses() {
    for (host, expected) in [
        ("localhost", 200),
        ("LOCALHOST:8090", 200),
        ("localhost.", 200),
        ("a.b.localhost:1", 200),
        ("127.0.0.1:1", 200),
        ("10.0.0.1", 200),
        ("[::1]:8090", 200),
        ("[::1]", 200),
        ("Chat.Example:80", 200),
        ("evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("evillocalhost", 421),
        ("127.0.0.1.nip.io", 421),
        ("0x7f000001", 421),
    ] {
        assert_eq!(
            status("GET /", &format!("Host: {host}")),
            expected,
            "{host}"
        );
    }
    // The target's own authority is what counts.
    assert_eq!(status("GET http://evil.example/", "Host: localhost"), 421);
}

#[test]
fn an_origin_has_to_be_the_site_itself() {
    for (origin, host, expected) in [
        ("http://localhost:8080", "localhost:8080", 200),
        ("http://LOCALHOST", "localhost:80", 200),
        ("http://localhost:80", "localhost", 200),
        ("https://chat.example", "chat.example", 200),
        ("https://chat.example", "chat.example:443", 200),
        ("https://chat.example:8443", "chat.example:8443", 200),
        ("http://[::1]:80", "[::1]", 200),
        ("null", "localhost", 403),
        ("", "localhost", 403),
        ("http://localhost", "localhost:8080", 403),
        ("http://localhost:8081", "localhost:8080", 403),
        ("https://localhost", "localhost:80", 403),
        ("http://evil.example", "localhost", 403),
        ("http://localhost.evil.example", "localhost", 403),
        ("localhost", "localhost", 403),
        ("chrome-extension://localhost", "localhost", 403),
        (
            "http://localhost\r\nOrigin: http://evil.example",
            "localhost",
            403,
        ),
    ] {
        let fields = format!("Host: {host}\r\nOrigin: {origin}");
        assert_eq!(status("POST /", &fields), expected, "{origin} {host}");
    }
}

#[test]
fn other_sites_pages_are_refused_but_a_link_may_be_followed() {
    let link = "cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document";
    let frame = "cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe";
    for (line, site, expected) in [
        ("GET /", "cross-site", 403),
        ("GET /", "same-origin", 200),
        ("GET /", "none", 200),
        ("GET /", "same-site", 200),
        ("GET /", link, 200),
        ("GET /", frame, 403),
        ("POST /", link, 403),
    ] {
        let fields = format!("Host: localhost\r\nSec-Fetch-Site: {site}");
        assert_eq!(status(line, &fields), expected, "{line} {site}");
    }
}
