//! A report in words, the same for terminal and page: what differs, how much,
//! and the answer in short. Whatever came from outside is fit to be shown.

use serde::Serialize;

use super::words::{ABSENT, Cell, line, short};
use super::{BehaviourTable, CheckRow, Measurement, Metric, Outcome, PeerResult, Report, plot};
use crate::compare::differences;

/// How a check can end, a word each. What is shown of a report are always words,
/// so that no colour or sign stands alone.
pub const WORDS: [&str; 5] = ["pass", "differs", "hangs", "dies", "skipped"];

/// What the figures are called that stand for all others.
fn in_short(measurement: &str, metric: Metric) -> Option<&'static str> {
    Some(match (measurement, metric) {
        ("unary-16", Metric::Throughput) => "SendMessage, 16 in flight: calls/s",
        ("fanout-100", Metric::Throughput) => "Fan-out to 100 readers: deliveries/s",
        ("fanout-100", Metric::ServerCpu) => "100 readers: server CPU, us/delivery",
        ("paced-100-500", Metric::P50) => "500 messages/s to 100 readers: p50, us",
        ("http-send-1", Metric::Throughput) => "Bridge, one client: requests/s",
        _ => return None,
    })
}

/// Whether it is worth a plot; the tables have all.
fn is_drawn(metric: Metric) -> bool {
    use Metric::{P50, P99, ServerCpu, Throughput};
    matches!(metric, Throughput | ServerCpu | P50 | P99)
}

#[derive(Serialize)]
pub struct View {
    pub when: String,
    pub machine: String,
    pub versions: String,
    pub tables: Vec<Checks>,
    pub speed: Option<Speed>,
}

/// A table of checks.
#[derive(Serialize)]
pub struct Checks {
    pub title: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Check>,
}

#[derive(Serialize)]
pub struct Column {
    pub name: String,
    /// How many checks ended so, for each of `WORDS`.
    pub counts: Vec<usize>,
}

#[derive(Serialize)]
pub struct Check {
    pub name: String,
    pub title: String,
    pub expected: String,
    /// Of `WORDS`, in the order of the columns.
    pub cells: Vec<&'static str>,
    /// What is not a pass, equal ones together.
    pub answers: Vec<Answer>,
    /// A column differs, hangs or dies.
    pub differs: bool,
    /// Which of [`differences::rows`] explains that, and its name.
    pub difference: Option<(usize, &'static str)>,
}

#[derive(Serialize)]
pub struct Answer {
    pub columns: Vec<String>,
    pub word: &'static str,
    /// None of a check that was not tried.
    pub expected: Option<String>,
    pub got: String,
}

#[derive(Serialize)]
pub struct Speed {
    pub method: String,
    pub warning: Option<String>,
    pub peers: Vec<String>,
    /// The figures that stand for all others.
    pub answer: Vec<Row>,
    /// The server's CPU time over the number of readers.
    pub over_readers: Option<String>,
    pub measurements: Vec<Measured>,
}

#[derive(Serialize)]
pub struct Measured {
    pub name: String,
    pub title: String,
    pub rows: Vec<Row>,
    /// The peers that could not do it, and why.
    pub failures: Vec<(String, String)>,
}

/// One metric of all peers.
#[derive(Serialize)]
pub struct Row {
    /// Its name with the unit.
    pub title: String,
    /// Which way it is good.
    pub good: &'static str,
    /// In the order of the peers.
    pub cells: Vec<Cell>,
    /// Bars as SVG, where they are worth it.
    pub bars: Option<String>,
}

impl View {
    pub fn of(report: &Report) -> Self {
        let machine = &report.machine;
        let versions = machine.versions.iter();
        let versions = versions.map(|(program, version)| line(&format!("{program} {version}")));
        Self {
            when: line(&report.date),
            machine: line(&format!(
                "{}, {} cores, {} GiB, Linux {}",
                machine.cpu,
                machine.cores,
                short(machine.memory_bytes as f64 / f64::from(1 << 30)),
                machine.kernel,
            )),
            versions: versions.collect::<Vec<_>>().join(", "),
            tables: report.behaviour.iter().map(checks).collect(),
            speed: report.speed.as_ref().map(speed),
        }
    }
}

fn checks(table: &BehaviourTable) -> Checks {
    let rows: Vec<_> = table.rows.iter().map(|row| check(table, row)).collect();
    let count = |at, word| {
        let ended = rows.iter().filter(|row| row.cells.get(at) == Some(&word));
        ended.count()
    };
    let columns = table.columns.iter().enumerate();
    let columns = columns.map(|(at, name)| Column {
        name: line(name),
        counts: WORDS.map(|word| count(at, word)).into(),
    });
    Checks {
        title: line(&table.title),
        columns: columns.collect(),
        rows,
    }
}

fn check(table: &BehaviourTable, row: &CheckRow) -> Check {
    let mut answers: Vec<Answer> = Vec::new();
    for (column, outcome) in table.columns.iter().zip(&row.outcomes) {
        let promised = || Some(line(&row.expected));
        let (expected, got) = match outcome {
            Outcome::Pass => continue,
            Outcome::Differs { expected, got } => (Some(line(expected)), line(got)),
            Outcome::Hangs { seconds } => (promised(), format!("nothing within {seconds} s")),
            Outcome::Dies { how } => (promised(), format!("the process ended: {}", line(how))),
            Outcome::Skipped { why } => (None, line(why)),
        };
        let word = word(outcome);
        let same = |a: &&mut Answer| (a.word, &a.expected, &a.got) == (word, &expected, &got);
        match answers.iter_mut().find(same) {
            Some(answer) => answer.columns.push(line(column)),
            None => answers.push(Answer {
                columns: vec![line(column)],
                word,
                expected,
                got,
            }),
        }
    }
    let mut known = differences::rows()
        .map(|known| known.name.as_str())
        .enumerate();
    Check {
        name: line(&row.name),
        title: line(&row.title),
        expected: line(&row.expected),
        cells: row.outcomes.iter().map(word).collect(),
        differs: answers.iter().any(|answer| answer.expected.is_some()),
        answers,
        difference: known.find(|(_, name)| Some(*name) == row.difference.as_deref()),
    }
}

fn word(outcome: &Outcome) -> &'static str {
    WORDS[match outcome {
        Outcome::Pass => 0,
        Outcome::Differs { .. } => 1,
        Outcome::Hangs { .. } => 2,
        Outcome::Dies { .. } => 3,
        Outcome::Skipped { .. } => 4,
    }]
}

fn speed(speed: &super::Speed) -> Speed {
    let peers: Vec<_> = speed.peers.iter().map(|peer| line(peer)).collect();
    let measurements = speed.measurements.iter();
    let rows = measurements
        .clone()
        .map(|m| Metric::ALL.map(|metric| (m, metric)));
    let answer = rows.flatten().filter_map(|(m, metric)| {
        let title = in_short(&m.name, metric)?.to_owned();
        let row = row(m, &peers, metric);
        row.bars.is_some().then_some(Row { title, ..row })
    });
    Speed {
        method: method(speed, &peers),
        warning: speed.warning.as_deref().map(line),
        answer: answer.collect(),
        over_readers: over_readers(speed, &peers),
        measurements: measurements.map(|m| measured(m, &peers)).collect(),
        peers,
    }
}

/// How the figures came about, how to read them, and what else the machine did.
fn method(speed: &super::Speed, peers: &[String]) -> String {
    let first = peers.first().map_or("the first", String::as_str);
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    format!(
        "Median (least to greatest) of {} repetitions of {} s each, texts of {} bytes. Other \
         programs used {} of the machine's CPU time (median; at most {}). 27x less: a 27th of \
         {first}'s figure. ~: the ranges overlap, so there may be no difference. {ABSENT}: there \
         is no such program, or it does not tell this figure.",
        speed.repetitions,
        short(speed.seconds),
        speed.text_bytes,
        percent(speed.foreign_cpu),
        percent(speed.foreign_cpu_max),
    )
}

fn measured(measurement: &Measurement, peers: &[String]) -> Measured {
    let results = &measurement.results;
    let told = |metric: &Metric| results.iter().any(|own| own.samples(*metric).is_some());
    let rows = Metric::ALL.into_iter().filter(told);
    let failed = |(peer, result): (&String, &PeerResult)| match result {
        PeerResult::Failed { why } => Some((peer.clone(), line(why))),
        _ => None,
    };
    Measured {
        name: line(&measurement.name),
        title: line(&measurement.title),
        rows: rows.map(|metric| row(measurement, peers, metric)).collect(),
        failures: peers.iter().zip(results).filter_map(failed).collect(),
    }
}

fn row(measurement: &Measurement, peers: &[String], metric: Metric) -> Row {
    let results = &measurement.results;
    let cell = |result| Cell::of(metric, result, results.first());
    let cells: Vec<_> = results.iter().map(cell).collect();
    Row {
        title: metric.title(&line(&measurement.operation)),
        good: metric.good(),
        bars: plot::bars(peers, &cells).filter(|_| is_drawn(metric)),
        cells,
    }
}

/// Of all measurements of a fan-out.
fn over_readers(speed: &super::Speed, peers: &[String]) -> Option<String> {
    let readers = |m: &Measurement| m.name.strip_prefix("fanout-")?.parse::<u32>().ok();
    let cells = |m: &Measurement| row(m, peers, Metric::ServerCpu).cells;
    let sizes = speed.measurements.iter();
    let sizes = sizes.filter_map(|m| Some((readers(m)?, cells(m))));
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_by_key(|(readers, _)| *readers);
    plot::over_readers(peers, &sizes)
}
