//! All metrics at once, from a demo: what the documentation and the dashboard name is
//! there, and nothing else.

use std::collections::BTreeSet;

use messenger::todo::client::TodoClient;
use serde_json::Value;

use crate::cases::layout::root;
use crate::support::http::{post, send};
use crate::support::metrics::{Scrape, wait_for};
use crate::support::process::Process;
use crate::support::programs::{Python, messenger, metrics_port};
use crate::support::rpc::connection;
use crate::support::{SOON, eventually};

struct Demo {
    metrics: u16,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Demo {
    /// One in which each part has done something.
    fn busy() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let ports = [
            "--port",
            "--also-port",
            "--http-port",
            "--web-port",
            "--history-port",
        ];
        let ports: Vec<_> = ports.iter().flat_map(|port| [*port, "0"]).collect();
        let arguments = ["demo", "--data-dir", data, "--metrics-port", "0"];
        let process = messenger(&[&arguments[..], &ports].concat());
        let metrics = metrics_port(&process);
        let port = |line: String| -> u16 {
            let address = line.split_whitespace().last().unwrap();
            address.rsplit(':').next().unwrap().parse().unwrap()
        };
        let [server, bridge, log] = [(); 3].map(|()| port(process.line(SOON).unwrap()));
        send(bridge, "anna", "Hello");
        let server = connection(&format!("127.0.0.1:{server}"));
        TodoClient::over(server, SOON).add("a").unwrap();
        assert_eq!(
            post(log, "/", r#"{"sender":"anna","text":"Hello"}"#).status,
            200
        );
        let mut sent = messenger(&["jobs", "send", "--data-dir", data, "user42"]);
        assert_eq!(sent.wait_exit(SOON), 0, "{}", sent.log());
        wait_for(metrics, "messenger_jobs_total", &["\"done\""], 1.0);
        Self {
            metrics,
            _process: process,
            _folder: folder,
        }
    }
}

#[test]
fn the_table_of_metrics_and_the_dashboard_name_what_is_there() {
    let demo = Demo::busy();
    let mut scrape = Scrape::of(demo.metrics);
    // A scrape does not wait for long for the queue.
    eventually(SOON, "the depth of the queue", || {
        scrape = Scrape::of(demo.metrics);
        scrape.has("messenger_jobs_queue_depth")
    });
    let there: BTreeSet<_> = scrape.kinds.keys().map(String::as_str).collect();

    let page = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, section) = page.split_once("\n## Metrics\n").expect("a section");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<_>> = rows
        .map(|row| row.split('|').map(str::trim).collect())
        .collect();
    let names: BTreeSet<_> = rows.iter().flat_map(|row| quoted(row[1])).collect();
    assert_eq!(names, there, "the table of metrics, and the scrape");
    for row in &rows {
        for name in quoted(row[1]) {
            assert_eq!(row[2], scrape.kinds[name], "{name}");
            let mut labels = scrape.labels(name);
            labels.remove("le");
            let told: BTreeSet<_> = quoted(row[3]).map(str::to_owned).collect();
            assert_eq!(told, labels, "the labels of {name}");
        }
    }

    let file = std::fs::read_to_string(root().join("docker/grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&file).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            expressions.push(target["expr"].as_str().unwrap());
        }
    }
    assert!(expressions.len() > 10, "{expressions:?}");
    let mut used = BTreeSet::new();
    for expression in expressions {
        used.extend(check(expression, &scrape));
    }
    // Grafana has panels for all that is peculiar to this program.
    let own = there.iter().filter(|name| name.starts_with("messenger_"));
    let own: BTreeSet<_> = own.map(|name| (*name).to_owned()).collect();
    assert!(
        own.is_subset(&used),
        "no panel for {:?}",
        own.difference(&used)
    );
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The families that an expression reads: each word of it is a function, the name of
/// a series in the scrape, or a label that one of them has.
fn check(expression: &str, scrape: &Scrape) -> BTreeSet<String> {
    let known = "sum by rate increase max histogram_quantile le job __rate_interval";
    let known: BTreeSet<_> = known.split(' ').collect();
    // What is compared with a label is no word.
    let bare: String = expression.split('"').step_by(2).collect();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words = bare
        .split(word)
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_'));
    let words: Vec<_> = words.filter(|word| !known.contains(word)).collect();
    let (names, labels): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| scrape.has(word));
    assert!(!names.is_empty(), "no metric in {expression}");
    let mut families = BTreeSet::new();
    let mut with = BTreeSet::from(["instance".to_owned()]);
    for name in names {
        let parts = ["_bucket", "_sum", "_count"];
        let family = parts
            .iter()
            .find_map(|part| name.strip_suffix(part))
            .unwrap_or(name);
        families.insert(family.to_owned());
        with.extend(scrape.labels(family));
    }
    for label in labels {
        assert!(with.contains(label), "{label} in {expression}");
    }
    assert_eq!(
        expression.matches('(').count(),
        expression.matches(')').count(),
        "{expression}"
    );
    families
}

#[test]
fn the_python_client_of_prometheus_reads_the_same() {
    let demo = Demo::busy();
    eventually(SOON, "the same from both", || {
        let port = demo.metrics.to_string();
        let ours = Scrape::of(demo.metrics);
        let python = Python::spawn("scrape.py", &[&port], &[]);
        let theirs: Value = serde_json::from_str(&python.line(SOON).unwrap()).unwrap();
        let theirs = theirs.as_object().unwrap();
        // What does not change by itself.
        let name = "messenger_messages_accepted_total{service=\"todo.TodoService\"}";
        let same = theirs[name] == 1.0 && ours.value(name) == Some(1.0);
        // One of them may have come in between.
        same && theirs.len() == ours.series().count()
    });
}
