//! Rate limits: who is over is refused and told when to come again, and who is within
//! notices nothing of that.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use messenger::access::rate::{BUCKETS, Key, Limiter, Rate};
use messenger::error::Code;
use serde_json::{Value, json};

use crate::support::http::request;
use crate::support::process::{Process, command};
use crate::support::programs::{Bridge, Console, Log, Python, Server, messenger};
use crate::support::{SOON, eventually};

/// Enough for who calls every 100 ms, and for no Python program that does not wait.
const MODEST: [&str; 4] = ["--rate", "20/s", "--rate-burst", "10"];
/// One request, and the next in a minute.
const ONE: [&str; 4] = ["--rate", "1/m", "--rate-burst", "1"];

fn line(process: &Process) -> Value {
    let line = process.line(SOON).expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line}"))
}

/// One that does not wait between its calls, once it was refused; how is checked.
fn greedy(arguments: &[&str]) -> Process {
    let greedy = Python::typed("rate_client.py", arguments);
    for what in ["a call", "a stream"] {
        let status = line(&greedy);
        assert_eq!(status["code"], "RESOURCE_EXHAUSTED", "{what}: {status}");
        let details = &status["details"];
        assert_eq!(
            (&details["code"], &details["message"]),
            (&json!(8), &status["message"])
        );
        let info = &details["details"][0];
        assert_eq!(info["@type"], "type.googleapis.com/google.rpc.RetryInfo");
        let delay = info["retryDelay"].as_str().unwrap().trim_end_matches('s');
        let delay: f64 = delay.parse().unwrap();
        assert!(0.0 < delay && delay <= 0.05, "{what}: {delay} s");
    }
    greedy
}

#[test]
fn a_greedy_client_is_refused_and_a_modest_one_notices_nothing() {
    let server = Server::start(&MODEST);
    let started = Instant::now();
    let mut greedy = greedy(&[&server.address()]);
    let other = ["--from", "127.0.0.2", "--pause", "0.1", "--count", "15"];
    let modest = Python::spawn(
        "rate_client.py",
        &[&[&*server.address()], &other[..]].concat(),
        &[],
    );
    assert_eq!(line(&modest), json!({"ok": 15, "refused": 0}));
    greedy.type_line("");
    let sums = line(&greedy);
    let most = 10.0 + 20.0 * started.elapsed().as_secs_f64();
    assert!(
        sums["ok"].as_f64().unwrap() <= most,
        "{sums}, at most {most}"
    );
    assert!(sums["refused"].as_u64() > Some(100), "{sums}");
    // Its rate comes back by itself.
    let again = Python::spawn(
        "rate_client.py",
        &[&server.address(), "--pause", "0.1", "--count", "5"],
        &[],
    );
    assert_eq!(line(&again)["ok"], 5);
}

#[test]
fn health_checks_are_not_counted() {
    let server = Server::start(&ONE);
    for _ in 0..5 {
        let mut check = messenger(&["healthcheck", "--server", &server.address()]);
        assert_eq!(check.wait_exit(SOON), 0, "{}", check.log());
    }
    let once = Python::spawn("rate_client.py", &[&server.address(), "--count", "3"], &[]);
    assert_eq!(line(&once), json!({"ok": 1, "refused": 2}));
}

/// curl from this address, one connection for all of the paths: the statuses, and the
/// values of Retry-After.
fn curl(from: &str, port: u16, paths: &[&str]) -> Vec<(u16, String)> {
    let mut curl = command("curl");
    curl.args([
        "-sS",
        "--interface",
        from,
        "-w",
        "%{http_code} %header{retry-after}\n",
    ]);
    for path in paths {
        curl.args(["-o", "/dev/null", &format!("http://127.0.0.1:{port}{path}")]);
    }
    let done = curl.output().expect("curl");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let out = String::from_utf8(done.stdout).unwrap();
    let lines = out.lines().map(|line| line.split_once(' ').unwrap());
    lines
        .map(|(status, after)| (status.parse().unwrap(), after.to_owned()))
        .collect()
}

fn expect_429(answers: &[(u16, String)]) {
    for (status, after) in answers {
        assert_eq!(*status, 429);
        assert!(
            (30..=60).contains(&after.parse::<u32>().unwrap()),
            "{after}"
        );
    }
}

#[test]
fn each_http_port_answers_429_with_the_time_to_come_again() {
    let server = Server::start(&[]);
    let rate = ["--rate", "1/m", "--rate-burst", "2"];
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let all = [
        Bridge::start(&server.address(), &rate),
        Console::start(&server.address(), &rate),
        Log::listening(Log::spawn(
            &[&rate[..], &["--data-dir", folder]].concat(),
            &[],
        )),
    ];
    for program in &all {
        let port = program.port();
        let answers = curl("127.0.0.1", port, &["/nothing"; 4]);
        assert_eq!([answers[0].0, answers[1].0], [404; 2]);
        expect_429(&answers[2..]);
        // Another address has requests of its own.
        assert_eq!(curl("127.0.0.3", port, &["/nothing"])[0].0, 404);
        // The second connection of the first one has no request left, the third is none.
        let body = request("GET", port, "/nothing", &[], "");
        assert_eq!(
            (body.status, &body.json()["error"]["code"]),
            (429, &json!("RESOURCE_EXHAUSTED"))
        );
        assert!(
            body.json()["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("calls from")
        );
        let body = request("GET", port, "/nothing", &[], "");
        assert_eq!(body.status, 429);
        assert!(
            body.json()["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("new connections")
        );
        assert_eq!(body.header("connection"), Some("close"));
    }
}

#[test]
fn while_a_greedy_address_is_refused_another_one_notices_nothing() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &MODEST);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let greedy = scope.spawn(|| {
            let mut refused = 0;
            // At least once.
            loop {
                let status = curl("127.0.0.1", bridge.port(), &["/nothing"; 20]);
                refused += status.iter().filter(|(status, _)| *status == 429).count();
                if over.load(Ordering::Relaxed) {
                    break refused;
                }
            }
        });
        // Two connections, 5 requests on each.
        for _ in 0..2 {
            let answers = curl("127.0.0.3", bridge.port(), &["/nothing"; 5]);
            assert!(
                answers.iter().all(|(status, _)| *status == 404),
                "{answers:?}"
            );
        }
        eventually(SOON, "the modest one has requests again", || {
            curl("127.0.0.3", bridge.port(), &["/nothing"])[0].0 == 404
        });
        over.store(true, Ordering::Relaxed);
        assert!(greedy.join().unwrap() > 0);
    });
}

#[test]
fn a_connection_over_the_rate_has_no_thread() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &ONE);
    let mut first = TcpStream::connect(bridge.address()).unwrap();
    let refused: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(bridge.address()).unwrap();
            // It need not ask to be refused.
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
                "{answer}"
            );
            assert!(answer.contains("\r\nRetry-After: "), "{answer}");
            stream
        })
        .collect();
    bridge.wait_for_threads("http-conn", 1);
    drop(refused);
    first
        .write_all(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[test]
fn health_over_http_is_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let log = Log::spawn(&[&ONE[..], &["--data-dir", folder]].concat(), &[]);
    let log = Log::listening(log);
    let answers = curl(
        "127.0.0.1",
        log.port(),
        &["/healthz", "/healthz", "/messages", "/healthz", "/messages"],
    );
    let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 429]);
    expect_429(&answers[4..]);
}

#[test]
fn a_rate_that_cannot_be_is_named() {
    for (flags, words) in [
        (&["--rate", "100"][..], "100/s"),
        (&["--rate", "0/s"], "1 to 1000000"),
        (&["--rate-burst", "5"], "--rate"),
        (&["--rate", "1/s", "--rate-burst", "0"], "1 to 1000000"),
    ] {
        let mut server = messenger(&[&["server", "--port", "0"], flags].concat());
        assert_ne!(server.wait_exit(SOON), 0);
        assert!(server.log().contains(words), "{flags:?}: {}", server.log());
    }
}

fn limiter(rate: &str, burst: u32) -> Limiter {
    Limiter::new(rate.parse().unwrap(), NonZeroU32::new(burst))
}

fn peer(address: &str) -> Key {
    Key::peer(address.parse().unwrap())
}

fn token(number: usize) -> Key {
    Key::Token(number.to_string().into())
}

#[test]
fn rates_are_written_with_their_unit() {
    for wrong in [
        "",
        "100",
        "100/h",
        "0/s",
        "-1/s",
        "/s",
        "1.5/s",
        "1000001/s",
    ] {
        assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
    }
    for right in ["1/s", "30/m", "1000000/s"] {
        assert_eq!(right.parse::<Rate>().unwrap().to_string(), right);
    }
}

#[test]
fn each_has_a_bucket_and_learns_when_to_come_again() {
    let limiter = limiter("1/m", 2);
    for _ in 0..2 {
        limiter.check(&peer("10.0.0.1")).unwrap();
    }
    let error = limiter.check(&peer("10.0.0.1")).unwrap_err();
    assert_eq!(error.code, Code::ResourceExhausted);
    let wait = error.retry_after.unwrap();
    assert!((30..=60).contains(&wait.as_secs()), "{wait:?}");
    assert!(error.message.contains("1/m, 2 at once"), "{error}");
    limiter.check(&peer("10.0.0.2")).unwrap();
    let connection = Key::connection("10.0.0.1".parse().unwrap());
    limiter.check(&connection).unwrap();
}

#[test]
fn a_network_of_64_bits_and_a_mapped_address_are_one_peer() {
    assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1:2:3"));
    assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
}

#[test]
fn at_the_bound_the_known_keep_their_buckets_and_the_new_share_one() {
    let limiter = limiter("1/m", 2);
    for n in 0..BUCKETS {
        limiter.check(&token(n)).unwrap();
    }
    for n in 1..=2 {
        limiter.check(&token(BUCKETS + n)).unwrap();
    }
    assert!(limiter.check(&token(BUCKETS + 3)).is_err());
    limiter.check(&token(0)).unwrap();
}

#[test]
fn full_buckets_are_forgotten_when_there_are_too_many() {
    // Each is full again after half a second, and forgotten after one.
    let limiter = limiter("2/s", 1);
    for n in 0..=BUCKETS {
        let _ = limiter.check(&token(n));
    }
    let mut next = BUCKETS;
    let mut has_its_own = || {
        next += 1;
        limiter.check(&token(next)).is_ok()
    };
    eventually(SOON, "two in turn have buckets of their own", || {
        has_its_own() && has_its_own()
    });
}
