//! Tokens on the HTTP ports: each path of each service, with each kind of token.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::cases::layout::root;
use crate::support::http::request;
use crate::support::programs::{Bridge, Console, Log, Program, Server, messenger};
use crate::support::tokens::{SECRET, Tokens, bearer};
use crate::support::{SOON, eventually};

/// Method, path, and the rights that it needs: all of them; any token, if none is named.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// Needs nothing.
const OPEN: &[&str] = &["open"];

const BRIDGE: &[Row] = &[
    ("GET", "/livez", OPEN),
    ("GET", "/readyz?verbose", OPEN),
    ("POST", "/sendMessage", &["chat:write"]),
    ("PUT", "/sendMessage", &["chat:write"]),
    ("POST", "/getAndFlushMessages", &["chat:read"]),
    ("GET", "/", OPEN),
    ("GET", "/nothing", &[]),
    ("GET", "//sendMessage", &[]),
];

const LOG: &[Row] = &[
    ("GET", "/livez", OPEN),
    ("GET", "/readyz?verbose", OPEN),
    ("POST", "/", &["history:write"]),
    ("GET", "/", OPEN),
    ("POST", "/messages", &["history:write"]),
    ("GET", "/messages?limit=5", &["history:read"]),
    ("HEAD", "/messages", &["history:read"]),
    ("GET", "/senders", &["history:read"]),
    ("GET", "/events", &["history:read"]),
    ("GET", "/healthz", OPEN),
    ("GET", "/nothing", &[]),
];

pub const READ: &[&str] = &[
    "chat:read",
    "todo:read",
    "ticker:read",
    "jobs:read",
    "history:read",
];

const CONSOLE: &[Row] = &[
    ("GET", "/livez", OPEN),
    ("GET", "/readyz?verbose", OPEN),
    ("POST", "/api/chat", &["chat:write"]),
    ("POST", "/api/tasks", &["todo:write"]),
    ("POST", "/api/tasks/complete", &["todo:write"]),
    ("GET", "/api/jobs", &["jobs:read"]),
    ("POST", "/api/jobs/send", &["jobs:write"]),
    ("GET", "/api/history", &["history:read"]),
    ("POST", "/api/history", &["history:write"]),
    ("GET", "/events", READ),
    ("GET", "/", &[]),
    ("GET", "/jobs", &[]),
    ("GET", "/api/session", &[]),
    ("GET", "/api/login", READ),
    ("POST", "/api/logout", OPEN),
    ("GET", "/login", OPEN),
    ("GET", "/assets/console.js", OPEN),
    ("GET", "/assets/nothing", OPEN),
    ("GET", "/nothing", &[]),
];

/// Each service, with the files in which its paths stand.
const ALL: [(&str, &[Row], &[&str]); 3] = [
    ("bridge", BRIDGE, &["chat/bridge/api.rs"]),
    ("log", LOG, &["history/api.rs"]),
    ("console", CONSOLE, &["console/api.rs", "console/assets.rs"]),
];

#[test]
fn each_path_in_the_source_has_a_row() {
    for (service, rows, files) in ALL {
        let mut found = 0;
        for file in files {
            let source = fs::read_to_string(root().join("src").join(file)).unwrap();
            let literals = source.split('"').skip(1).step_by(2);
            let paths = literals.filter(|text| text.starts_with('/') && !text.contains(' '));
            for path in paths {
                let asked = |row: &&Row| row.1.split('?').next() == Some(path);
                let asset = path.starts_with("/assets/");
                assert!(
                    asset || rows.iter().any(|row| asked(&row)),
                    "{service}: {path}"
                );
                found += 1;
            }
        }
        assert!(found >= 3, "{service}: {found} paths are not all");
    }
}

/// The head of the answer; a stream is not read.
pub fn ask(port: u16, method: &str, path: &str, fields: &[(&str, &str)]) -> Head {
    let mut stream = open(port, method, path, fields);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "{head:?}");
        head.push(byte[0]);
    }
    Head(String::from_utf8(head).unwrap())
}

/// The connection on which the answer comes.
pub fn open(port: u16, method: &str, path: &str, fields: &[(&str, &str)]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\n");
    for (name, value) in fields {
        request += &format!("{name}: {value}\r\n");
    }
    stream
        .write_all((request + "Connection: close\r\n\r\n").as_bytes())
        .unwrap();
    stream
}

pub struct Head(String);

impl Head {
    pub fn status(&self) -> u16 {
        self.0.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.0.lines().filter_map(|line| line.split_once(": "));
        let mut fields = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        fields.next().map(|(_, value)| value)
    }
}

/// All services, with these tokens. To be taken apart completely.
struct Services {
    server: Program,
    all: [Program; 3],
    _folder: tempfile::TempDir,
}

fn services(tokens: &Tokens, flags: &[&str]) -> Services {
    let flags = &[flags, &tokens.flags()].concat()[..];
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let all = [
        Bridge::start(&server.address(), flags),
        Log::listening(Log::spawn(&[flags, &["--data-dir", data]].concat(), &[])),
        Console::start(&server.address(), flags),
    ];
    Services {
        server,
        all,
        _folder: folder,
    }
}

#[test]
fn each_path_asks_for_its_right() {
    let tokens = Tokens::new();
    let every = ["chat", "todo", "ticker", "jobs", "history"]
        .map(|service| [format!("{service}:read"), format!("{service}:write")])
        .concat();
    let every: Vec<_> = every
        .iter()
        .map(|right| &**right)
        .filter(|right| *right != "ticker:write")
        .collect();
    let expired = tokens.add_until(
        "expired",
        &["*"],
        SystemTime::now() - Duration::from_secs(1),
    );
    // For each row a token with just its rights, and one with all but the last of them.
    let rows = ALL.iter().enumerate();
    let rows = rows.flat_map(|(at, (_, rows, _))| rows.iter().map(move |row| (at, row)));
    let rows: Vec<_> = rows
        .enumerate()
        .map(|(number, (at, (method, path, rights)))| {
            let own: Vec<_> = rights.iter().copied().filter(|it| *it != "open").collect();
            let others = every.iter().copied().filter(|it| Some(it) != rights.last());
            let others: Vec<_> = others.collect();
            let right = bearer(&tokens.add(&format!("right-{number}"), &own));
            let other = bearer(&tokens.add(&format!("other-{number}"), &others));
            (at, *method, *path, *rights, right, other)
        })
        .collect();
    let Services {
        server,
        all,
        _folder,
    } = services(&tokens, &["--log-level", "debug"]);
    let let_in = |status: u16| ![303, 401, 403, 429].contains(&status);
    let expired = bearer(&expired);
    for (at, method, path, rights, right, other) in &rows {
        let status = |authorization: &[&str]| {
            let fields = authorization.iter().map(|value| ("Authorization", *value));
            let fields: Vec<_> = fields.collect();
            let head = ask(all[*at].port(), method, path, &fields);
            let challenge = head.field("www-authenticate");
            assert_eq!(challenge.is_some(), head.status() == 401, "{}", head.0);
            assert!(challenge.is_none_or(|it| it == "Bearer realm=\"messenger\""));
            head.status()
        };
        let what = format!("{}: {method} {path}", ALL[*at].0);
        assert!(let_in(status(&[right])), "{what}");
        if *rights == OPEN {
            assert!(
                let_in(status(&[])) && let_in(status(&["Bearer wrong"])),
                "{what}"
            );
            continue;
        }
        assert_eq!(status(&[]), 401, "{what}");
        assert_eq!(status(&[right, right]), 401, "{what}");
        let (longer, bare) = (format!("{right}x"), &right[7..]);
        let wrong = [
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            "Basic YTpi",
            bare,
            &expired,
            &longer,
        ];
        // The login lets nobody try so often.
        let tries = if *path == "/api/login" { 4 } else { 0 };
        for wrong in &wrong[tries..] {
            assert_eq!(status(&[wrong]), 401, "{what} {wrong:?}");
        }
        let got = status(&[other]);
        assert!(
            if rights.is_empty() {
                let_in(got)
            } else {
                got == 403
            },
            "{what}: {got}"
        );
    }
    for program in all.iter().chain([&server]) {
        assert!(!program.log().contains(SECRET), "{}", program.log());
    }
}

#[test]
fn what_is_asked_for_health_is_open_to_all() {
    let tokens = Tokens::new();
    tokens.add("one", &["*"]);
    let services = services(&tokens, &["--rate", "2/m"]);
    let port = services.all[1].port();
    // Connections are counted.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(port, "GET", path, &[]).status(), 200);
    }
}

#[test]
fn streams_end_when_their_token_goes() {
    let tokens = Tokens::new();
    let token = tokens.add("anna", READ);
    let Services {
        server,
        all,
        _folder,
    } = services(&tokens, &[]);
    let authorization = bearer(&token);
    let fields = [("Authorization", &*authorization)];
    let streams = [&all[1], &all[2]].map(|program| {
        let status = || ask(program.port(), "GET", "/events", &fields).status();
        eventually(SOON, "the token is known", || status() == 200);
        open(program.port(), "GET", "/events", &fields)
    });
    tokens.remove("anna");
    let removed = Instant::now();
    for mut stream in streams {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("an end");
        // In order, not cut.
        assert!(
            rest.ends_with(b"\r\n0\r\n\r\n"),
            "{}",
            String::from_utf8_lossy(&rest)
        );
    }
    assert!(removed.elapsed() < SOON);
    drop(server);
}

#[test]
fn a_token_counts_for_the_rate_and_not_its_address() {
    let tokens = Tokens::new();
    let [anna, ben] = ["anna", "ben"].map(|name| bearer(&tokens.add(name, &["*"])));
    let server = Server::start(&[]);
    let flags = [&["--rate", "3/m", "--rate-burst", "3"][..], &tokens.flags()].concat();
    let bridge = Bridge::start(&server.address(), &flags);
    // One connection, since those count for their address.
    let mut stream = TcpStream::connect(bridge.address()).unwrap();
    let mut status = |authorization: &str| {
        let request = format!(
            "GET /nothing HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    assert_eq!([(); 5].map(|()| status(&anna)), [404, 404, 404, 429, 429]);
    assert_eq!(
        [(); 4].map(|()| status("Bearer wrong")),
        [401, 401, 401, 429]
    );
    assert_eq!(status(&ben), 404);
}

#[test]
fn our_clients_of_the_log_bring_their_token() {
    let tokens = Tokens::new();
    let all = tokens.add("all", &["*"]);
    let none = tokens.add("none", &[]);
    let Services {
        server,
        all: [_, log, _],
        _folder,
    } = services(&tokens, &[]);
    let address = log.address();
    let load = |token: &str| {
        let file = tokens.file("load", token);
        let size = ["--workers", "2", "--requests", "5"];
        let mut load = messenger(
            &[
                &["history", "load", "--url", &address, "--token-file", &file][..],
                &size,
            ]
            .concat(),
        );
        let code = load.wait_exit(SOON);
        (code, load.lines(SOON).join(" ") + &load.log())
    };
    assert_eq!(load(&all).0, 0);
    let (code, said) = load(&none);
    assert!(code != 0 && said.contains("403"), "{code} {said}");

    let get = |token: &str| {
        let file = tokens.file(&format!("web-{}", token.len()), token);
        let flags = ["--history", &*address, "--token-file", &file];
        let console = Console::start(&server.address(), &flags);
        let page = || request("GET", console.port(), "/api/history?limit=5", &[], "");
        let body = json!({"sender": "anna", "text": "Hello"}).to_string();
        let json = [("Content-Type", "application/json")];
        let sent = request("POST", console.port(), "/api/history", &json, &body);
        let stream = open(console.port(), "GET", "/events", &[]);
        (sent.status, page().status, console, stream)
    };
    let (sent, page, console, stream) = get(&all);
    assert_eq!((sent, page), (200, 200));
    // The console follows the log's stream too.
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("data: ") && line.contains("Hello")));
    drop(console);
    let (sent, page, console, _) = get(&none);
    assert_eq!((sent, page), (503, 503), "{}", console.log());
}
