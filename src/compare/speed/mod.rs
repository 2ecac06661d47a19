//! What it costs: each measurement of each peer several times, one peer after
//! the other, so that a busy moment of the machine meets all of them.

mod measurement;

use super::report::{Measurement, PeerResult, Samples, Speed, median};
use measurement::Reading;
pub use measurement::{Kind, Plan, defaults};

/// A part of the machine's CPU time that leaves the figures trustworthy when
/// others use it.
const QUIET: f64 = 0.03;

/// Runs all of it. `progress` is told the number of repetitions that are done,
/// of how many, and what comes next. What a peer cannot do stands in the result.
pub fn run(plan: &Plan, progress: &dyn Fn(usize, usize, &str)) -> Speed {
    // Servers, and then bridges that have no server of theirs among them.
    let mut peers = plan.servers.clone();
    let others = plan.bridges.iter();
    peers.extend(others.filter(|peer| !plan.servers.contains(peer)).cloned());
    let total = plan.kinds.len() * plan.repetitions * peers.len();
    let (mut done, mut foreign) = (0, Vec::new());
    let mut measurements = Vec::new();
    for &kind in &plan.kinds {
        let taking_part = match kind.is_of_bridges() {
            true => &plan.bridges,
            false => &plan.servers,
        };
        let mut results = vec![PeerResult::Absent; peers.len()];
        for repetition in 0..plan.repetitions {
            for turn in 0..peers.len() {
                // Nobody is always the first, or always behind the same one.
                let at = (turn + repetition) % peers.len();
                let (peer, result) = (&peers[at], &mut results[at]);
                progress(done, total, &format!("{}: {}", kind.name(), peer.name()));
                done += 1;
                let failed = matches!(result, PeerResult::Failed { .. });
                if failed || !taking_part.contains(peer) {
                    continue;
                }
                match kind.measure(peer, plan) {
                    Ok(reading) => {
                        foreign.extend(reading.foreign_cpu);
                        add(result, reading);
                    }
                    Err(error) => {
                        let why = error.to_string();
                        *result = PeerResult::Failed { why };
                    }
                }
            }
        }
        measurements.push(Measurement {
            name: kind.name(),
            title: kind.title(),
            operation: kind.operation().into(),
            results,
        });
    }
    Speed {
        peers: peers.iter().map(|peer| peer.name().to_owned()).collect(),
        repetitions: plan.repetitions,
        seconds: plan.time.as_secs_f64(),
        text_bytes: plan.text_bytes,
        measurements,
        foreign_cpu: median(&foreign),
        foreign_cpu_max: foreign.iter().copied().fold(0.0, f64::max),
        warning: warning(&foreign),
    }
}

/// Says so when others disturbed more than a tenth of the repetitions: a median
/// of the figures bears a few.
fn warning(foreign: &[f64]) -> Option<String> {
    let disturbed = foreign.iter().filter(|part| **part > QUIET).count();
    (disturbed * 10 > foreign.len()).then(|| {
        format!(
            "other programs used more than {:.0} % of this machine's CPU time in {disturbed} of {} \
             repetitions; do not trust these figures",
            QUIET * 100.0,
            foreign.len()
        )
    })
}

/// Adds what one more repetition gave.
fn add(result: &mut PeerResult, reading: Reading) {
    if matches!(result, PeerResult::Absent) {
        let metrics = Vec::new();
        *result = PeerResult::Measured { metrics };
    }
    let PeerResult::Measured { metrics } = result else {
        return;
    };
    for (metric, value) in reading.values {
        let mut known = metrics.iter_mut();
        match known.find(|samples| samples.metric == metric) {
            Some(samples) => samples.values.push(value),
            None => metrics.push(Samples {
                metric,
                values: vec![value],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_is_told_of_though_the_median_is_quiet() {
        let quiet = [0.0; 9];
        assert_eq!(warning(&quiet), None);
        assert_eq!(warning(&[&quiet[..], &[0.5]].concat()), None);
        let busy = warning(&[&quiet[..], &[0.5, 0.9]].concat()).unwrap_or_default();
        assert!(busy.contains("in 2 of 11 repetitions"), "{busy}");
    }
}
