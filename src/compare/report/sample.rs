//! A report as a real run might give it, for the tests of its renderings.

use super::{
    BehaviourTable, CheckRow, Machine, Measurement, Metric, Outcome, PeerResult, Report, Samples,
    Speed,
};

pub const HOSTILE: &str =
    "<script>alert('x')</script>\u{1b}]0;owned\u{7}\r\n\u{9b}2J \"quoted\" &amp;";

pub fn report() -> Report {
    Report {
        date: "2026-11-21T07:30:12Z".into(),
        machine: Machine {
            cpu: "AMD EPYC 9R14".into(),
            cores: 2,
            memory_bytes: 24 << 30,
            kernel: "Linux 6.1.0".into(),
            versions: [
                ("messenger", "0.1.0 (fafb54e)"),
                ("gRPC C core", "1.56.2"),
                ("Python", "3.11.2"),
                ("grpcio (Python)", "1.71.0"),
                ("tonic", "0.14.2"),
            ]
            .map(|(program, version)| (program.into(), version.into()))
            .into(),
        },
        behaviour: vec![servers(), bridges()],
        speed: Some(speed()),
    }
}

fn differs(expected: &str, got: &str) -> Outcome {
    Outcome::Differs {
        expected: expected.into(),
        got: got.into(),
    }
}

fn check(
    (name, title, expected): (&str, &str, &str),
    difference: Option<&str>,
    outcomes: Vec<Outcome>,
) -> CheckRow {
    CheckRow {
        name: name.into(),
        title: title.into(),
        expected: expected.into(),
        difference: difference.map(str::to_owned),
        outcomes,
    }
}

fn servers() -> BehaviourTable {
    use Outcome::{Dies, Hangs, Pass, Skipped};
    let refused = "RESOURCE_EXHAUSTED: the backlog of 8192 messages is full";
    let rises = "every time is later than the one before";
    let repeats = differs(rises, "17 of 10,000 times repeat");
    let skipped = |why: &str| Skipped { why: why.into() };
    BehaviourTable {
        title: "Servers".into(),
        columns: ["Rust", "Python", "tonic", "10.0.0.7:50051"]
            .map(String::from)
            .into(),
        rows: vec![
            check(
                (
                    "one-order",
                    "Four readers and eight senders: all readers see one order.",
                    "the same order for all",
                ),
                None,
                vec![Pass, Pass, Pass, Pass],
            ),
            check(
                (
                    "forty-readers",
                    "Forty readers at once, then a message.",
                    "forty readers get it, and SendMessage answers",
                ),
                Some("readers"),
                vec![Pass, Hangs { seconds: 10 }, Pass, Hangs { seconds: 10 }],
            ),
            check(
                (
                    "time-rises",
                    "sendTime of 10,000 messages rises strictly.",
                    rises,
                ),
                Some("readers"),
                vec![
                    Pass,
                    repeats.clone(),
                    repeats,
                    skipped("the server is not ours to load"),
                ],
            ),
            check(
                ("text-too-long", "A text of 300 KiB.", "INVALID_ARGUMENT"),
                Some("author, text"),
                vec![
                    Pass,
                    differs("INVALID_ARGUMENT", "OK"),
                    differs("INVALID_ARGUMENT", "OK"),
                    differs("INVALID_ARGUMENT", HOSTILE),
                ],
            ),
            check(
                ("slow-reader", "A reader that does not read.", refused),
                None,
                vec![
                    Pass,
                    differs(refused, "still open after 60 s"),
                    Dies {
                        how: "signal 9 (SIGKILL)".into(),
                    },
                    skipped("the server is not ours to load"),
                ],
            ),
        ],
    }
}

fn bridges() -> BehaviourTable {
    let columns = [
        "Rust bridge, Rust server",
        "Rust bridge, Python server",
        "Python bridge, Rust server",
        "Python bridge, Python server",
    ];
    let json = differs(
        "{\"author\":\"\",\"text\":\"x\",\"sendTime\":\"2026-01-02T03:04:05.120000000Z\"}",
        "{\"text\":\"x\",\"sendTime\":\"2026-01-02T03:04:05.120Z\"}",
    );
    let closed = differs(
        "400 and an error object",
        "the connection closed without an answer",
    );
    BehaviourTable {
        title: "Bridges".into(),
        columns: columns.map(String::from).into(),
        rows: vec![
            check(
                (
                    "send-and-flush",
                    "A message that was sent is in the next flush.",
                    "exactly once",
                ),
                None,
                vec![Outcome::Pass, Outcome::Pass, Outcome::Pass, Outcome::Pass],
            ),
            check(
                (
                    "empty-author",
                    "A message without an author.",
                    "the field is there and empty",
                ),
                None,
                vec![Outcome::Pass, Outcome::Pass, json.clone(), json],
            ),
            check(
                ("bad-json", "A body that is no JSON.", "400"),
                Some("raw UTF-8 in a request, bad JSON, unknown field"),
                vec![Outcome::Pass, Outcome::Pass, closed.clone(), closed],
            ),
        ],
    }
}

/// Three repetitions: the median, and 10 % to either side.
fn around(metric: Metric, median: f64) -> Samples {
    Samples {
        metric,
        values: vec![median * 0.9, median, median * 1.12],
    }
}

fn measured(throughput: f64, p50: f64, p99: f64, cpu: f64) -> PeerResult {
    PeerResult::Measured {
        metrics: vec![
            around(Metric::Throughput, throughput),
            around(Metric::P50, p50),
            around(Metric::P99, p99),
            around(Metric::ServerCpu, cpu),
        ],
    }
}

fn measurement(name: &str, title: &str, operation: &str, results: Vec<PeerResult>) -> Measurement {
    Measurement {
        name: name.into(),
        title: title.into(),
        operation: operation.into(),
        results,
    }
}

fn fanout(readers: usize, results: Vec<PeerResult>) -> Measurement {
    let title = format!("Every message goes to {readers} readers");
    measurement(&format!("fanout-{readers}"), &title, "delivery", results)
}

fn speed() -> Speed {
    let hangs = || PeerResult::Failed {
        why: "hangs: after 32 readers the pool has no thread for SendMessage".into(),
    };
    let start = |ms| PeerResult::Measured {
        metrics: vec![around(Metric::Start, ms), around(Metric::Memory, ms * 1.7)],
    };
    let foreign = PeerResult::Measured {
        metrics: vec![
            around(Metric::Throughput, 9_120.0),
            around(Metric::P50, 1_700.0),
        ],
    };
    Speed {
        peers: ["Rust", "Python", "tonic", "C core", "10.0.0.7:50051"]
            .map(String::from)
            .into(),
        repetitions: 3,
        seconds: 5.0,
        text_bytes: 100,
        measurements: vec![
            measurement(
                "unary-16",
                "SendMessage from 16 senders, nobody reads",
                "call",
                vec![
                    measured(33_400.0, 450.0, 1_210.0, 24.3),
                    measured(1_240.0, 12_800.0, 21_300.0, 790.0),
                    measured(41_200.0, 371.0, 940.0, 19.8),
                    measured(36_100.0, 420.0, 1_150.0, 22.9),
                    foreign,
                ],
            ),
            fanout(
                1,
                vec![
                    measured(27_000.0, 110.0, 310.0, 27.0),
                    measured(1_050.0, 1_900.0, 5_100.0, 910.0),
                    measured(31_000.0, 96.0, 280.0, 22.0),
                    measured(28_800.0, 104.0, 300.0, 25.0),
                    PeerResult::Absent,
                ],
            ),
            fanout(
                10,
                vec![
                    measured(179_000.0, 210.0, 640.0, 5.3),
                    measured(7_200.0, 2_900.0, 8_400.0, 134.0),
                    measured(160_000.0, 260.0, 720.0, 6.2),
                    measured(191_000.0, 200.0, 590.0, 4.9),
                    PeerResult::Absent,
                ],
            ),
            fanout(
                100,
                vec![
                    measured(514_000.0, 1_100.0, 3_900.0, 3.0),
                    hangs(),
                    measured(220_000.0, 3_100.0, 9_800.0, 5.1),
                    measured(540_000.0, 1_050.0, 3_700.0, 2.8),
                    PeerResult::Absent,
                ],
            ),
            fanout(
                1000,
                vec![
                    measured(310_000.0, 9_000.0, 31_000.0, 5.6),
                    hangs(),
                    measured(140_000.0, 41_000.0, 90_000.0, 8.1),
                    PeerResult::Failed {
                        why: "the process ended: signal 11 (SIGSEGV)".into(),
                    },
                    PeerResult::Absent,
                ],
            ),
            measurement(
                "start",
                "From the start of the process to the first answer",
                "start",
                vec![
                    start(21.0),
                    start(412.0),
                    start(9.0),
                    PeerResult::Absent,
                    PeerResult::Absent,
                ],
            ),
        ],
        foreign_cpu: 0.031,
        foreign_cpu_max: 0.22,
        warning: Some(
            "other programs used up to 22.0 % of the machine; the figures are not to be trusted"
                .into(),
        ),
    }
}
