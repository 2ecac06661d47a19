//! The runs: a short one of each world in every run of the tests, and as many as there
//! is time for by `make chaos`.

use std::env;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::bridge::Bridge;
use super::chat::Chat;
use super::history::MessageLog;
use super::jobs::Jobs;
use super::record::History;
use super::run::{Outcome, World, run};
use super::several::Several;
use super::todo::Todo;
use super::verdict::{judge, tell};
use crate::support::heavy;

/// A world by its name: how to run it, and how to judge a file of an earlier run.
pub struct Row {
    name: &'static str,
    run: fn(u64, Duration) -> Outcome,
    judge: fn(&Path) -> String,
    pub promises: fn() -> Vec<&'static str>,
}

const fn row<W: World>() -> Row {
    Row {
        name: W::NAME,
        run: run::<W>,
        judge: judge_file::<W>,
        promises: || W::promises().iter().map(|promise| promise.name).collect(),
    }
}

// The first one whose name a file's name begins with has judged it.
static WORLDS: [Row; 8] = [
    row::<Chat>(),
    row::<Bridge>(),
    row::<Todo>(),
    row::<MessageLog<false>>(),
    row::<MessageLog<true>>(),
    row::<Jobs<true>>(),
    row::<Jobs<false>>(),
    row::<Several>(),
];

/// What is run in the suite, and how long.
const SEED: u64 = 1;
const SHORT: Duration = Duration::from_secs(10);

#[test]
fn chat() {
    short::<Chat>();
}

#[test]
fn bridge() {
    short::<Bridge>();
}

#[test]
fn todo() {
    short::<Todo>();
}

#[test]
fn history_on_postgres() {
    short::<MessageLog<false>>();
}

#[test]
fn history_on_sqlite() {
    short::<MessageLog<true>>();
}

#[test]
fn jobs() {
    short::<Jobs<false>>();
}

#[test]
fn jobs_embedded() {
    short::<Jobs<true>>();
}

#[test]
fn several() {
    short::<Several>();
}

fn short<W: World>() {
    let _machine = heavy();
    // Always the same plan: new ones are tried by `make chaos`.
    println!("{}", line(W::NAME, SEED, &run::<W>(SEED, SHORT)));
}

/// World, seed and seconds of runs that once showed a defect, which is mended.
const FOUND: [(&str, u64, u64); 1] = [("bridge", 207, 4)];

#[test]
fn seeds_that_found_something() {
    let _machine = heavy();
    // What was on its way when a subscription was lost was missing in the log's window.
    for (name, seed, seconds) in FOUND {
        (world(name).run)(seed, Duration::from_secs(seconds));
    }
}

pub fn world(name: &str) -> &'static Row {
    let mut named = WORLDS.iter().filter(|row| row.name == name);
    named.next().expect("a world")
}

/// The value of a variable that `make chaos` sets.
pub fn setting<T: FromStr>(name: &str) -> Option<T> {
    let name = format!("MESSENGER_CHAOS_{name}");
    let value = env::var(&name).ok()?;
    let parsed = value.parse();
    Some(parsed.unwrap_or_else(|_| panic!("{name}={value:?} cannot be read")))
}

fn line(world: &str, seed: u64, outcome: &Outcome) -> String {
    let Outcome {
        faults,
        deliveries,
        records,
        took,
    } = outcome;
    let took = took.as_secs_f64();
    format!(
        "{world:<8} seed {seed:<10} {faults:>4} faults  {deliveries:>9} deliveries  {records:>9} records  {took:>6.1} s  sound"
    )
}

/// `make chaos`: one run after the other, each with the next seed, all worlds in turn.
#[test]
#[ignore = "takes 15 minutes: make chaos"]
fn chaos() {
    let minutes: u64 = setting("MINUTES").unwrap_or(15);
    let seconds = Duration::from_secs(setting("SECONDS").unwrap_or(30));
    let first: u64 = setting("SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let only: Option<String> = setting("WORLD");
    let most: usize = setting("RUNS").unwrap_or(usize::MAX);
    let worlds: Vec<_> = WORLDS
        .iter()
        .filter(|row| only.as_ref().is_none_or(|only| only == row.name))
        .collect();
    assert!(!worlds.is_empty(), "there is no world {only:?}");
    let began = Instant::now();
    let (mut deliveries, mut faults, mut runs, mut broken) = (0, 0, 0, Vec::new());
    while runs < most && (runs == 0 || began.elapsed() < Duration::from_secs(60 * minutes)) {
        let row = worlds[runs % worlds.len()];
        let seed = first + (runs / worlds.len()) as u64;
        runs += 1;
        match std::panic::catch_unwind(|| (row.run)(seed, seconds)) {
            Ok(outcome) => {
                println!("{}", line(row.name, seed, &outcome));
                deliveries += outcome.deliveries;
                faults += outcome.faults;
            }
            Err(_) => {
                println!("{:<8} seed {seed:<10} BROKEN", row.name);
                broken.push((row.name, seed));
            }
        }
    }
    println!("{runs} runs, {faults} faults, {deliveries} judged deliveries");
    assert!(broken.is_empty(), "broken: {broken:?}");
}

/// `make chaos JUDGE=FILE`: judges the history of an earlier run again.
#[test]
#[ignore = "needs a file: make chaos JUDGE=FILE"]
fn judge_again() {
    let file: String = setting("JUDGE").expect("MESSENGER_CHAOS_JUDGE");
    let file = Path::new(&file);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let world = WORLDS.iter().find(|row| name.starts_with(row.name));
    let told = (world.expect("a file with the name of a world").judge)(file);
    assert!(told.is_empty(), "{told}");
}

fn judge_file<W: World>(file: &Path) -> String {
    let history = History::read(file).expect("a history");
    let mut told = String::new();
    for (name, violation) in judge(&history, &W::promises()) {
        writeln!(told, "{}", tell(&history, name, &violation)).expect("a string");
    }
    told
}
