//! `messenger bench several`, so short that it shows only that it works.

use std::time::Duration;

use serde_json::Value;

use crate::support::heavy;
use crate::support::postgres::Database;
use crate::support::programs::messenger;

/// For all rows, on a machine that builds meanwhile.
const LONG: Duration = Duration::from_secs(240);

fn bench(flags: &[&str]) -> Vec<String> {
    let short = ["bench", "several", "--seconds", "0.3", "--readers", "5"];
    let mut bench = messenger(&[&short, flags].concat());
    let mut said = Vec::new();
    while let Some(line) = bench.line(LONG) {
        said.push(line);
    }
    assert_eq!(bench.wait_exit(LONG), 0, "{}", bench.log());
    said
}

/// It is there, and within these bounds.
fn check(row: &Value, name: &str, least: f64, most: f64) -> f64 {
    let figure = row[name].as_f64();
    let figure = figure.unwrap_or_else(|| panic!("no {name}: {row}"));
    assert!((least..=most).contains(&figure), "{name}: {row}");
    figure
}

#[test]
fn rows_of_each_kind_have_their_figures() {
    let _machine = heavy();
    let only = "append-3,send-3,latency-deaf,latency-standby,deliveries-2";
    let said = bench(&["--only", only, "--in-flight", "20", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&said.concat()).unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["row"].as_str().unwrap())
        .collect();
    assert_eq!(names.join(","), only);

    let append = &rows[0];
    let full = check(append, "perSecond", 1.0, 1e6);
    let alone = check(append, "appendOnlyPerSecond", 1.0, 1e7);
    let part = check(append, "partOfAppendOnly", 0.0, 10.0);
    assert!((part - full / alone).abs() < 0.01, "{append}");
    // No server has more than 20 to append.
    check(append, "messagesPerBatch", 1.0, 20.0);
    // A short run may take less CPU time than the kernel counts.
    check(append, "postgresCpuUs", 0.0, 1e5);
    check(append, "appendOnlyPostgresCpuUs", 0.0, 1e5);
    check(append, "serverCpuUs", 0.1, 1e5);
    assert!(append["loadCpuUs"].is_null(), "{append}");

    check(&rows[1], "perSecond", 1.0, 1e6);
    check(&rows[1], "serverCpuUs", 0.0, 1e5);

    for latency in &rows[2..4] {
        for place in ["answer", "sameServer", "otherServers"] {
            let half = check(latency, &format!("{place}P50Us"), 10.0, 1e7);
            check(latency, &format!("{place}P99Us"), half, 1e7);
        }
    }

    let deliveries = &rows[4];
    assert_eq!(
        (&deliveries["servers"], &deliveries["readers"]),
        (&2.into(), &5.into())
    );
    check(deliveries, "perSecond", 1.0, 1e8);
    check(deliveries, "serverCpuUs", 0.0, 1e5);
    for row in &rows {
        check(row, "foreignCpu", 0.0, 1.1);
    }
}

#[test]
fn somebody_elses_postgresql_is_measured_too_but_not_its_processes() {
    let _machine = heavy();
    let database = Database::new();
    let said = bench(&["--only", "deliveries-1", "--database-url", &database.url]);
    let [title, row, ..] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert!(title.contains("deliveries/s"), "{said:?}");
    let row: Vec<_> = row.split_whitespace().collect();
    assert_eq!((row[0], row[3]), ("deliveries-1", "-"), "{said:?}");
    assert!(row[1].parse::<f64>().unwrap() > 0.0, "{said:?}");
}
