//! What a check found, in words.

use super::{BehaviourTable, CheckRow, Outcome};

/// Columns that gave the same answer to a check, and it is not a pass.
pub struct Answer<'a> {
    pub columns: Vec<&'a str>,
    pub outcome: &'a Outcome,
}

/// The one word for a cell of the matrix.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Differs { .. } => "differs",
        Outcome::Hangs { .. } => "hangs",
        Outcome::Dies { .. } => "dies",
        Outcome::Skipped { .. } => "skipped",
    }
}

/// What should have come; none of a check that was not tried.
pub fn expected<'a>(row: &'a CheckRow, outcome: &'a Outcome) -> Option<&'a str> {
    match outcome {
        Outcome::Pass | Outcome::Skipped { .. } => None,
        Outcome::Differs { expected, .. } => Some(expected),
        Outcome::Hangs { .. } | Outcome::Dies { .. } => Some(&row.expected),
    }
}

/// What came instead.
pub fn got(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pass => "what was expected".into(),
        Outcome::Differs { got, .. } => got.clone(),
        Outcome::Hangs { seconds } => format!("nothing within {seconds} s"),
        Outcome::Dies { how } => format!("the process ended: {how}"),
        Outcome::Skipped { why } => why.clone(),
    }
}

/// The answers that are not a pass, equal ones together, in column order.
pub fn answers<'a>(table: &'a BehaviourTable, row: &'a CheckRow) -> Vec<Answer<'a>> {
    let mut found: Vec<Answer> = Vec::new();
    for (column, outcome) in table.columns.iter().zip(&row.outcomes) {
        if *outcome == Outcome::Pass {
            continue;
        }
        match found.iter_mut().find(|answer| answer.outcome == outcome) {
            Some(answer) => answer.columns.push(column),
            None => found.push(Answer {
                columns: vec![column],
                outcome,
            }),
        }
    }
    found
}
