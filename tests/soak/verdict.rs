//! When a process counts as flat: each of these holds, after the warm-up.
//!
//! - Resident memory: the slope of a robust fit (Theil and Sen: the median of the
//!   slopes between any two samples, which no single peak moves) is at most
//!   [`SLOPE`], or over the time that was judged it grows by at most [`GROWTH`].
//! - Under load: the most descriptors, and the most threads, in the last quarter are at
//!   most those of the first quarter and [`MORE_UNDER_LOAD`].
//! - When the load has gone: descriptors, and threads that are not of the C core's
//!   pools, are at most those at the pause behind the warm-up, and [`MORE_IDLE`]. So one
//!   that is lost in a thousand streams is seen.

use std::fmt;

use super::sample::{Idle, Sample};

/// MiB an hour.
const SLOPE: f64 = 4.0;

/// MiB, in short runs, in which a slope says little.
const GROWTH: f64 = 3.0;

/// Load comes and goes at random.
const MORE_UNDER_LOAD: usize = 8;

/// A connection to a database or a server that was opened for the first time.
const MORE_IDLE: usize = 2;

pub struct Row {
    /// Resident memory at the first and the last pause, in MiB.
    resident: [f64; 2],
    /// Of resident memory, in MiB an hour.
    slope: f64,
    /// Of descriptors and threads: idle before and after, most in the first and the
    /// last quarter.
    counts: [[usize; 4]; 2],
    /// In words; none if it is flat.
    pub faults: Vec<String>,
}

pub const HEAD: &str = "\
| process | resident, MiB: after warm-up, at the end | slope, MiB/h | descriptors: idle before, after; most in first, last quarter | threads: the same | flat |
|---|---|---|---|---|---|
";

/// `samples` were taken under load after the warm-up, `before` and `after` in the
/// pauses around that.
pub fn judge(samples: &[Sample], before: &Idle, after: &Idle) -> Row {
    let points: Vec<_> = samples.iter().map(|it| (it.at, it.resident)).collect();
    let hours = match samples {
        [first, .., last] => (last.at - first.at) / 3600.0,
        _ => 0.0,
    };
    let slope = theil_sen(&points) * 3600.0;
    let mut faults = Vec::new();
    if slope > SLOPE && slope * hours > GROWTH {
        let grown = slope * hours;
        faults.push(format!(
            "resident memory grows by {slope:.1} MiB an hour, {grown:.1} MiB in this run"
        ));
    }
    let quarter = samples.len().div_ceil(4);
    let (first, last) = (&samples[..quarter], &samples[samples.len() - quarter..]);
    let most = |part: &[Sample], count: fn(&Sample) -> usize| {
        let counts = part.iter().map(count);
        counts.max().unwrap_or_default()
    };
    let threads = |idle: &Idle| idle.threads.values().sum::<usize>();
    type Counted = (&'static str, [usize; 2], fn(&Sample) -> usize);
    let idle = [before, after];
    let counts: [Counted; 2] = [
        ("descriptors", idle.map(|it| it.descriptors), |it| {
            it.descriptors
        }),
        ("threads", idle.map(threads), |it| it.threads),
    ];
    let counts = counts.map(|(what, [idle, rest], count)| {
        let (early, late) = (most(first, count), most(last, count));
        if late > early + MORE_UNDER_LOAD {
            faults.push(format!("{what} under load grow from {early} to {late}"));
        }
        if rest > idle + MORE_IDLE {
            let (were, are) = (&before.threads, &after.threads);
            faults.push(format!(
                "{what} without load grow from {idle} to {rest}; its threads were {were:?} and are {are:?}"
            ));
        }
        [idle, rest, early, late]
    });
    Row {
        resident: [before.resident, after.resident],
        slope,
        counts,
        faults,
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = self.resident;
        write!(f, "| {before:.1}, {after:.1} | {:+.1} ", self.slope)?;
        for [idle, rest, early, late] in self.counts {
            write!(f, "| {idle}, {rest}; {early}, {late} ")?;
        }
        f.write_str(if self.faults.is_empty() {
            "| yes |"
        } else {
            "| **no** |"
        })
    }
}

/// The median of the slopes of all pairs of points.
fn theil_sen(points: &[(f64, f64)]) -> f64 {
    let pairs = points.iter().enumerate().flat_map(|(at, (x, y))| {
        let later = points[at + 1..].iter();
        later.map(move |(later_x, later_y)| (later_y - y) / (later_x - x))
    });
    let mut slopes: Vec<f64> = pairs.filter(|slope| slope.is_finite()).collect();
    let middle = slopes.len() / 2;
    if slopes.is_empty() {
        return 0.0;
    }
    *slopes.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An hour of load, a sample each five seconds; `change` spoils it.
    fn hour(change: fn(f64, &mut Sample)) -> Vec<String> {
        let mut random = fastrand::Rng::with_seed(1);
        let mut samples: Vec<Sample> = (0..720)
            .map(|n| Sample {
                at: f64::from(n) * 5.0,
                // Noise, and peaks.
                resident: 80.0 + random.f64() * 6.0 + if n % 97 == 0 { 40.0 } else { 0.0 },
                descriptors: 50 + random.usize(..8),
                threads: 40 + random.usize(..8),
            })
            .collect();
        let mut rest = Sample {
            descriptors: 20,
            threads: 12,
            ..Sample::default()
        };
        let idle = |it: &Sample| Idle {
            descriptors: it.descriptors,
            threads: [("read-".into(), it.threads)].into(),
            ..Idle::default()
        };
        let before = idle(&rest);
        samples.iter_mut().for_each(|it| change(it.at / 3600.0, it));
        change(1.0, &mut rest);
        judge(&samples, &before, &idle(&rest)).faults
    }

    #[test]
    fn noise_peaks_and_a_fall_are_flat() {
        assert_eq!(hour(|_, _| {}), [""; 0]);
        assert_eq!(hour(|part, it| it.resident -= 20.0 * part), [""; 0]);
        assert_eq!(hour(|part, it| it.resident += 3.0 * part), [""; 0]);
    }

    #[test]
    fn each_leak_is_found() {
        let found = hour(|part, it| it.resident += 6.0 * part);
        assert!(
            found[0].starts_with("resident memory grows by "),
            "{found:?}"
        );
        // One a second minute, and one that only the pauses show.
        let found = hour(|part, it| it.descriptors += (30.0 * part) as usize);
        assert!(
            found.len() == 2 && found[0].contains("descriptors"),
            "{found:?}"
        );
        let found = hour(|part, it| it.threads += (3.0 * part) as usize);
        assert_eq!(found.len(), 1, "{found:?}");
        let what = "threads without load grow from 12 to 15; ";
        assert!(found[0].starts_with(what), "{found:?}");
    }

    #[test]
    fn a_short_run_has_no_slope_to_speak_of_but_leaks_all_the_same() {
        let sample = |n: u32, resident| Sample {
            at: f64::from(n) * 0.1,
            resident,
            ..Sample::default()
        };
        let flat = |growth: f64| {
            let samples: Vec<_> = (0..80)
                .map(|n| sample(n, 40.0 + growth * f64::from(n) / 80.0))
                .collect();
            judge(&samples, &Idle::default(), &Idle::default())
                .faults
                .is_empty()
        };
        assert!(flat(0.0) && flat(2.0) && !flat(10.0));
    }
}
