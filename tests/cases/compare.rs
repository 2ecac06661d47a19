//! `messenger compare` with small numbers: what it writes, and that our own
//! programs pass. Never a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use messenger::compare::report::page::page;
use messenger::compare::report::view::View;
use serde_json::Value;

use super::layout::root;
use crate::support::browser::{Browser, Look};
use crate::support::heavy;
use crate::support::programs::{Bridge, Server, messenger, python};

const LONG: Duration = Duration::from_secs(120);

/// Runs it in this folder, and returns the exit code, what it printed and what it
/// logged.
pub fn compare(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (out, work) = (path("out"), path("work"));
    let python = python().to_string_lossy().into_owned();
    let mut all = vec![
        "compare", "--python", &python, "--out", &out, "--work", &work,
    ];
    all.extend(["--repetitions", "2", "--time", "200ms"]);
    all.extend(arguments);
    let mut process = messenger(&all);
    let mut printed = String::new();
    while let Some(line) = process.line(LONG) {
        printed += &line;
        printed.push('\n');
    }
    (process.wait_exit(LONG), printed, process.log())
}

pub fn report(folder: &Path) -> Value {
    let json = fs::read_to_string(folder.join("out/report.json")).expect("report.json");
    serde_json::from_str(&json).expect("JSON")
}

/// The figures of one peer in one measurement, by metric.
fn figures(result: &Value) -> BTreeMap<String, Vec<f64>> {
    let metrics = result["metrics"].as_array().expect("metrics");
    let numbers = |values: &Value| {
        let values = values.as_array().expect("values").iter();
        values.map(|v| v.as_f64().expect("a number")).collect()
    };
    let pair = |m: &Value| {
        (
            m["metric"].as_str().unwrap().to_owned(),
            numbers(&m["values"]),
        )
    };
    metrics.iter().map(pair).collect()
}

#[test]
fn both_halves_come_as_text_json_and_a_page() {
    let _machine = heavy();
    let folder = tempfile::tempdir().unwrap();
    let only = "order,bad-json,start-server,unary-16,fanout-10,paced-3-100,http-send-1,\
                http-send-4-at-rust,http-flush-100";
    let (code, text, log) = compare(folder.path(), &["--peer", "secured,floor", "--only", only]);
    assert_eq!((code, log.as_str()), (0, ""), "{text}");
    let report = report(folder.path());

    let tables = report["behaviour"].as_array().unwrap();
    let rows = tables
        .iter()
        .flat_map(|table| table["rows"].as_array().unwrap());
    let names: Vec<_> = rows
        .clone()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"order") && names.contains(&"bad-json"),
        "{names:?}"
    );
    for row in rows {
        // The first column is ours.
        assert_eq!(row["outcomes"][0]["outcome"], "pass", "{row}");
    }

    let speed = &report["speed"];
    assert_eq!(
        speed["peers"],
        serde_json::json!(["Rust", "Python", "Rust, TLS and token", "C core"])
    );
    let measurements = speed["measurements"].as_array().unwrap();
    assert_eq!(measurements.len(), 7);
    for measurement in measurements {
        let name = measurement["name"].as_str().unwrap();
        let results = measurement["results"].as_array().unwrap();
        let bridges = name.starts_with("http-");
        for (peer, result) in results.iter().enumerate() {
            if bridges && peer >= 2 {
                assert_eq!(result["result"], "absent", "{name}: these have no bridge");
                continue;
            }
            let figures = figures(result);
            let expected = match name {
                "start-server" => "start",
                "http-flush-100" => "p99",
                _ => "throughput",
            };
            assert!(figures.contains_key(expected), "{name}: {figures:?}");
            for (metric, values) in figures {
                assert_eq!(values.len(), 2, "{name} {metric}: one for each repetition");
                // A short run may take less CPU time than the kernel counts.
                let cpu = metric.ends_with("Cpu");
                assert!(
                    values.iter().all(|v| *v > 0.0 || cpu),
                    "{name} {metric} {values:?}"
                );
            }
        }
        assert!(text.contains(name), "{name} is not in the text");
    }

    let page = fs::read_to_string(folder.path().join("out/index.html")).unwrap();
    assert!(
        page.contains("<svg") && !page.contains("<script"),
        "plots and no scripts"
    );
    assert!(!text.contains('\u{1b}'), "no colours into a pipe");
}

#[test]
fn the_page_answers_on_its_first_screen_and_fits_a_phone() {
    let sample = root().join("src/compare/report/sample.json");
    let sample = fs::read_to_string(sample).unwrap();
    let view = View::of(&serde_json::from_str(&sample).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.html");
    fs::write(&file, page(&view).unwrap()).unwrap();
    let url = format!("file://{}", file.display());
    let browser = Browser::start();

    let tab = browser.open(&url);
    tab.screenshot("comparison");
    let end = tab.eval("document.querySelector('.plots').getBoundingClientRect().bottom");
    assert!(end.as_f64().unwrap() < 800.0, "the answer ends at {end}");
    assert_eq!(tab.count("details[open] details, .rest[open]"), 0);
    // A link opens what its target is folded into.
    let seen = "document.querySelector('#difference-0').checkVisibility()";
    assert_eq!(tab.eval(seen), false);
    tab.click("a[href='#difference-0']");
    tab.until(seen);
    assert_eq!(tab.complaints(), Vec::<String>::new());

    let (size, phone, scheme) = ((360, 740), true, "dark");
    let tab = browser.open_as(
        &url,
        &Look {
            size,
            phone,
            scheme,
        },
    );
    tab.screenshot("comparison-phone");
    let width = tab.eval("document.documentElement.scrollWidth");
    assert_eq!(width, 360, "nothing is wider than the screen");
    let name = tab.eval("document.querySelector('.answer tbody th').clientWidth");
    assert!(
        name.as_f64().unwrap() > 100.0,
        "a column of {name} for names"
    );
    let paper = tab.eval("getComputedStyle(document.documentElement).backgroundColor");
    assert_eq!(paper, "rgb(21, 24, 28)", "dark");
}

#[test]
fn somebody_elses_programs_are_compared_and_left_alone() {
    let _machine = heavy();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(&[]);
    let address = server.address();
    let mut bridge = Bridge::start(&address, &[]);
    let http = bridge.address();
    let arguments = [
        "--server",
        &address,
        "--bridge",
        &http,
        "--only",
        "order,bad-json,unary-1",
    ];
    let (code, text, _) = compare(folder.path(), &arguments);
    assert_eq!(code, 0, "{text}");
    let report = report(folder.path());
    for (table, name) in [(0, &address), (1, &http)] {
        let table = &report["behaviour"][table];
        let columns = table["columns"].as_array().unwrap();
        let column = columns
            .iter()
            .position(|c| c.as_str().unwrap().contains(name.as_str()));
        let column = column.unwrap_or_else(|| panic!("no column of {name} in {columns:?}"));
        assert_eq!(table["rows"][0]["outcomes"][column]["outcome"], "pass");
    }
    let peers = report["speed"]["peers"].as_array().unwrap();
    assert!(
        peers.iter().any(|peer| *peer == address.as_str()),
        "{peers:?}"
    );
    assert!(server.is_alive() && bridge.is_alive());
}

#[test]
fn everything_is_listed_and_what_is_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (code, list, _) = compare(folder.path(), &["--list"]);
    assert_eq!(code, 0);
    for name in ["order", "bad-json", "fanout-1000", "http-flush-10000"] {
        assert!(
            list.lines().any(|line| line.trim_start().starts_with(name)),
            "{list}"
        );
    }
    let (code, _, log) = compare(folder.path(), &["--only", "order,nonsense"]);
    assert_eq!(code, 1);
    assert!(log.contains("nonsense") && log.contains("--list"), "{log}");
    assert!(!folder.path().join("out").exists());
}

#[test]
fn a_load_that_could_not_be_sent_is_refused_and_the_largest_can_be() {
    let fanout = |flag: &str, value: &str| {
        let arguments = [
            "bench",
            "fanout",
            "--readers",
            "1",
            "--time",
            "100ms",
            flag,
            value,
        ];
        let mut process = messenger(&arguments);
        while process.line(LONG).is_some() {}
        (process.wait_exit(LONG), process.log())
    };
    for (flag, value, limits) in [
        ("--text-bytes", "15", "16..=16000"),
        ("--text-bytes", "16001", "16..=16000"),
        ("--in-flight", "0", "1..=1000"),
        ("--ahead", "0", "1..=5000"),
    ] {
        let (code, log) = fanout(flag, value);
        assert_eq!(code, 2, "{flag} {value}");
        assert!(log.contains(flag) && log.contains(limits), "{log}");
    }
    assert_eq!(fanout("--text-bytes", "16000"), (0, String::new()));
}
