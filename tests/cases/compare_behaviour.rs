//! The checks of `messenger compare`: ours keep every promise, the Python
//! programs differ where a row of the differences says so, and each check sees a
//! fault that is planted for it.

mod bound;
pub mod faults;
mod live;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::slice::from_ref;
use std::sync::Mutex;
use std::thread;

use messenger::compare::behaviour::{Plan, names, run};
use messenger::compare::differences;
use messenger::compare::peer::{Peer, Toolbox};
use messenger::compare::report::{BehaviourTable, CheckRow, Outcome};

use crate::support::heavy;
use crate::support::programs::{Bridge, Server, python};

use faults::Fault::{Differs, Hangs, MayDiffer, Planted};
use faults::{BRIDGE_FAULTS, Fault, SERVER_FAULTS};

use super::layout::root;

/// How many plans run at a time: most of their time they wait.
const PARALLEL: usize = 6;

/// A folder whose programs are those of `faults.py` with these faults.
pub fn planted(server: &str, bridge: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let faults = root().join("tests/reference/faults.py");
    for (file, kind, fault) in [
        ("chat_server.py", "server", server),
        ("chat_client.py", "bridge", bridge),
    ] {
        let script = format!(
            "import runpy, sys\nsys.argv = ['faults.py', {kind:?}, {fault:?}]\n\
             runpy.run_path({faults:?}, run_name='__main__')\n"
        );
        fs::write(folder.path().join(file), script).unwrap();
    }
    folder
}

pub fn plan(scripts: &Path, servers: &[Peer], bridges: &[Peer], only: &[&str]) -> Plan {
    Plan {
        toolbox: Toolbox {
            messenger: env!("CARGO_BIN_EXE_messenger").into(),
            python: python(),
            scripts: scripts.into(),
            ..Toolbox::default()
        },
        servers: servers.to_vec(),
        bridges: bridges.to_vec(),
        only: only.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Runs the plans, several at a time, and returns all their tables.
pub fn run_all(plans: Vec<Plan>) -> Vec<BehaviourTable> {
    let plans = Mutex::new(plans.into_iter());
    let tables = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let next = plans.lock().unwrap().next();
                    let Some(plan) = next else { return };
                    let done = run(&plan, &|_, _, _| {}).unwrap();
                    tables.lock().unwrap().extend(done);
                }
            });
        }
    });
    tables.into_inner().unwrap()
}

/// Column, row and outcome of each cell.
pub fn cells(tables: &[BehaviourTable]) -> impl Iterator<Item = (&str, &CheckRow, &Outcome)> {
    tables.iter().flat_map(|table| {
        table.rows.iter().flat_map(|row| {
            let columns = table.columns.iter().map(String::as_str);
            columns
                .zip(&row.outcomes)
                .map(move |(column, outcome)| (column, row, outcome))
        })
    })
}

fn fault_of(check: &str) -> Fault {
    let mut all = SERVER_FAULTS.iter().chain(BRIDGE_FAULTS);
    let found = all.find(|(name, _)| *name == check);
    found
        .unwrap_or_else(|| panic!("{check} is not in the table of faults"))
        .1
}

fn checks(faults: &[(&'static str, Fault)]) -> Vec<&'static str> {
    faults.iter().map(|(check, _)| *check).collect()
}

#[test]
fn the_table_of_faults_has_every_check() {
    let known: Vec<_> = names().into_iter().map(|(name, _)| name).collect();
    let table = [checks(SERVER_FAULTS), checks(BRIDGE_FAULTS)].concat();
    assert_eq!(table, known);
    let unique: BTreeSet<_> = known.iter().collect();
    assert_eq!(unique.len(), known.len(), "each check has its own name");
}

#[test]
fn our_programs_keep_every_promise_also_among_python_programs() {
    let _machine = heavy();
    let folder = planted("none", "none");
    let plan = |server, only: &[&str]| plan(folder.path(), &[server], &[Peer::Ours], only);
    let tables = run_all(vec![
        plan(Peer::Ours, &[]),
        plan(Peer::Python, &checks(BRIDGE_FAULTS)),
    ]);
    let mut ours = 0;
    for (column, row, outcome) in cells(&tables) {
        assert_eq!(*outcome, Outcome::Pass, "{column}: {}", row.name);
        ours += 1;
    }
    assert_eq!(ours, SERVER_FAULTS.len() + 2 * BRIDGE_FAULTS.len());
}

#[test]
fn what_somebody_else_has_started_is_checked_and_left_running() {
    let mut server = Server::start(&[]);
    let mut bridge = Bridge::start(&server.address(), &[]);
    let foreign = [&server, &bridge].map(|program| Peer::Foreign(program.address()));
    let [server_peer, bridge_peer] = foreign.map(|peer| [peer]);
    let run = |servers: &[Peer]| run_all(vec![plan(Path::new(""), servers, &bridge_peer, &[])]);
    let skipped = |tables: &[BehaviourTable]| {
        let mut skipped = Vec::new();
        for (column, row, outcome) in cells(tables) {
            match outcome {
                Outcome::Pass => {}
                Outcome::Skipped { .. } => skipped.push(row.name.clone()),
                other => panic!("{column}: {}: {other:?}", row.name),
            }
        }
        skipped
    };
    let tables = run(&server_peer);
    let titles: Vec<_> = tables.iter().map(|table| table.columns.clone()).collect();
    let (server_name, bridge_name) = (server.address(), bridge.address());
    let pair = format!("{bridge_name} bridge, {server_name} server");
    assert_eq!(titles, [[server_name], [pair]]);
    let not_ours_to_end = [
        "port-taken",
        "server-end",
        "two-bridges",
        "port-opens-subscribed",
        "port-opens-soon",
        "server-restart",
        "sent-while-reconnecting",
        "server-gone-send",
        "server-gone-flush",
        "no-server",
        "bridge-end",
    ];
    assert_eq!(skipped(&tables), not_ours_to_end);
    // Its server is not known: what can be asked through it alone.
    let tables = run(&[Peer::Ours]);
    let alone: Vec<_> = tables
        .iter()
        .filter(|table| table.title == "Bridges")
        .collect();
    assert_eq!(alone[0].columns, [format!("{bridge_name} bridge")]);
    let skipped = skipped(&tables);
    assert!(skipped.contains(&"flush".to_owned()), "{skipped:?}");
    for check in ["send-text", "bad-json", "slow-client", "keep-alive"] {
        assert!(!skipped.contains(&check.to_owned()), "{check}");
    }
    assert!(server.is_alive() && bridge.is_alive());
}

#[test]
fn one_check_alone_is_run_and_an_unknown_one_is_an_error() {
    let told = Mutex::new(Vec::new());
    let tell = |done: usize, total: usize, what: &str| {
        told.lock().unwrap().push((done, total, what.to_owned()));
    };
    let alone = plan(Path::new(""), &[Peer::Ours], &[], &["health", "order"]);
    let tables = run(&alone, &tell).unwrap();
    let rows: Vec<_> = cells(&tables)
        .map(|(_, row, _)| row.name.as_str())
        .collect();
    assert_eq!(rows, ["order", "health"]);
    let next = |done, name: &str| (done, 2, format!("Rust: {name}"));
    assert_eq!(*told.lock().unwrap(), [next(0, "order"), next(1, "health")]);
    let unknown = plan(Path::new(""), &[Peer::Ours], &[], &["nothing"]);
    let error = run(&unknown, &|_, _, _| {}).unwrap_err();
    assert_eq!(error.to_string(), "there is no check nothing");
}

#[test]
fn a_program_that_does_not_start_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let tables = run_all(vec![plan(
        folder.path(),
        &[Peer::Python],
        &[],
        &["order", "health"],
    )]);
    for (_, row, outcome) in cells(&tables) {
        assert!(
            matches!(outcome, Outcome::Skipped { .. }),
            "{}: {outcome:?}",
            row.name
        );
    }
    assert_eq!(cells(&tables).count(), 2);
}

/// The plain Python programs in all columns that have one.
fn python_tables() -> Vec<BehaviourTable> {
    let folder = planted("none", "none");
    let mut plans = Vec::new();
    let mut add = |faults: &[(&'static str, Fault)], server: Peer, bridges: &[Peer]| {
        let hangs = |(_, fault): &&(&str, Fault)| *fault == Hangs;
        let plan = |only: &[&str]| plan(folder.path(), from_ref(&server), bridges, only);
        // Those that hang cost nothing but time, each beside the others.
        let (long, short): (Vec<_>, Vec<_>) = faults.iter().partition(hangs);
        plans.extend(long.iter().map(|(check, _)| plan(&[check])));
        plans.extend(short.chunks(12).map(|chunk| {
            let only: Vec<_> = chunk.iter().map(|(check, _)| *check).collect();
            plan(&only)
        }));
    };
    add(SERVER_FAULTS, Peer::Python, &[]);
    add(BRIDGE_FAULTS, Peer::Python, &[Peer::Python]);
    add(BRIDGE_FAULTS, Peer::Ours, &[Peer::Python]);
    run_all(plans)
}

#[test]
fn the_python_programs_differ_where_a_row_says_so_and_nowhere_else() {
    let _machine = heavy();
    let tables = python_tables();
    let (mut wrong, mut differing) = (Vec::new(), BTreeSet::new());
    for (column, row, outcome) in cells(&tables) {
        let name = row.name.as_str();
        let as_expected = match (fault_of(name), outcome) {
            // It depends on luck.
            (MayDiffer(_), Outcome::Pass | Outcome::Differs { .. })
            | (Differs, Outcome::Differs { .. })
            | (Hangs, Outcome::Hangs { .. })
            | (Planted(_), Outcome::Pass) => true,
            _ => false,
        };
        if !as_expected {
            wrong.push(format!("{column}: {name}: {outcome:?}"));
        }
        if *outcome != Outcome::Pass {
            differing.insert(name);
            if row.difference.is_none() {
                wrong.push(format!("{column}: {name}: no row of the differences"));
            }
        }
    }
    for row in differences::rows() {
        for check in &row.checks {
            let by_luck = matches!(fault_of(check), MayDiffer(_));
            if !by_luck && !differing.contains(check.as_str()) {
                wrong.push(format!("{}: {check} does not show it", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let count = SERVER_FAULTS.len() + 2 * BRIDGE_FAULTS.len();
    assert_eq!(cells(&tables).count(), count);
}

#[test]
fn the_differences_name_just_the_checks_at_which_python_differs() {
    let all = SERVER_FAULTS.iter().chain(BRIDGE_FAULTS);
    let differs = all.filter(|(_, fault)| !matches!(fault, Planted(_)));
    let differs: BTreeSet<_> = differs.map(|(check, _)| *check).collect();
    let named = differences::rows().flat_map(|row| &row.checks);
    assert_eq!(named.map(String::as_str).collect::<BTreeSet<_>>(), differs);
}

#[test]
fn every_check_sees_the_fault_that_is_planted_for_it() {
    let _machine = heavy();
    let mut folders = Vec::new();
    let mut plans = Vec::new();
    let mut plant = |(check, fault): &(&str, Fault), is_server: bool| {
        let (Planted(fault) | MayDiffer(fault)) = *fault else {
            return;
        };
        if is_server {
            folders.push(planted(fault, "none"));
        } else {
            folders.push(planted("none", fault));
        }
        let scripts = folders.last().unwrap().path();
        plans.push(if is_server {
            plan(scripts, &[Peer::Python], &[], &[check])
        } else {
            plan(scripts, &[Peer::Ours], &[Peer::Python], &[check])
        });
    };
    SERVER_FAULTS.iter().for_each(|row| plant(row, true));
    BRIDGE_FAULTS.iter().for_each(|row| plant(row, false));
    let count = plans.len();
    let tables = run_all(plans);
    assert_eq!(cells(&tables).count(), count);
    let mut unseen = Vec::new();
    for (_, row, outcome) in cells(&tables) {
        println!("{}: {outcome:?}", row.name);
        let seen = matches!(
            outcome,
            Outcome::Differs { .. } | Outcome::Hangs { .. } | Outcome::Dies { .. }
        );
        if !seen {
            unseen.push(format!("{}: {outcome:?}", row.name));
        }
    }
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
}
