//! Defects that the runs under faults have to find: those that were mended before, and a
//! few more. Each is planted alone into a copy of the sources, which is built and run
//! until a promise is broken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use super::cases::{setting, world};

struct Mutant {
    name: &'static str,
    /// What is wrong with it.
    says: &'static str,
    /// File, what stands there once, and what stands there instead.
    edits: &'static [(&'static str, &'static str, &'static str)],
    /// Where it is found, in runs of so many seconds, by which promise.
    world: &'static str,
    seconds: u64,
    promise: &'static str,
}

const MUTANTS: [Mutant; 14] = [
    Mutant {
        name: "denied-gap",
        says: "our client takes a stream with a gap for one that was resumed",
        edits: &[(
            "src/chat/client.rs",
            "resumed: after.is_some() && !gap,",
            "resumed: after.is_some(),",
        )],
        world: "bridge",
        seconds: 15,
        promise: "the server keeps the promises of the chat",
    },
    Mutant {
        name: "window",
        says: "the window of a lost subscription begins when the loss is noticed",
        edits: &[(
            "src/chat/bridge/stream_reader.rs",
            "let from = self.heard.map(Timestamp::rfc3339);",
            "self.heard = Some(Timestamp::now());
        let from = self.heard.map(Timestamp::rfc3339);",
        )],
        world: "bridge",
        seconds: 15,
        promise: "no message is lost untold",
    },
    Mutant {
        name: "put-back",
        says: "each flush that is put back goes before all that is in the postbox",
        edits: &[(
            "src/chat/bridge/postbox.rs",
            "flushed.messages.sort_by_key(|kept| kept.number);",
            "",
        )],
        world: "bridge",
        seconds: 15,
        promise: "flushes have the server's order",
    },
    Mutant {
        name: "own-writes",
        says: "a flush compares the time of its bridge's own message with that of an earlier \
               server, whose clock was ahead",
        edits: &[(
            "src/chat/bridge/link.rs",
            "*delivered = Timestamp::default();",
            "*delivered = Timestamp::default().max(*delivered);",
        )],
        world: "bridge",
        seconds: 15,
        promise: "a flush has what its bridge sent before",
    },
    Mutant {
        name: "last-messages",
        says: "a stream of our client ends at an error status, though messages from before it \
               still lie in the C core",
        edits: &[(
            "src/grpc/client/stream.rs",
            "Some(Some(Err(error @ RpcFailure(_)))) => self.failed = Some(from_grpcio(&error)),",
            "Some(Some(Err(error @ RpcFailure(_)))) => return Err(from_grpcio(&error)),",
        )],
        world: "chat",
        seconds: 15,
        promise: "a stream has all to its end",
    },
    Mutant {
        name: "not-stored",
        says: "the log says \"not stored\" whenever a transaction fails",
        edits: &[(
            "src/db/log/postgres.rs",
            "stored: if reason.is_rolled_back() {",
            "stored: if reason.is_rolled_back() || true {",
        )],
        world: "history",
        seconds: 15,
        promise: "a refused message is stored never",
    },
    Mutant {
        name: "early-acknowledgement",
        says: "a task is acknowledged before its result is stored",
        edits: &[
            (
                "src/jobs/ledger.rs",
                "if !jobs.is_empty() {",
                "let done = settled.iter().filter(|(_, dead)| dead.is_empty());
        self.queue.ack(done.map(|(token, _)| *token).collect());
        if !jobs.is_empty() {",
            ),
            ("src/jobs/ledger.rs", "acks.push(token);", "acks.clear();"),
        ],
        world: "jobs-embedded",
        seconds: 15,
        promise: "a confirmed task is over in the end",
    },
    Mutant {
        name: "shutdown",
        says: "a shutdown drops what a stream has not sent yet",
        edits: &[(
            "src/grpc/stream/delivery.rs",
            "if self.end.is_none() && self.subscription.end() == Some(End::SlowConsumer) {
            self.end_with(End::SlowConsumer);",
            "if self.end.is_none()
            && let Some(end) = self.subscription.end()
        {
            self.end_with(end);",
        )],
        world: "chat",
        seconds: 15,
        promise: "a stream has all to its end",
    },
    Mutant {
        name: "keys",
        says: "the chat forgets each idempotency key at once",
        edits: &[(
            "src/chat/order.rs",
            "keys.remember(keyed, now, published.0);",
            "drop(keys);",
        )],
        world: "chat",
        seconds: 15,
        promise: "a message comes at most once",
    },
    Mutant {
        name: "clock",
        says: "times follow a clock that steps back",
        edits: &[(
            "src/fanout/clock.rs",
            "self.last = now.max(Timestamp(self.last.0.saturating_add(1)));",
            "self.last = now;",
        )],
        world: "chat",
        seconds: 15,
        promise: "times rise in each stream",
    },
    Mutant {
        name: "asynchronous",
        says: "commits do not wait for the standby, and one that lacks some is promoted",
        edits: &[
            (
                "tests/chaos/several/nodes.rs",
                "ALTER SYSTEM SET synchronous_standby_names = '*'",
                "ALTER SYSTEM SET synchronous_standby_names = ''",
            ),
            (
                "tests/chaos/several/nodes.rs",
                "WHERE state = 'streaming'
             AND sync_state = 'sync' AND flush_lsn >= '{written}'\"",
                "WHERE '{written}' <> ''\"",
            ),
        ],
        world: "several",
        seconds: 15,
        promise: "what was answered or delivered stays",
    },
    Mutant {
        name: "keys-apart",
        says: "a batch in which some message has no key is appended without keys",
        edits: &[(
            "src/db/log/postgres.rs",
            "let keys = keys.iter().any(Option::is_some).then_some(keys);",
            "let keys = keys.iter().all(Option::is_some).then_some(keys);",
        )],
        world: "several",
        seconds: 15,
        promise: "a message is stored once",
    },
    Mutant {
        name: "own-order",
        says: "a server has the first two of its own messages the other way round",
        edits: &[(
            "src/chat/shared/owner.rs",
            "let wakeups = self.publish(entries);",
            "let mut entries = entries;
        if let [a, b, ..] = &mut entries[..] {
            mem::swap(&mut a.text, &mut b.text);
        }
        let wakeups = self.publish(entries);",
        )],
        world: "several",
        seconds: 15,
        promise: "all streams have one order",
    },
    Mutant {
        name: "same-time",
        says: "the clock that gives times ticks 20 times a second, and the last time is not \
               looked at",
        edits: &[(
            "src/chat/shared/migrations/V1__chat.sql",
            "first_time := greatest(first_time + 1, (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint);",
            "first_time := (extract(epoch FROM clock_timestamp()) * 20)::bigint * 50000000;",
        )],
        world: "several",
        seconds: 15,
        promise: "a time is given once",
    },
];

/// A source text with a defect; the reason if it cannot be planted any more.
fn planted(text: &str, from: &str, to: &str) -> Result<String, String> {
    match text.matches(from).count() {
        1 => Ok(text.replacen(from, to, 1)),
        count => Err(format!("stands there {count} times: {from:?}")),
    }
}

#[test]
fn each_can_be_planted_and_names_a_promise_of_its_world() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    for mutant in &MUTANTS {
        for (file, from, to) in mutant.edits {
            let text = fs::read_to_string(sources.join(file)).expect(file);
            let changed = planted(&text, from, to).expect(file);
            assert_ne!(text, changed, "{}", mutant.name);
        }
        let promises = (world(mutant.world).promises)();
        assert!(promises.contains(&mutant.promise), "{}", mutant.name);
    }
}

/// A copy of the sources, with a target folder of its own beside it.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn new() -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
        let target = target.expect("a target folder");
        let folder = target.join("mutants");
        let (tree, release) = (folder.join("tree"), folder.join("target/release"));
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(&tree).expect("a folder");
        for name in SOURCES {
            copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name), &tree);
        }
        if !release.exists() {
            // The C core takes ten minutes to compile.
            fs::create_dir_all(&release).expect("a folder");
            for name in ["deps", "build", ".fingerprint"] {
                copy(&target.join("release").join(name), &release);
            }
        }
        Self { folder }
    }

    fn write(&self, mutant: &Mutant, with_defect: bool) {
        for (file, ..) in mutant.edits {
            let sound = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let mut text = fs::read_to_string(sound).expect(file);
            let edits = mutant.edits.iter().filter(|edit| edit.0 == *file);
            for (_, from, to) in edits.filter(|_| with_defect) {
                text = planted(&text, from, to).expect(file);
            }
            fs::write(self.folder.join("tree").join(file), text).expect(file);
        }
    }

    /// Builds its tests, whose readers have the client with the defect too, and runs them.
    fn test(&self, arguments: &[&str], variables: &[(&str, String)]) -> Output {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["test", "--release", "--locked", "--test", "integration"])
            .args(arguments)
            .current_dir(self.folder.join("tree"))
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env("CARGO_INCREMENTAL", "1")
            .envs(variables.iter().map(|(name, value)| (name, value)));
        command.output().expect("cargo")
    }
}

/// What a build needs.
const SOURCES: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "docker",
    "docs",
    "proto",
    "src",
    "tests",
];

/// With its times, by which cargo sees what is new.
fn copy(from: &Path, into: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, into]).status();
    assert!(copied.expect("cp").success(), "{}", from.display());
}

/// `make mutants`: each in runs with the seeds from 1 on, until it is found.
#[test]
#[ignore = "builds each of them: make mutants"]
fn each_is_found() {
    let only: Option<String> = setting("MUTANT");
    let most: u64 = setting("RUNS").unwrap_or(20);
    let chosen = |it: &&Mutant| only.as_ref().is_none_or(|only| only == it.name);
    let chosen: Vec<_> = MUTANTS.iter().filter(chosen).collect();
    assert!(!chosen.is_empty(), "there is no mutant {only:?}");
    let copy = Copy::new();
    let mut missed = Vec::new();
    for mutant in chosen {
        copy.write(mutant, true);
        let built = copy.test(&["--no-run"], &[]);
        let log = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{}: {log}", mutant.name);
        let began = Instant::now();
        let found = (1..=most).find(|seed| is_found(&copy, mutant, *seed));
        copy.write(mutant, false);
        let runs = match found {
            Some(seed) => format!("found by run {seed}"),
            None => format!("not found by {most} runs"),
        };
        let Mutant {
            name, world, says, ..
        } = mutant;
        let took = began.elapsed().as_secs();
        println!("{name:<22} {world:<14} {runs}, {took} s: {says}");
        if found.is_none() {
            missed.push(name);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

fn is_found(copy: &Copy, mutant: &Mutant, seed: u64) -> bool {
    let variables = [
        ("MESSENGER_CHAOS_WORLD", mutant.world.into()),
        ("MESSENGER_CHAOS_SECONDS", mutant.seconds.to_string()),
        ("MESSENGER_CHAOS_SEED", seed.to_string()),
        ("MESSENGER_CHAOS_RUNS", "1".into()),
    ];
    let arguments = [
        "--",
        "--ignored",
        "--exact",
        "--nocapture",
        "chaos::cases::chaos",
    ];
    let run = copy.test(&arguments, &variables);
    let told = [run.stdout, run.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    let says = format!("broken: {}: ", mutant.promise);
    let mut lines = told.iter().flat_map(|it| it.lines());
    lines.any(|line| line.starts_with(&says))
}
