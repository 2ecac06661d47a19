//! What implementations of the contract do: named checks, each with what the
//! contract promises, run against servers over gRPC and against bridges over
//! HTTP. The files `server_*` and `bridge_*` have the checks, in the words of
//! `case`.

mod bridge_connections;
mod bridge_messages;
mod case;
mod chat;
mod check;
mod http;
mod server_messages;
mod server_readers;
mod subject;
mod trouble;

use std::io;
use std::sync::Arc;
use std::thread::{self, Scope};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::differences;
use super::peer::{Peer, Toolbox};
use super::report::{BehaviourTable, CheckRow, Outcome};
pub use check::{Check, Checks};
pub use subject::{Slot, Subject};
pub use trouble::Trouble;

use subject::Column;

/// How many Python bridges start at a time: one may take ten seconds until it
/// listens, which it waits for a name server.
const MAKERS: usize = 4;

/// Longer than any program may take to start, twice for server and bridge.
const START: Duration = Duration::from_secs(300);

/// What to compare. Nobody else may use a foreign server or bridge meanwhile.
pub struct Plan {
    pub toolbox: Toolbox,
    pub servers: Vec<Peer>,
    /// Each in front of each of the servers; a foreign one only in front of
    /// foreign ones.
    pub bridges: Vec<Peer>,
    /// Names of checks; all if empty.
    pub only: Vec<String>,
}

/// The checks of servers and those of bridges.
fn checks() -> [Checks; 2] {
    let [mut servers, mut bridges] = [Checks::default(), Checks::default()];
    server_messages::add(&mut servers);
    server_readers::add(&mut servers);
    bridge_messages::add(&mut bridges);
    bridge_connections::add(&mut bridges);
    [servers, bridges]
}

/// Name and title of every check.
pub fn names() -> Vec<(&'static str, &'static str)> {
    let all = checks().into_iter().flat_map(|checks| checks.all);
    all.map(|check| (check.name, check.title)).collect()
}

/// Runs every check of the plan against every column: a table of servers and a
/// table of bridges, without those that would be empty. Calls `progress` before
/// each cell with the number of cells that are done, the number of all, and what
/// comes next.
///
/// # Errors
/// A name of which there is no check, or no threads to be had. A peer that does
/// not start makes a column of [`Outcome::Skipped`].
pub fn run(plan: &Plan, progress: &dyn Fn(usize, usize, &str)) -> io::Result<Vec<BehaviourTable>> {
    let known = names();
    let unknown = |name: &&String| !known.iter().any(|(known, _)| known == name);
    if let Some(name) = plan.only.iter().find(unknown) {
        let reason = format!("there is no check {name}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let tables = ["Servers", "Bridges"].into_iter().zip(checks());
    let mut tables: Vec<_> = tables
        .zip([server_columns(plan), bridge_columns(plan)])
        .map(|((title, checks), columns)| (title, checks.all, columns))
        .collect();
    for (_, checks, _) in &mut tables {
        checks.retain(|check| plan.only.is_empty() || plan.only.iter().any(|n| n == check.name));
    }
    tables.retain(|(_, checks, columns)| !checks.is_empty() && !columns.is_empty());
    let cells = |(_, checks, columns): &(_, Vec<Check>, Vec<Column>)| checks.len() * columns.len();
    let (mut done, total) = (0, tables.iter().map(cells).sum());
    let mut tell = |what: &str| {
        progress(done, total, what);
        done += 1;
    };
    // Ends when all programs that were being started ahead have been ended, too.
    thread::scope(|scope| {
        let filled = tables.iter().map(|(title, checks, columns)| {
            let mut rows: Vec<_> = checks.iter().map(row).collect();
            for column in columns {
                let fresh = start_ahead(scope, &plan.toolbox, column, checks.len())?;
                let outcomes = run_column(&column.title(), checks, &fresh, &mut tell);
                let rows = rows.iter_mut().zip(outcomes);
                rows.for_each(|(row, outcome)| row.outcomes.push(outcome));
            }
            Ok(BehaviourTable {
                title: (*title).into(),
                columns: columns.iter().map(Column::title).collect(),
                rows,
            })
        });
        filled.collect()
    })
}

fn server_columns(plan: &Plan) -> Vec<Column> {
    let column = |server: &Peer| Column {
        server: Some(server.clone()),
        bridge: None,
    };
    plan.servers.iter().map(column).collect()
}

fn bridge_columns(plan: &Plan) -> Vec<Column> {
    let foreign = |peer: &Peer| matches!(peer, Peer::Foreign(_));
    let mut columns = Vec::new();
    for bridge in &plan.bridges {
        let column = |server: Option<&Peer>| Column {
            server: server.cloned(),
            bridge: Some(bridge.clone()),
        };
        // What stands behind somebody else's bridge is not ours to choose.
        let fits = |server: &&Peer| !foreign(bridge) || foreign(server);
        let servers = || plan.servers.iter().filter(fits).map(Some);
        columns.extend(servers().map(column));
        if servers().next().is_none() && foreign(bridge) {
            columns.push(column(None));
        }
    }
    columns
}

fn row(check: &Check) -> CheckRow {
    CheckRow {
        name: check.name.into(),
        title: check.title.into(),
        expected: check.expected.into(),
        difference: differences::of_check(check.name).map(|row| row.name.clone()),
        outcomes: Vec::new(),
    }
}

/// Starts fresh subjects, `most` at most, by threads that end when nobody takes
/// them any more. A port that was free may be taken by the time a program listens
/// on it: each is tried twice.
fn start_ahead<'s>(
    scope: &'s Scope<'s, '_>,
    toolbox: &'s Toolbox,
    column: &'s Column,
    most: usize,
) -> io::Result<Receiver<io::Result<Subject>>> {
    let slow = column.bridge == Some(Peer::Python);
    let makers = if slow { MAKERS } else { 1 };
    let (sender, ready) = bounded(0);
    for maker in 0..makers {
        let sender = sender.clone();
        let thread = thread::Builder::new().name("stock".into());
        thread.spawn_scoped(scope, move || {
            for _ in (maker..most).step_by(makers) {
                let started = Subject::start(toolbox, column);
                let started = started.or_else(|_| Subject::start(toolbox, column));
                if sender.send(started).is_err() {
                    return;
                }
            }
        })?;
    }
    Ok(ready)
}

fn run_column(
    title: &str,
    checks: &[Check],
    fresh: &Receiver<io::Result<Subject>>,
    tell: &mut dyn FnMut(&str),
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut used: Option<Arc<Subject>> = None;
    let mut broken: Option<String> = None;
    for check in checks {
        tell(&format!("{title}: {}", check.name));
        // It answered the check before as promised, and then it ended.
        if let Some(how) = used.as_ref().and_then(|subject| subject.ended()) {
            outcomes.pop();
            outcomes.push(Outcome::Dies { how });
            used = None;
        }
        if used.is_none() && broken.is_none() {
            let late = |error| Err(io::Error::other(error));
            match fresh.recv_timeout(START).unwrap_or_else(late) {
                Ok(subject) => used = Some(Arc::new(subject)),
                Err(error) => broken = Some(format!("it does not start: {error}")),
            }
        }
        let Some(subject) = &used else {
            let why = broken.clone().unwrap_or_default();
            outcomes.push(Outcome::Skipped { why });
            continue;
        };
        let outcome = check.run(subject);
        // What has failed once may be in any state.
        if outcome != Outcome::Pass || check.spoils {
            subject.end();
            used = None;
        }
        outcomes.push(outcome);
    }
    if let Some(subject) = used {
        subject.end();
    }
    outcomes
}
