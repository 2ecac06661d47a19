//! Bodies of tasks in the queue, whoever has put them there.

use std::collections::HashSet;

use messenger::jobs::desk::messages;
use messenger::jobs::task::{MAX_BYTES, MAX_MESSAGE_BYTES, MAX_TASKS, escape, parts};

use super::driver::{Target, one_by_one, plain};

pub const TARGET: Target = Target {
    name: "task-bodies",
    start: || one_by_one(judge),
    words: ",|\\,|\\| ,|fact:|fact:-1|fact: 6|freq:|user42|New Task!|\u{a0}|\u{2003}\
         |9223372036854775807|9223372036854775808|\0|é",
    longest: 2100,
    together: 1,
};

fn judge(input: &[u8]) -> String {
    let found = parts("m", input);
    assert!((1..=MAX_TASKS).contains(&found.len()));
    assert!(input.len() <= MAX_MESSAGE_BYTES);
    let ids: HashSet<_> = found.iter().map(|part| &part.id).collect();
    assert_eq!(ids.len(), found.len(), "ids of their own");
    for part in &found {
        assert!(part.text.len() <= MAX_BYTES && !part.text.is_empty() || found.len() == 1);
        if let Err(error) = &part.task {
            assert!(error.message.len() > 10, "{error}");
        }
        // As a dead letter it is a message of its own.
        if found.len() > 1 {
            assert_eq!(
                parts(&part.id, &escape(&part.text)),
                std::slice::from_ref(part)
            );
        }
    }
    // What people type becomes the same tasks, a message each.
    if let (Ok(sent), Ok(_)) = (messages(input), std::str::from_utf8(input)) {
        let bodies = sent.iter().flat_map(|task| parts(&task.id, &task.body));
        let bodies: Vec<_> = bodies.map(|part| part.task).collect();
        let tasks: Vec<_> = found.iter().map(|part| part.task.clone()).collect();
        assert_eq!(bodies, tasks);
    }
    outcome(&found)
}

fn outcome(found: &[messenger::jobs::task::Part]) -> String {
    let mut kinds = found.iter().take(3).map(|part| match &part.task {
        Ok(task) => format!("{task:?}")
            .split('(')
            .next()
            .unwrap_or_default()
            .to_owned(),
        Err(error) => plain(&error.message),
    });
    let kinds = [kinds.next(), kinds.next(), kinds.next()];
    kinds.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
