//! The console's login: over plain HTTP, and in Chromium.

use std::io::Read as _;
use std::process::Command;

use messenger::access::sessions::{SESSIONS, Sessions};
use messenger::access::{Access, Need};
use serde_json::json;

use super::http::{READ, ask, open};
use crate::support::browser::{Browser, Look};
use crate::support::certificates::Authority;
use crate::support::http::request;
use crate::support::programs::{Console, Program, Server};
use crate::support::tab::Tab;
use crate::support::tls::{ca, flags};
use crate::support::tokens::{SECRET, Tokens, bearer};
use crate::support::{SOON, eventually};

const COOKIE: &str = "messenger-session";

fn console(tokens: &Tokens) -> (Program, Program) {
    let server = Server::start(&[]);
    let flags = [&["--log-level", "debug"][..], &tokens.flags()].concat();
    let console = Console::start(&server.address(), &flags);
    (server, console)
}

/// The cookie of a new session.
fn log_in(console: &Program, token: &str) -> String {
    let head = ask(
        console.port(),
        "POST",
        "/api/login",
        &[("Authorization", &bearer(token))],
    );
    assert_eq!(head.status(), 200);
    let set = head.field("set-cookie").expect("a cookie");
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/");
    let id = cookie.strip_prefix("messenger-session=").unwrap();
    assert!(
        id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    cookie.to_owned()
}

#[test]
fn a_session_has_the_rights_of_its_token_and_ends_with_it() {
    let tokens = Tokens::new();
    let [anna, ben] = [("anna", "chat:write"), ("ben", "todo:write")]
        .map(|(name, right)| tokens.add(name, &[READ, &[right]].concat()));
    let (server, console) = console(&tokens);
    let port = console.port();
    let [first, second, third] = [&anna, &anna, &ben].map(|token| log_in(&console, token));
    assert_ne!(first, second);
    let say = |cookie: &str| {
        let fields = [("Cookie", cookie), ("Content-Type", "application/json")];
        let body = json!({"author": "anna", "text": "Hello"}).to_string();
        request("POST", port, "/api/chat", &fields, &body).status
    };
    let other = format!("theme=dark; {second}; x=y");
    assert_eq!((say(&first), say(&other), say(&third)), (200, 200, 403));
    assert_eq!(
        (
            say(""),
            say("messenger-session="),
            say("messenger-session=0")
        ),
        (401, 401, 401)
    );

    let mut stream = open(port, "GET", "/events", &[("Cookie", &first)]);
    let mut begin = [0; 15];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");

    // A logout ends one session, and a new session does not bring it back.
    let head = ask(port, "POST", "/api/logout", &[("Cookie", &first)]);
    let gone = "messenger-session=; Max-Age=0; HttpOnly; SameSite=Strict; Path=/";
    assert_eq!((head.status(), head.field("set-cookie")), (200, Some(gone)));
    assert_eq!((say(&first), say(&second)), (401, 200));
    let mut rest = Vec::new();
    stream
        .read_to_end(&mut rest)
        .expect("the end of its stream");
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"));

    tokens.remove("anna");
    eventually(SOON, "the session ends with its token", || {
        say(&second) == 401
    });
    assert_eq!(say(&third), 403);
    for secret in [SECRET, &first, &second, &third] {
        let secret = secret.split('=').next_back().unwrap();
        assert!(!console.log().contains(secret) && !server.log().contains(secret));
    }
}

#[test]
fn over_tls_the_cookie_is_for_tls_only() {
    let tokens = Tokens::new();
    let authorization = format!("Authorization: {}", bearer(&tokens.add("anna", &["*"])));
    let authority = Authority::new("ours");
    let (pair, ca) = (authority.issue(&["localhost"]), ca(&authority));
    let server = Server::start(&[]);
    let flags = [&flags(&pair)[..], &tokens.flags()].concat();
    let console = Console::start(&server.address(), &flags);
    let url = format!("https://localhost:{}/api/login", console.port());
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "-i",
        "-X",
        "POST",
        "--cacert",
        &ca,
        "-H",
        &authorization,
        &url,
    ]);
    let out = String::from_utf8(curl.output().expect("curl").stdout).unwrap();
    let cookie = out.lines().find(|line| line.starts_with("Set-Cookie: "));
    assert!(
        cookie.is_some_and(|it| it.ends_with("; Path=/; Secure")),
        "{out}"
    );
}

#[test]
fn a_page_without_a_session_leads_to_the_login_and_other_sites_do_not() {
    let tokens = Tokens::new();
    let token = tokens.add("anna", &["*"]);
    let (_server, console) = console(&tokens);
    let port = console.port();
    let page = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    for path in ["/", "/jobs?x=1"] {
        let head = ask(port, "GET", path, &[page]);
        assert_eq!(
            (head.status(), head.field("location")),
            (303, Some("/login"))
        );
        assert_eq!(ask(port, "GET", path, &[]).status(), 401);
    }
    assert_eq!(ask(port, "POST", "/api/chat", &[page]).status(), 401);
    let authorization = bearer(&token);
    let foreign = [
        ("Authorization", &*authorization),
        ("Origin", "https://evil.example"),
    ];
    assert_eq!(ask(port, "POST", "/api/login", &foreign).status(), 403);
}

#[test]
fn tries_to_log_in_are_bounded_for_each_address() {
    let tokens = Tokens::new();
    let token = bearer(&tokens.add("anna", &["*"]));
    let (_server, console) = console(&tokens);
    let cookie = log_in(&console, token.trim_start_matches("Bearer "));
    let tries: Vec<_> = (0..12)
        .map(|_| {
            ask(
                console.port(),
                "POST",
                "/api/login",
                &[("Authorization", "Bearer guess")],
            )
        })
        .collect();
    let refused = tries.iter().filter(|head| head.status() == 429).count();
    assert!((2..=3).contains(&refused), "{refused}");
    assert!(tries[..9].iter().all(|head| head.status() == 401));
    let wait: u32 = tries[11].field("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    // The right one has to wait too, or its answer would tell. Who is in stays in.
    let statuses = || {
        ["POST", "POST"].map(|method| {
            ask(
                console.port(),
                method,
                "/api/login",
                &[("Authorization", &token)],
            )
            .status()
        })
    };
    assert!(statuses().contains(&429));
    assert_eq!(
        ask(
            console.port(),
            "GET",
            "/api/session",
            &[("Cookie", &cookie)]
        )
        .status(),
        200
    );
}

fn at(tab: &Tab, path: &str) {
    tab.until(&format!(
        "location.pathname === '{path}' && document.readyState === 'complete'"
    ));
}

fn give(tab: &Tab, token: &str) {
    at(tab, "/login");
    tab.fill("#token", token);
    tab.press("Enter");
}

#[test]
fn people_log_in_and_out_in_the_browser() {
    let tokens = Tokens::new();
    let token = tokens.add("anna", &["*"]);
    let reader = tokens.add("reader", &["chat:read"]);
    let (_server, console) = console(&tokens);
    let browser = Browser::start();
    let tab = browser.open(&format!("http://localhost:{}/#todo", console.port()));
    give(&tab, "wrong");
    tab.shows("#fail", "no such token");
    give(&tab, "not a tökén");
    tab.shows("#fail", "no such token");
    give(&tab, &reader);
    tab.shows("#fail", "does not have the right todo:read");
    tab.screenshot("login");
    give(&tab, &token);
    at(&tab, "/");
    tab.shows("#state", "live");
    tab.shows("#logout", "Log out");
    tab.screenshot("logged-in");
    let phone = Look {
        size: (390, 844),
        phone: true,
        scheme: "dark",
    };
    let small = browser.open_as(&format!("http://localhost:{}/", console.port()), &phone);
    small.shows("#logout", "Log out");
    small.screenshot("logged-in-phone");
    assert_eq!(tab.eval("location.hash"), "#todo");
    // No script sees it.
    assert_eq!(tab.eval("document.cookie"), "");
    tab.fill("#panel-todo form input", "Water the plants");
    tab.press("Enter");
    tab.shows(".tasks.open .title", "Water the plants");

    tab.click("#logout");
    at(&tab, "/login");
    tab.eval("history.back()");
    at(&tab, "/login");

    give(&tab, &token);
    tab.shows("#state", "live");
    // Another tab is in by the same session.
    let other = browser.open(&format!("http://localhost:{}/", console.port()));
    other.shows("#state", "live");
    tokens.remove("anna");
    at(&tab, "/login");
    at(&other, "/login");
    give(&tab, &token);
    tab.shows("#fail", "no such token");
    assert_eq!(tab.complaints(), Vec::<String>::new());
    assert!(!console.log().contains(SECRET) && !console.log().contains(COOKIE));
}

#[test]
fn over_the_bound_the_session_that_was_not_used_for_longest_ends() {
    let tokens = Tokens::new();
    let token = tokens.add("anna", &["*"]);
    let access = Access::open(&tokens.path()).unwrap();
    let grant = access.check(Some(bearer(&token).as_bytes()), Need::Token);
    let grant = grant.unwrap();
    let sessions = Sessions::default();
    let begin = || sessions.begin(grant.clone()).unwrap();
    let ids: Vec<_> = (0..SESSIONS).map(|_| begin()).collect();
    sessions.check(&ids[0], &access).unwrap();
    begin();
    let left = |number: usize| sessions.check(&ids[number], &access).is_ok();
    assert_eq!([0, 1, 2].map(left), [true, false, true]);
}
