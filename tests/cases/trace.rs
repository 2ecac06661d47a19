//! The traces of bridges and server, read as a viewer does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use crate::support::http::{flush, request, send as post_message};
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Program, Server, messenger};
use crate::support::{SOON, eventually};

/// A slice of a thread, in nanoseconds.
#[derive(Debug)]
struct Slice {
    name: String,
    thread: (u64, u64),
    since: u64,
    until: u64,
}

/// A point of an arrow: `s`, `t` or `f`, and the slice that it is bound to.
#[derive(Debug)]
struct Point {
    ph: String,
    at: u64,
    pid: u64,
    slice: String,
}

/// What one or more files show together.
#[derive(Debug, Default)]
struct Trace {
    threads: BTreeMap<(u64, u64), String>,
    slices: Vec<Slice>,
    /// By name and id, in the order of time.
    arrows: BTreeMap<(String, u64), Vec<Point>>,
}

fn nanos(event: &Value, field: &str) -> u64 {
    let micros = event[field]
        .as_f64()
        .unwrap_or_else(|| panic!("no {field} in {event}"));
    (micros * 1000.0).round() as u64
}

fn text(event: &Value, field: &str) -> String {
    let text = event[field].as_str();
    text.unwrap_or_else(|| panic!("no {field} in {event}"))
        .to_owned()
}

impl Trace {
    /// Whole files.
    fn read(files: &[&Path]) -> Self {
        let events = files.iter().flat_map(|file| {
            let text = fs::read(file).expect("a file");
            serde_json::from_slice::<Vec<Value>>(&text).expect("an array")
        });
        Self::of(events.collect(), false)
    }

    /// Checks that slices of a thread lie in one another, and that each point of an arrow
    /// lies at the beginning of a slice; of one that is `cut` off, slices may be missing.
    fn of(events: Vec<Value>, cut: bool) -> Self {
        let (mut trace, mut points) = (Self::default(), Vec::new());
        for event in &events {
            let number = |field: &str| event[field].as_u64().expect("a number");
            let thread = (number("pid"), number("tid"));
            match &*text(event, "ph") {
                "M" if event["name"] == "thread_name" => {
                    trace.threads.insert(thread, text(&event["args"], "name"));
                }
                "M" => assert_eq!(event["name"], "process_name"),
                "i" => assert_eq!(event["s"], "p"),
                "X" => trace.slices.push(Slice {
                    name: text(event, "name"),
                    thread,
                    since: nanos(event, "ts"),
                    until: nanos(event, "ts") + nanos(event, "dur"),
                }),
                ph @ ("s" | "t" | "f") => {
                    let id = text(event, "id");
                    let id = u64::from_str_radix(id.trim_start_matches("0x"), 16);
                    let key = (text(event, "name"), id.expect("a hexadecimal id"));
                    points.push((key, ph.to_owned(), nanos(event, "ts"), thread));
                }
                other => panic!("{other} in {event}"),
            }
        }
        trace.slices.sort_by_key(|it| (it.thread, it.since));
        for two in trace
            .slices
            .windows(2)
            .filter(|two| two[0].thread == two[1].thread)
        {
            let [a, b] = two else { unreachable!() };
            let (apart, within) = (b.since >= a.until, b.until <= a.until);
            assert!(apart || within, "{a:?} and {b:?}");
        }
        for (key, ph, at, thread) in points {
            let begins = |it: &&Slice| it.thread == thread && it.since + 1 == at;
            let Some(slice) = trace.slices.iter().find(begins) else {
                assert!(cut, "no slice for {key:?}");
                continue;
            };
            let points = trace.arrows.entry(key).or_default();
            let (pid, slice) = (thread.0, slice.name.clone());
            points.push(Point { ph, at, pid, slice });
        }
        trace
            .arrows
            .values_mut()
            .for_each(|points| points.sort_by_key(|it| it.at));
        let named: BTreeSet<_> = trace.threads.keys().collect();
        assert!(trace.slices.iter().all(|it| named.contains(&it.thread)));
        trace
    }

    /// An arrow's points: what it does in which slice of whose process.
    fn way(&self, name: &str, id: u64) -> Vec<(&str, &str, u64)> {
        let points = self.arrows.get(&(name.into(), id));
        let points = points.unwrap_or_else(|| panic!("no {name} {id:#x}"));
        points
            .iter()
            .map(|it| (&*it.ph, &*it.slice, it.pid))
            .collect()
    }

    /// The slices of this process's threads with such names.
    fn on(&self, pid: u32, thread: &str) -> Vec<&Slice> {
        let there = |it: &&Slice| {
            it.thread.0 == u64::from(pid) && self.threads[&it.thread].starts_with(thread)
        };
        self.slices.iter().filter(there).collect()
    }
}

/// Ends a program in order; its trace is whole then.
fn end(mut program: Program) {
    program.signal(Signal::TERM);
    assert_eq!(program.wait_exit(SOON), 0, "{}", program.log());
}

#[test]
fn arrows_lead_from_a_post_over_bridge_server_and_bridge_to_the_flush() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["server", "first", "second"].map(|name| folder.path().join(name));
    let flag = |file: usize| ["--trace", files[file].to_str().unwrap()];
    let server = Server::start(&flag(0));
    let bridges = [1, 2].map(|file| Bridge::start(&server.address(), &flag(file)));
    let [first, second] = [0, 1].map(|bridge| u64::from(bridges[bridge].pid()));
    let sent: Vec<_> = (0..20)
        .map(|number| post_message(bridges[0].port(), "anna", &number.to_string()) as u64)
        .collect();
    let refused = request(
        "POST",
        bridges[0].port(),
        "/sendMessage",
        &[("X-Request-Id", "mine")],
        "{",
    );
    assert_eq!(
        (refused.status, refused.header("X-Request-Id")),
        (400, Some("mine"))
    );
    for bridge in &bridges {
        let mut flushed = 0;
        eventually(SOON, "all messages", || {
            flushed += flush(bridge.port()).len();
            flushed == sent.len()
        });
    }
    let server_pid = server.pid();
    bridges.into_iter().for_each(end);
    end(server);

    let [a, b, c] = &files;
    let trace = Trace::read(&[a, b, c]);
    let server = u64::from(server_pid);
    for id in sent {
        let mut way = trace.way("message", id);
        // Both readers have it in the same moment.
        way[3..].sort_by_key(|(.., pid)| *pid != first);
        let expected = [
            ("s", "POST /sendMessage", first),
            ("t", "SendMessage", first),
            ("t", "publish", server),
            ("f", "message", first),
            ("f", "message", second),
        ];
        assert_eq!(way, expected);
        for bridge in [first, second] {
            let way = trace.way(&format!("postbox {bridge}"), id);
            assert_eq!(way, [("s", "message", bridge), ("f", "flush", bridge)]);
        }
    }
    // Each request, with the server where it was asked.
    let requests = trace.arrows.keys().filter(|(name, _)| name == "request");
    let mut asked = 0;
    for (name, id) in requests {
        let way = trace.way(name, *id);
        let (begin, pid) = (way[0].1, way[0].2);
        let mut expected = vec![("s", begin, pid), ("t", "handle", pid), ("f", "write", pid)];
        if way.len() == 4 {
            expected.insert(2, ("t", "/mes_grpc.MessengerServer/SendMessage", server));
            asked += 1;
        }
        assert_eq!(way, expected);
    }
    assert_eq!(asked, 20);
    // All that the way of a request is made of.
    let names = |thread: &str| -> BTreeSet<_> {
        let slices = trace.on(first as u32, thread);
        slices.into_iter().map(|it| it.name.clone()).collect()
    };
    assert_eq!(names("http-accept"), BTreeSet::from(["accept".into()]));
    let front = ["receive", "POST /sendMessage", "in the lane", "write"];
    assert!(
        front
            .iter()
            .all(|name| names("http-conn-1").contains(*name))
    );
    let own = [
        "handle",
        "parse",
        "SendMessage",
        "wait for its own",
        "flush",
    ];
    assert_eq!(names("http-loop"), own.map(str::to_owned).into());
    assert_eq!(names("stream-reader"), BTreeSet::from(["message".into()]));
    let handled = trace.on(server_pid, "grpc-");
    assert_eq!(handled.iter().filter(|it| it.name == "answer").count(), 20);
}

#[test]
fn a_bridge_that_is_killed_leaves_a_trace_that_lacks_its_bracket_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &["--trace", file.to_str().unwrap()]);
    post_message(bridge.port(), "anna", "hi");
    let written = || fs::read_to_string(&file).unwrap();
    let whole = ["POST /sendMessage", r#""name":"message"}"#];
    eventually(SOON, "the slices", || {
        whole.iter().all(|it| written().contains(it))
    });
    drop(bridge);
    let events = serde_json::from_str(&(written() + "]")).expect("an array but for its end");
    let trace = Trace::of(events, true);
    assert!(trace.slices.iter().any(|it| it.name == "POST /sendMessage"));
}

/// A pipe as the file of a trace, which its reader may leave alone or close.
fn pipe(folder: &Path) -> (File, PathBuf) {
    let path = folder.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reader = rustix::fs::open(&path, flags, Mode::empty());
    (File::from(reader.unwrap()), path)
}

#[test]
fn what_a_slow_file_has_no_room_for_is_dropped_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut reader, path) = pipe(folder.path());
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &["--trace", path.to_str().unwrap()]);
    let mut client = BufReader::new(TcpStream::connect(bridge.address()).unwrap());
    // Nobody reads: each of these has eight events, of which 65,536 may wait.
    for _ in 0..120 {
        let asked = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
        client.get_mut().write_all(asked.as_bytes()).unwrap();
        let mut answered = 0;
        let mut line = String::new();
        while answered < 100 {
            line.clear();
            client.read_line(&mut line).unwrap();
            answered += usize::from(line.contains("all messages since the last call"));
        }
    }
    let mut written = Vec::new();
    eventually(SOON, "events were dropped", || {
        let _would_block = reader.read_to_end(&mut written);
        String::from_utf8_lossy(&written).contains("events were dropped")
    });
    let told = "the trace cannot keep up";
    bridge.wait_for_log(SOON, told);
    assert_eq!(bridge.log().matches(told).count(), 1);
    drop(reader);
    end(bridge);
}

/// Sends until the bridge has logged this.
fn send_until(bridge: &Program, logged: &str) {
    eventually(SOON, logged, || {
        post_message(bridge.port(), "anna", "hi");
        bridge.log().contains(logged)
    });
}

#[test]
fn a_trace_ends_at_its_bound_and_the_bridge_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    let server = Server::start(&[]);
    let flags = ["--trace", file.to_str().unwrap(), "--trace-bytes", "20000"];
    let bridge = Bridge::start(&server.address(), &flags);
    send_until(&bridge, "it has reached --trace-bytes");
    post_message(bridge.port(), "anna", "still there");
    assert_eq!(bridge.log().matches("the trace ends here").count(), 1);
    end(bridge);
    let bytes = fs::metadata(&file).unwrap().len();
    assert!((15_000..=20_000).contains(&bytes), "{bytes}");
    let events = serde_json::from_slice(&fs::read(&file).unwrap()).expect("an array");
    assert!(!Trace::of(events, true).slices.is_empty());
}

#[test]
fn a_file_that_takes_no_more_ends_the_trace_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, path) = pipe(folder.path());
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &["--trace", path.to_str().unwrap()]);
    // From now on it is as with a full disk: each write is an error.
    drop(reader);
    send_until(&bridge, "the trace ends here");
    post_message(bridge.port(), "anna", "still there");
    assert_eq!(bridge.log().matches("the trace ends here").count(), 1);
    end(bridge);

    let mut refused = messenger(&["server", "--port", "0", "--trace", "/dev/full"]);
    assert_eq!(refused.wait_exit(SOON), 1);
    assert!(
        refused
            .log()
            .contains("--trace: cannot write /dev/full: No space")
    );
}
