//! Fuzz targets: what comes from outside, as bytes, to the code that reads it first.
//! Each target has more to say than that nothing panics.
//!
//! `cargo test` replays the corpora in `tests/fuzz/corpus/` and tries each target for a
//! moment, always with the same inputs. `make fuzz` goes on for longer.
//!
//! Why no library: bolero's engine for stable Rust makes each input from nothing but
//! random numbers, of which few pass a request line; it has no seed for a whole run,
//! and a corpus is not mutated. So the driver is our own, in `driver`.

mod calls;
mod driver;
mod front;
mod headers;
mod json;
mod messages;
mod query;
mod tasks;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::cases::layout::root;
use driver::{Fuzzer, Target};

/// Of a run that names none.
const SEED: u64 = 16;

/// How often `cargo test` tries each target; calls take long.
const SHORT: u64 = 10_000;
const SHORT_CALLS: u64 = 500;

/// Up to so many files, new outcomes are added to a corpus: it is to stay small.
const CORPUS: usize = 50;

/// How often `make fuzz` says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

fn corpus(target: &Target) -> PathBuf {
    root().join("tests/fuzz/corpus").join(target.name)
}

/// The files of a corpus, in the order of their names.
fn seeds(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(corpus(target))
        .unwrap_or_else(|e| panic!("the corpus of {}: {e}", target.name))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    files.into_iter().map(read).collect()
}

/// Replays a corpus, and tries some more.
fn replay(target: &Target, executions: u64) {
    let seeds = seeds(target);
    assert!(
        (5..2 * CORPUS).contains(&seeds.len()),
        "{} files are no small corpus",
        seeds.len()
    );
    let mut run = (target.start)();
    for (path, input) in &seeds {
        assert!(input.len() < 4096, "{} is too large", path.display());
        println!("{}", path.display());
        driver::one(&mut run, input).unwrap_or_else(|why| panic!("{why}"));
    }
    let inputs = seeds.into_iter().map(|(_, input)| input).collect();
    let mut fuzzer = Fuzzer::new(target, inputs, SEED);
    while fuzzer.executions < executions {
        if let Some(failure) = fuzzer.step() {
            failed(target, SEED, fuzzer.executions, &failure);
        }
    }
}

/// Writes the input down and says how to run it again.
fn failed(target: &Target, seed: u64, executions: u64, failure: &driver::Failure) -> ! {
    let name = format!("fuzz-{}-{seed}-{executions}", target.name);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, &failure.input).unwrap();
    panic!(
        "{}: {}\nIts input begins with: {} (seed {seed}, execution {executions})\n\
         To run it again: make fuzz TARGET={} FILE={}\n\
         To keep it: mv {} {}/",
        target.name,
        failure.why,
        failure.input[..failure.input.len().min(200)].escape_ascii(),
        target.name,
        path.display(),
        path.display(),
        corpus(target).display(),
    );
}

macro_rules! targets {
    ($($test:ident: $target:expr, $executions:expr;)*) => {
        const TARGETS: &[Target] = &[$($target),*];

        $(#[test]
        fn $test() {
            replay(&$target, $executions);
        })*
    };
}

targets! {
    requests_to_the_front: front::REQUESTS, SHORT;
    chunked_bodies: front::CHUNKED, SHORT;
    bodies_in_json: json::TARGET, SHORT;
    bodies_of_tasks: tasks::TARGET, SHORT;
    headers_of_the_queue: headers::TARGET, SHORT;
    queries_of_the_log: query::TARGET, SHORT;
    messages_of_the_methods: messages::TARGET, SHORT;
    calls_of_the_methods: calls::TARGET, SHORT_CALLS;
}

/// What `make fuzz` was given under this name; empty if nothing.
fn given(name: &str) -> String {
    env::var(format!("MESSENGER_FUZZ_{name}")).unwrap_or_default()
}

fn number(name: &str, default: u64) -> u64 {
    match &*given(name) {
        "" => default,
        text => text.replace('_', "").parse().expect(name),
    }
}

/// `make fuzz`: TARGET, RUNS and SEED choose; FILE runs one input alone; with KEEP,
/// inputs with an outcome that the corpus does not have are added to it.
#[test]
#[ignore = "it takes minutes: make fuzz"]
fn long() {
    let only = given("TARGET");
    let chosen = TARGETS.iter().filter(|it| ["", it.name].contains(&&*only));
    let chosen: Vec<_> = chosen.collect();
    assert!(
        !chosen.is_empty(),
        "TARGET has to be one of {:?}",
        TARGETS.iter().map(|it| it.name).collect::<Vec<_>>()
    );
    let file = given("FILE");
    if !file.is_empty() {
        let input = fs::read(file).expect("FILE");
        let [target] = *chosen else {
            panic!("FILE needs a TARGET");
        };
        println!(
            "{}: {:?}",
            target.name,
            driver::one(&mut (target.start)(), &input)
        );
        return;
    }
    let (runs, seed) = (number("RUNS", 10_000_000), number("SEED", SEED));
    let mut table = comfy_table::Table::new();
    let head = ["target", "executions", "seconds", "executions/s", "result"];
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(head);
    for target in chosen {
        let row = long_run(target, runs, seed);
        table.add_row(row);
    }
    println!("{table}");
}

fn long_run(target: &Target, runs: u64, seed: u64) -> [String; 5] {
    let mut inputs: Vec<_> = seeds(target).into_iter().map(|(_, input)| input).collect();
    inputs.push(Vec::new());
    let mut fuzzer = Fuzzer::new(target, inputs, seed);
    let (begun, mut said) = (Instant::now(), Instant::now());
    let failure = loop {
        if fuzzer.executions >= runs {
            break None;
        }
        let failure = fuzzer.step();
        if failure.is_some() {
            break failure;
        }
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            eprintln!(
                "{}: {} of {runs} executions, {} outcomes",
                target.name,
                fuzzer.executions,
                fuzzer.outcomes()
            );
        }
    };
    let (done, seconds) = (fuzzer.executions, begun.elapsed().as_secs_f64());
    if let Some(failure) = failure {
        failed(target, seed, done, &failure);
    }
    if given("KEEP") == "1" {
        let room = CORPUS.saturating_sub(seeds(target).len());
        for (name, input) in fuzzer.found(room) {
            fs::write(corpus(target).join(name), input).unwrap();
        }
    }
    [
        target.name.into(),
        done.to_string(),
        format!("{seconds:.0}"),
        format!("{:.0}", done as f64 / seconds),
        format!("no failure, {} outcomes", fuzzer.outcomes()),
    ]
}
