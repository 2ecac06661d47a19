//! What a bridge promises, held against a history.

use std::collections::HashMap;

use super::BRIDGES;
use super::clients::{bridge_of, is_tail};
use super::event::BridgeEvent;
use super::lives::{Bridge, Flush, Lives, Place, SECOND, SLACK, Window, chat_of};
use crate::chaos::chat::promises as chat;
use crate::chaos::schedule::Fault;
use crate::chaos::verdict::{Promise, Violation, judge};

type Verdict = Result<(), Violation>;

pub fn all() -> Vec<Promise<BridgeEvent>> {
    let promise = |name, check| Promise { name, check };
    vec![
        promise("the server keeps the promises of the chat", chat_is_sound),
        promise("a flush has what was sent, with its time", as_sent),
        promise("no message is lost untold", nothing_lost),
        promise("no more is told as dropped than is missing", nothing_added),
        promise("a message comes in one flush", once),
        promise("flushes have the server's order", in_order),
        promise("a flush has what its bridge sent before", own_writes),
        promise("a flush says whether its bridge is subscribed", subscribed),
        promise("a gap is told once, in a flush", gaps_are_told),
        promise("after the faults all comes", reaches_the_end),
    ]
}

/// A flush that waits for an own message gives up after 500 ms.
const OWN_MESSAGE_WAIT: u64 = 450_000_000;

fn chat_is_sound(history: &Bridge) -> Verdict {
    let (chat, indices) = chat_of(history);
    match judge(&chat, &chat::all()).into_iter().next() {
        None => Ok(()),
        Some((name, Violation { says, records })) => Err(Violation::new(
            format!("{name}: {says}"),
            records.into_iter().map(|record| indices[record]),
        )),
    }
}

fn as_sent(history: &Bridge) -> Verdict {
    let it = Lives::new(history);
    let mut times = HashMap::new();
    for life in &it.lives {
        for flush in life.flushes.iter().chain(&life.doubtful) {
            for (message, time, index) in &flush.has {
                let asked = it.sent.get(message).map(|sent| sent.0);
                let place = it.places.get(message).map(|place| place.1);
                let (other, shown) = *times.entry(*message).or_insert((*time, *index));
                let says = if asked.is_none_or(|asked| asked > flush.ended) {
                    "was not sent before"
                } else if it.refused.contains(message) {
                    "was refused"
                } else if place.is_some_and(|place| place != *time) || other != *time {
                    "has two times"
                } else {
                    continue;
                };
                let says = format!("message {message} {says}");
                let mut violation = it.violation(life, says, &[*message], &[flush]);
                violation.records.extend([*index, shown]);
                return Err(violation);
            }
        }
    }
    Ok(())
}

fn nothing_lost(history: &Bridge) -> Verdict {
    let it = Lives::new(history);
    for life in &it.lives {
        for (number, mut gap) in it.gaps(life) {
            let flush = &life.flushes[number];
            let (dropped, _) = flush.took().unwrap_or_default();
            let dropped = usize::try_from(dropped).expect("a number");
            if gap.untold.len() > dropped {
                let says = format!("{} messages are missing before these", gap.untold.len());
                gap.untold.truncate(dropped + 1);
                gap.untold.append(&mut gap.around);
                return Err(it.violation(life, says, &gap.untold, &[flush]));
            }
        }
    }
    Ok(())
}

fn nothing_added(history: &Bridge) -> Verdict {
    let it = Lives::new(history);
    for life in &it.lives {
        let gaps = it.gaps(life);
        for (number, flush) in life.flushes.iter().enumerate() {
            let (dropped, _) = flush.took().unwrap_or_default();
            let missing = gaps.get(&number).map_or(0, |gap| gap.missing);
            // Put back behind the flush that they are missing from, and dropped then.
            let older = gaps
                .iter()
                .filter(|(it, _)| life.flushes[**it].ended < flush.ended);
            let missing = missing + older.map(|(_, gap)| gap.may_return).sum::<usize>();
            let unplaced = it.unplaced.iter().filter(|asked| **asked < flush.ended);
            let missing = (missing + unplaced.count()) as u64;
            let is_placed = |(message, ..): &(u64, i64, usize)| it.places.contains_key(message);
            if dropped > missing && (flush.has.is_empty() || flush.has.iter().any(is_placed)) {
                let says = format!("{dropped} are told as dropped, {missing} are missing");
                let first = flush.has.first().map(|(message, ..)| *message);
                let first: Vec<_> = first.into_iter().collect();
                return Err(it.violation(life, says, &first, &[flush]));
            }
        }
    }
    Ok(())
}

fn once(history: &Bridge) -> Verdict {
    let it = Lives::new(history);
    for life in &it.lives {
        let mut first: HashMap<u64, &Flush> = HashMap::new();
        for flush in &life.flushes {
            for (message, ..) in &flush.has {
                let Some(other) = first.insert(*message, flush) else {
                    continue;
                };
                // When it is unknown whether an answer arrived, it is put back.
                if !flush.is_suspect && !other.is_suspect {
                    let says = format!("message {message} comes twice");
                    let mut records = vec![flush, other];
                    records.dedup_by_key(|flush| flush.asked);
                    return Err(it.violation(life, says, &[*message], &records));
                }
            }
        }
    }
    Ok(())
}

fn in_order(history: &Bridge) -> Verdict {
    let it = Lives::new(history);
    for life in &it.lives {
        let places = |flush: &Flush| -> Vec<(Place, u64)> {
            let placed = flush.has.iter().filter_map(|(message, ..)| {
                let place = it.places.get(message)?;
                Some((*place, *message))
            });
            placed.collect()
        };
        let mut by_end: Vec<_> = life.flushes.iter().collect();
        by_end.sort_by_key(|flush| flush.ended);
        let mut by_start = by_end.clone();
        by_start.sort_by_key(|flush| flush.asked);
        let mut ended = by_end.into_iter().peekable();
        // The last message of all flushes that are over.
        let mut last: Option<((Place, u64), &Flush)> = None;
        for flush in by_start {
            while let Some(over) = ended.next_if(|over| over.ended < flush.asked) {
                let newest = places(over).into_iter().max();
                if newest > last.map(|it| it.0) {
                    last = newest.map(|newest| (newest, over));
                }
            }
            let own = places(flush);
            if let Some(pair) = own.windows(2).find(|pair| pair[0] > pair[1]) {
                let (one, two) = (pair[0].1, pair[1].1);
                let says = format!("message {two} comes after {one}");
                return Err(it.violation(life, says, &[one, two], &[]));
            }
            let Some(((place, before), over)) = last else {
                continue;
            };
            let overtaken = own.into_iter().find(|(own, message)| {
                let asked = it.sent.get(message).map_or(0, |sent| sent.0);
                *own < place && !life.may_be_put_back(asked, over.ended)
            });
            if let Some((_, message)) = overtaken {
                let says = format!("message {message} comes in a flush after that of {before}");
                return Err(it.violation(life, says, &[before, message], &[]));
            }
        }
    }
    Ok(())
}

fn own_writes(history: &Bridge) -> Verdict {
    let it = Lives::new(history);
    for message in it.answered.keys() {
        let (asked, ended) = it.sent[message];
        let life = it.lives.iter().find(|life| {
            Some(life.bridge) == bridge_of(*message) && life.span.0 <= asked && ended <= life.span.1
        });
        let (Some(life), Some(place)) = (life, it.places.get(message)) else {
            continue;
        };
        let after = life.flushes.iter().filter(|flush| flush.asked >= ended);
        let Some(next) = after.min_by_key(|flush| flush.asked) else {
            continue;
        };
        let has = |flush: &Flush| flush.has.iter().any(|(of, ..)| of == message);
        let flushes = life.flushes.iter().chain(&life.doubtful);
        let mut with = flushes.filter(|flush| flush.over > asked && flush.asked < next.ended);
        let is_excused = with.any(|flush| {
            let told = flush
                .took()
                .map(|(dropped, subscribed)| dropped > 0 || !subscribed);
            has(flush) || told.unwrap_or(true) || flush.lasted() >= OWN_MESSAGE_WAIT
        });
        if !is_excused && !it.is_told(life, *place, *message) {
            let says = format!("message {message} is not in the flush after it");
            return Err(it.violation(life, says, &[*message], &[next]));
        }
    }
    Ok(())
}

fn subscribed(history: &Bridge) -> Verdict {
    let it = Lives::new(history);
    for life in &it.lives {
        for flush in &life.flushes {
            let Some((_, says)) = flush.took() else {
                continue;
            };
            let mut without = life.without.iter();
            let wrong = match says {
                // Long around, since the log's line may come late.
                false => !without.any(|(from, until)| {
                    *from <= flush.ended + SECOND && flush.asked <= until.saturating_add(SECOND)
                }),
                true => without.any(|(from, until)| {
                    let paused = it.faults.iter().any(|(fault, begun, ended)| {
                        matches!(fault, Fault::Pause { program } if program == BRIDGES[life.bridge])
                            && *begun <= *until
                            && flush.asked <= *ended
                    });
                    let live = (*until).min(life.span.1);
                    from + SLACK < flush.asked && flush.ended + SECOND < live && !paused
                }),
            };
            if wrong {
                let says = format!("subscribed: {says}, but its log says otherwise");
                let mut violation = it.violation(life, says, &[], &[flush]);
                violation.records.extend(&life.log);
                return Err(violation);
            }
        }
    }
    Ok(())
}

fn gaps_are_told(history: &Bridge) -> Verdict {
    let it = Lives::new(history);
    for life in &it.lives {
        let knows = |flush: &&Flush| flush.took().is_some() && !flush.is_suspect;
        // The log's line may come late, and a little early.
        let after = |flush: &&Flush, window: &Window| flush.ended + SECOND > window.until;
        for window in &life.windows {
            let mut tell = life.flushes.iter().chain(&life.doubtful);
            let may_be_told = tell.any(|it| after(&it, window) && (it.gap || !knows(&it)));
            let next = life
                .flushes
                .iter()
                .find(|it| knows(it) && it.asked > window.until);
            if let (false, Some(flush)) = (may_be_told, next) {
                let says = "its log tells of a gap, but no flush does".into();
                let mut violation = it.violation(life, says, &[], &[flush]);
                violation.records.extend(&life.log);
                return Err(violation);
            }
        }
        let mut told: Vec<_> = life
            .flushes
            .iter()
            .filter(|it| it.gap && knows(it))
            .collect();
        told.sort_by_key(|flush| flush.ended);
        let early = told.iter().enumerate().find(|(number, flush)| {
            let windows = life.windows.iter();
            windows
                .filter(|window| window.until < flush.ended + SECOND)
                .count()
                <= *number
        });
        if let Some((_, flush)) = early {
            let says = "its flushes tell of more gaps than its log".into();
            let mut violation = it.violation(life, says, &[], &told);
            violation.records.extend(&flush.records);
            violation.records.extend(&life.log);
            return Err(violation);
        }
    }
    Ok(())
}

fn reaches_the_end(history: &Bridge) -> Verdict {
    let it = Lives::new(history);
    for (index, _, event) in history.events() {
        let BridgeEvent::Over { bridge } = event else {
            continue;
        };
        let mut lives = it.lives.iter().filter(|life| life.bridge == *bridge);
        let mut flushes = lives.clone().flat_map(|life| &life.flushes);
        if !flushes.any(|flush| flush.has.iter().any(|(message, ..)| is_tail(*message))) {
            let last = lives.next_back().and_then(|life| life.flushes.last());
            let mut records = vec![index];
            records.extend(last.into_iter().flat_map(|flush| &flush.records));
            let says = format!("{} has nothing from then", BRIDGES[*bridge]);
            return Err(Violation::new(says, records));
        }
    }
    Ok(())
}
