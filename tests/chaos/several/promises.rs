//! What several servers on one database promise beside what a chat does: no failover takes
//! anything from what was answered or delivered, and nobody is told that it has.

use std::collections::{HashMap, HashSet};

use crate::chaos::chat::event::{ChatEvent, End};
use crate::chaos::chat::promises;
use crate::chaos::record::History;
use crate::chaos::verdict::{Promise, Violation};

type Chat = History<ChatEvent>;
type Verdict = Result<(), Violation>;

pub fn all() -> Vec<Promise<ChatEvent>> {
    let promise = |name, check| Promise { name, check };
    let mut all = promises::all();
    // The others go on.
    all.retain(|promise| promise.name != "a shutdown tells every stream");
    all.extend([
        promise("what was answered or delivered stays", stays),
        promise("a message is stored once", stored_once),
        promise("a time is given once", time_once),
        promise("nobody is told of a gap", no_gap),
    ]);
    all
}

/// Which node was promoted, and how often.
fn stays(history: &Chat) -> Verdict {
    let stored = history.events().filter_map(|(_, _, event)| match event {
        ChatEvent::Stored { message, .. } => Some(*message),
        _ => None,
    });
    let stored: HashSet<_> = stored.collect();
    let mut asked = HashMap::new();
    for (index, _, event) in history.events() {
        match event {
            ChatEvent::Asked { message } => {
                asked.insert(*message, index);
            }
            ChatEvent::Answered { message, .. }
            | ChatEvent::Again { message, .. }
            | ChatEvent::Delivered { message, .. }
                if !stored.contains(message) =>
            {
                let records = asked.get(message).copied().into_iter().chain([index]);
                let says = format!("message {message} is lost");
                return Err(Violation::new(says, records));
            }
            _ => {}
        }
    }
    Ok(())
}

fn stored_once(history: &Chat) -> Verdict {
    let mut first = HashMap::new();
    for (index, _, event) in history.events() {
        if let ChatEvent::Stored { message, .. } = event
            && let Some(before) = first.insert(*message, index)
        {
            let says = format!("message {message} is stored twice");
            return Err(Violation::new(says, [before, index]));
        }
    }
    Ok(())
}

/// In an answer or in the table: streams are held against these.
fn time_once(history: &Chat) -> Verdict {
    let mut first = HashMap::new();
    for (index, _, event) in history.events() {
        let (ChatEvent::Answered { message, time } | ChatEvent::Stored { message, time }) = event
        else {
            continue;
        };
        let (other, before) = *first.entry(*time).or_insert((*message, index));
        if other != *message {
            let says = format!("{time} is the time of {other} and of {message}");
            return Err(Violation::new(says, [before, index]));
        }
    }
    Ok(())
}

/// A standby that is promoted has all that anybody was sent.
fn no_gap(history: &Chat) -> Verdict {
    for (index, _, event) in history.events() {
        let is_gap = match event {
            ChatEvent::Gap { .. } => true,
            ChatEvent::Ended {
                end: End::Lost(status),
                ..
            } => status.contains("does not follow what was sent"),
            _ => false,
        };
        if is_gap {
            let says = "a stream cannot go on, though nothing is lost";
            return Err(Violation::new(says, [index]));
        }
    }
    Ok(())
}
