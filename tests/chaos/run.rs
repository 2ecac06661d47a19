//! One run: programs and clients, the plan, the judgement.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::record::{Event, Head, History, Recorder};
use super::schedule::{self, Menu, Step};
use super::stage::Stage;
use super::verdict::{Promise, judge, tell};
use crate::support::heavy;

/// The programs of a service, and clients of it.
pub trait World: Sized + Sync {
    type Event: Event;

    const NAME: &'static str;

    /// Starts all programs.
    fn open(seed: u64) -> (Stage, Self);

    /// Runs clients whose behaviour follows from the seed until `stop`, when all
    /// faults are over. Then waits until they have seen what they have to see, each
    /// wait with a bound, and returns.
    fn load(&self, seed: u64, recorder: &Recorder<Self::Event>, stop: &Stop);

    fn promises() -> Vec<Promise<Self::Event>>;
}

/// Tells clients that the faults are over.
#[derive(Default)]
pub struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub fn is_stopped(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits so long, or until the stop; whether it has come.
    pub fn wait(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.changed.wait_timeout_while(stopped, time, |it| !*it);
        *wait.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What a run without violation has to tell.
pub struct Outcome {
    pub faults: usize,
    pub deliveries: usize,
    pub records: usize,
    pub took: Duration,
}

/// Runs a world with the faults of this seed for so long, and judges it.
///
/// # Panics
/// When a promise is broken, with the smallest history that shows it.
pub fn run<W: World>(seed: u64, length: Duration) -> Outcome {
    let began = Instant::now();
    let (history, faults) = record::<W>(seed, length, schedule::plan);
    let broken = judge(&history, &W::promises());
    if !broken.is_empty() || std::env::var_os("MESSENGER_CHAOS_KEEP").is_some() {
        let file = file(&history.head);
        history.write(&file).expect("a file for the history");
        println!("the whole history: {}", file.display());
    }
    let told: Vec<_> = broken
        .iter()
        .map(|(name, it)| tell(&history, name, it))
        .collect();
    assert!(broken.is_empty(), "{}", told.join("\n"));
    Outcome {
        faults,
        deliveries: history.deliveries(),
        records: history.records.len(),
        took: began.elapsed(),
    }
}

/// Makes a plan from a seed for so long, and for what there is.
type Planner = fn(u64, Duration, &Menu) -> Vec<Step>;

/// The kept history of a run without faults, for faults to be planted in. Always the
/// same one, so that a validator is held against what it was held against before, and
/// not against what a busy machine let happen this time.
///
/// With `UPDATE_HISTORIES=1` (`make histories`) it is recorded anew: after a change of
/// a world's clients or events.
///
/// # Panics
/// When it cannot be read.
pub fn peace<W: World>(seed: u64, length: Duration) -> History<W::Event> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chaos/peace");
    let file = file.join(format!("{}.jsonl.gz", W::NAME));
    if std::env::var_os("UPDATE_HISTORIES").is_some_and(|value| value == "1") {
        let _machine = heavy();
        let (history, _) = record::<W>(seed, length, |_, _, _| Vec::new());
        history.write(&file).expect("a file for the history");
    }
    History::read(&file).unwrap_or_else(|error| {
        let file = file.display();
        panic!("{file}: {error}; `make histories` records it anew")
    })
}

/// The history of a run, and the number of its faults.
fn record<W: World>(seed: u64, length: Duration, plan: Planner) -> (History<W::Event>, usize) {
    let head = Head {
        world: W::NAME.into(),
        seed,
        seconds: length.as_secs(),
        clients: Vec::new(),
    };
    // Seen only when the test fails.
    println!("to run it again: {}", again(&head));
    let (mut stage, world) = W::open(seed);
    let plan = plan(seed, length, &stage.menu());
    let (recorder, stop) = (Recorder::new(), Stop::default());
    thread::scope(|scope| {
        let load = scope.spawn(|| world.load(seed, &recorder, &stop));
        let began = Instant::now();
        let performed = catch_unwind(AssertUnwindSafe(|| {
            stage.perform(&plan, &mut recorder.pen("the plan"));
            // Also after the last fault there has to be some time.
            let left = length.saturating_sub(began.elapsed());
            stop.wait(left.max(Duration::from_millis(500)));
        }));
        stop.stop();
        let loaded = load.join();
        for result in [performed, loaded] {
            result.unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
    (recorder.history(head), plan.len())
}

/// The command that makes the same run.
pub fn again(head: &Head) -> String {
    let Head {
        world,
        seed,
        seconds,
        ..
    } = head;
    format!("make chaos WORLD={world} SEED={seed} SECONDS={seconds} RUNS=1")
}

fn file(head: &Head) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos");
    std::fs::create_dir_all(&folder).expect("a folder for histories");
    folder.join(format!("{}-{}.jsonl", head.world, head.seed))
}
