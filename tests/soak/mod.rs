//! What only time shows: an hour of steady load; and more load than a server carries.
//! The ordinary suite runs nine seconds of the first, which try the programs of this
//! folder too; `make soak` the hour, `make overload` the other. Figures, and how they are
//! judged: docs/reliability.md.

mod limit;
mod load;
mod offer;
mod overload;
mod plot;
mod sample;
mod verdict;
mod world;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use load::{Load, Tally};
use sample::Series;
use world::World;

use crate::support::heavy;

/// The part of a run that is warm-up: caches, pools and the heap take their size.
const WARM_UP: f64 = 1.0 / 6.0;

/// How many times a run is looked at, about.
const LOOKS: u32 = 720;

/// In the ordinary suite.
const SHORT: Duration = Duration::from_secs(9);

/// The number in an environment variable, if there is one.
fn number(variable: &str) -> Option<f64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{variable}: {e}")))
}

/// The folder for what a long run finds out.
fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("soak");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Looks every now and then until the time is over.
fn watch(all: &mut [Series], started: Instant, until: Duration, every: Duration) {
    while started.elapsed() < until {
        all.iter_mut().for_each(|series| series.look(started));
        thread::sleep(every);
    }
}

#[test]
fn under_steady_load_memory_descriptors_and_threads_stay_flat() {
    let _machine = heavy();
    let minutes = number("MESSENGER_SOAK_MINUTES");
    let time = minutes.map_or(SHORT, |minutes| Duration::from_secs_f64(minutes * 60.0));
    let every = (time / LOOKS).max(Duration::from_millis(100));
    let warm_up = time.mul_f64(WARM_UP);
    let (world, tally) = (World::start(), Tally::default());
    let mut all = world.series();
    let started = Instant::now();

    let load = Load::start(&world, &tally);
    watch(&mut all, started, warm_up, every);
    drop(load);
    let before = sample::idle(&all);
    let begun = started.elapsed().as_secs_f64();
    let load = Load::start(&world, &tally);
    watch(&mut all, started, time, every);
    drop(load);
    let after = sample::idle(&all);

    let mut table = verdict::HEAD.to_owned();
    let mut faults = Vec::new();
    for ((series, before), after) in all.iter().zip(&before).zip(&after) {
        let judged = series.samples.iter().filter(|sample| sample.at > begun);
        let judged: Vec<_> = judged.copied().collect();
        let row = verdict::judge(&judged, before, after);
        let _ = writeln!(table, "| {} {row}", series.name);
        let named = row.faults.into_iter();
        faults.extend(named.map(|fault| format!("{}: {fault}", series.name)));
    }
    let svg = plot::lines(&all, begun).expect("a plot");
    let text = format!("{table}\n{tally}");
    eprintln!("{text}");
    if minutes.is_some() {
        let folder = folder();
        fs::write(folder.join("soak.md"), text).expect("a file");
        fs::write(folder.join("soak.svg"), &svg).expect("a file");
        fs::write(folder.join("soak.csv"), sample::csv(&all)).expect("a file");
        eprintln!(
            "written to {}: soak.md, soak.svg, soak.csv",
            folder.display()
        );
    }
    assert!(svg.len() < 60 * 1024, "a plot of {} bytes", svg.len());
    tally.check();
    assert!(faults.is_empty(), "not flat:\n{}", faults.join("\n"));
}
