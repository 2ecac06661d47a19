//! What implementations of the contract do: named checks, each with what the
//! contract promises, run against servers over gRPC and against bridges over
//! HTTP. A check is a function in `servers` or `bridges`.

mod bridges;
mod case;
mod cell;
mod chat;
mod check;
mod http;
mod servers;
mod stock;
mod subject;
mod trouble;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::differences;
use super::peer::{Peer, Toolbox};
use super::report::{BehaviourTable, CheckRow, Outcome};
use check::Check;
use stock::Stock;
use subject::{Column, Subject};

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

/// Name and title of every check.
pub fn names() -> Vec<(&'static str, &'static str)> {
    let all = servers::checks().chain(bridges::checks());
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
    let wanted = |check: &&Check| plan.only.is_empty() || plan.only.iter().any(|n| n == check.name);
    let sheets = [
        Sheet {
            title: "Servers",
            columns: server_columns(plan),
            checks: servers::checks().filter(wanted).collect(),
        },
        Sheet {
            title: "Bridges",
            columns: bridge_columns(plan),
            checks: bridges::checks().filter(wanted).collect(),
        },
    ];
    let mut run = Run {
        toolbox: &plan.toolbox,
        progress,
        done: 0,
        total: sheets
            .iter()
            .map(|s| s.columns.len() * s.checks.len())
            .sum(),
        leftover: Vec::new(),
    };
    let sheets = sheets
        .iter()
        .filter(|s| !s.columns.is_empty() && !s.checks.is_empty());
    let tables = sheets.map(|sheet| run.table(sheet)).collect();
    for maker in run.leftover {
        // One that has panicked had nothing to hand over.
        let _ = maker.join();
    }
    tables
}

/// A table that is to be filled.
struct Sheet {
    title: &'static str,
    columns: Vec<Column>,
    checks: Vec<&'static Check>,
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
        // What stands behind somebody else's bridge is not ours to choose.
        let fits = |server: &&Peer| !foreign(bridge) || foreign(server);
        let servers = plan.servers.iter().filter(fits).cloned().map(Some);
        let mut servers: Vec<_> = servers.collect();
        if servers.is_empty() && foreign(bridge) {
            servers.push(None);
        }
        columns.extend(servers.into_iter().map(|server| Column {
            server,
            bridge: Some(bridge.clone()),
        }));
    }
    columns
}

struct Run<'a> {
    toolbox: &'a Toolbox,
    progress: &'a dyn Fn(usize, usize, &str),
    done: usize,
    total: usize,
    /// Threads that may still be starting a program, to end it at once.
    leftover: Vec<JoinHandle<()>>,
}

impl Run<'_> {
    fn table(&mut self, sheet: &Sheet) -> io::Result<BehaviourTable> {
        let row = |check: &&Check| CheckRow {
            name: check.name.into(),
            title: check.title.into(),
            expected: check.expected.into(),
            difference: differences::of_check(check.name).map(|row| row.name.clone()),
            outcomes: Vec::new(),
        };
        let mut rows: Vec<_> = sheet.checks.iter().map(row).collect();
        for column in &sheet.columns {
            let outcomes = self.column(column, &sheet.checks)?;
            for (row, outcome) in rows.iter_mut().zip(outcomes) {
                row.outcomes.push(outcome);
            }
        }
        Ok(BehaviourTable {
            title: sheet.title.into(),
            columns: sheet.columns.iter().map(Column::title).collect(),
            rows,
        })
    }

    fn column(&mut self, column: &Column, checks: &[&'static Check]) -> io::Result<Vec<Outcome>> {
        let title = column.title();
        let stock = Stock::open(self.toolbox, column, checks.len())?;
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut used: Option<Arc<Subject>> = None;
        let mut broken: Option<String> = None;
        for check in checks {
            (self.progress)(self.done, self.total, &format!("{title}: {}", check.name));
            self.done += 1;
            // It answered the check before as promised, and then it ended.
            if let Some(how) = used.as_ref().and_then(|subject| subject.ended()) {
                if let Some(outcome) = outcomes.last_mut() {
                    *outcome = Outcome::Dies { how };
                }
                used = None;
            }
            let subject = match (used.take(), &broken) {
                (_, Some(why)) => Err(why.clone()),
                (Some(subject), None) => Ok(subject),
                (None, None) => stock
                    .take()
                    .map_err(|error| format!("it does not start: {error}")),
            };
            let outcome = match subject {
                Err(why) => {
                    broken = Some(why.clone());
                    Outcome::Skipped { why }
                }
                Ok(subject) => {
                    let outcome = cell::run(check, &subject);
                    // What has failed once may be in any state.
                    if outcome == Outcome::Pass && !check.spoils {
                        used = Some(subject);
                    } else {
                        subject.end();
                    }
                    outcome
                }
            };
            outcomes.push(outcome);
        }
        if let Some(subject) = used {
            subject.end();
        }
        self.leftover.extend(stock.close());
        Ok(outcomes)
    }
}
