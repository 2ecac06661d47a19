//! `messenger bench history`, with a load that shows only that it works.

use std::time::Duration;

use serde_json::Value;

use crate::support::programs::{messenger_with, python};
use crate::support::{SOON, heavy};

#[test]
fn the_log_is_measured_beside_fastapi_and_the_database_alone() {
    let _machine = heavy();
    let python = python();
    let size = [
        "--workers",
        "8",
        "--requests",
        "10",
        "--runs",
        "1",
        "--json",
    ];
    let mut bench = messenger_with(
        &[&["bench", "history"], size.as_slice()].concat(),
        &[("MESSENGER_BENCH_PYTHON", python.to_str().unwrap())],
    );
    let code = bench.wait_exit(Duration::from_secs(120));
    assert_eq!(code, 0, "{}", bench.log());
    let mut out = String::new();
    while let Some(line) = bench.line(SOON) {
        out += &line;
    }
    let figures: Value = serde_json::from_str(&out).unwrap();
    for name in ["throughputRatio", "latencyRatio", "messagesPerTransaction"] {
        assert!(figures[name].as_f64() > Some(0.0), "{name}: {figures}");
    }
    assert!(
        figures["databaseAlonePerSecond"].as_f64() > Some(0.0),
        "{figures}"
    );
    for (run, name) in figures["runs"]
        .as_array()
        .unwrap()
        .iter()
        .zip(["messenger", "FastAPI"])
    {
        assert_eq!(run["of"], name);
        assert_eq!(run["figures"]["requests"], 80);
    }
}
