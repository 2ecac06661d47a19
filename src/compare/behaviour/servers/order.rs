//! Which messages a subscriber gets, in which order, with which times.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::chat::client::Message;
use crate::compare::behaviour::case::{Case, all_of, words};
use crate::compare::behaviour::check::Check;
use crate::compare::behaviour::trouble::{Seen, Trouble};
use crate::fanout::clock::Timestamp;

pub const CHECKS: &[Check] = &[
    Check::new(
        "order",
        "Four senders at a time, three readers: all get everything, in the same order.",
        "all messages, in one order",
        order,
    ),
    Check::new(
        "rising-times",
        "Four senders at a time: no sendTime repeats or falls.",
        "strictly rising",
        rising_times,
    ),
    Check::new(
        "answer-time",
        "The sendTime in the answer is the one in the stream, to the nanosecond.",
        "the same time",
        answer_time,
    ),
    Check::new(
        "time-now",
        "A sendTime is the wall clock's time.",
        "within a minute",
        time_now,
    ),
    Check::new(
        "no-history",
        "A reader that comes later gets nothing from before.",
        "nothing",
        no_history,
    ),
    Check::new(
        "late-joiner",
        "A reader that comes while messages are sent misses none from its first on.",
        "no gap",
        late_joiner,
    ),
    Check::new(
        "own-messages",
        "Who reads and sends on one connection gets its own messages, too.",
        "its own messages",
        own_messages,
    ),
    Check::new(
        "one-connection",
        "Ten readers on one connection all get a message.",
        "all of them",
        one_connection,
    ),
    Check::new(
        "pause",
        "A reader that does nothing while 500 messages are sent gets them afterwards.",
        "all of them",
        pause,
    ),
];

fn order(case: &Case) -> Seen {
    let mut readers = case.readers(3)?;
    let sent = case.tell_concurrently(4, 25)?;
    let got = case.chat()?.read_up(&mut readers)?;
    let mut sent = words(&sent);
    let orders: Vec<_> = got.iter().map(|got| words(got)).collect();
    let mut sorted = orders[0].clone();
    sorted.sort_unstable();
    sent.sort_unstable();
    Ok(if orders.iter().any(|order| *order != orders[0]) {
        "readers that see different things"
    } else if sorted != sent {
        "other messages than were sent"
    } else {
        "all messages, in one order"
    }
    .into())
}

fn rising_times(case: &Case) -> Seen {
    let mut readers = case.readers(1)?;
    case.tell_concurrently(4, 50)?;
    let got = case.chat()?.read_up(&mut readers)?.concat();
    let rising = |pair: &[Message]| pair[0].send_time < pair[1].send_time;
    let rising = got.windows(2).all(rising);
    Ok(if rising {
        "strictly rising"
    } else {
        "repeats or falls"
    }
    .into())
}

fn answer_time(case: &Case) -> Seen {
    let chat = case.chat()?;
    let mut readers = case.readers(1)?;
    let mut sent = Vec::new();
    for number in 0..20 {
        sent.push(chat.send("a", &number.to_string())?);
    }
    let got = chat.read_up(&mut readers)?.concat();
    Ok(if got == sent {
        "the same time"
    } else {
        "another time"
    }
    .into())
}

fn time_now(case: &Case) -> Seen {
    let sent = case.tell("a", "b")?;
    let off = Timestamp::now().nanos().abs_diff(sent.send_time.nanos());
    let near = off < 60_000_000_000;
    Ok(if near {
        "within a minute"
    } else {
        "further off"
    }
    .into())
}

fn no_history(case: &Case) -> Seen {
    for number in 0..3 {
        case.tell("before", &number.to_string())?;
    }
    let readers = case.readers(1)?;
    let early = readers.iter().flat_map(|reader| &reader.early);
    let before = early.filter(|message| message.author == "before").count();
    Ok(if before == 0 {
        "nothing"
    } else {
        "old messages"
    }
    .into())
}

fn late_joiner(case: &Case) -> Seen {
    for _ in 0..10 {
        let numbers = join_late(case)?;
        if numbers.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
            return Ok("a gap".into());
        }
    }
    Ok("no gap".into())
}

/// Sends numbers without a pause, subscribes meanwhile, sends some more, and
/// returns what came.
fn join_late(case: &Case) -> Result<Vec<u32>, Trouble> {
    let joined = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<u32, Trouble> {
            let chat = case.chat()?;
            let mut number = 0;
            let mut more = 20;
            while more > 0 {
                chat.send("number", &number.to_string())?;
                number += 1;
                more -= u32::from(joined.load(Ordering::Acquire));
            }
            Ok(number - 1)
        });
        let receive = || {
            let mut reader = case.chat()?.reader()?;
            let first = reader.message();
            // Also after an error, or the sender would go on.
            joined.store(true, Ordering::Release);
            Ok((reader, first?))
        };
        let received: Result<_, Trouble> = receive();
        let last = sender.join();
        let (mut reader, first) = received?;
        let last = last.map_err(|_| Trouble::Said("the check itself has failed".into()))??;
        let mut numbers = Vec::new();
        let mut next = first;
        loop {
            numbers.push(next.text.parse().unwrap_or(u32::MAX));
            if numbers.last() == Some(&last) {
                return Ok(numbers);
            }
            next = reader.message()?;
        }
    })
}

fn own_messages(case: &Case) -> Seen {
    let chat = case.chat()?;
    let mut readers = vec![chat.reader()?];
    // Somebody else's markers.
    case.chat()?.make_live(&mut readers)?;
    chat.send("a", "own")?;
    let got = case.chat()?.read_up(&mut readers)?.concat();
    Ok(if words(&got) == [("a", "own")] {
        "its own messages"
    } else {
        "only those of others"
    }
    .into())
}

fn one_connection(case: &Case) -> Seen {
    let chat = case.chat()?;
    let readers = (0..10).map(|_| chat.reader());
    let mut readers = readers.collect::<Result<Vec<_>, _>>()?;
    for reader in &mut readers {
        // One by one: all at once, one might be live and show it for another.
        chat.make_live(std::slice::from_mut(reader))?;
    }
    chat.send("a", "b")?;
    let got = chat.read_up(&mut readers)?;
    let count = got.iter().filter(|got| words(got).contains(&("a", "b")));
    Ok(all_of(count.count(), 10))
}

fn pause(case: &Case) -> Seen {
    let mut readers = case.readers(1)?;
    let chat = case.chat()?;
    // Together more than flow control lets through to a reader that does not
    // read, and less than a backlog.
    let text = "x".repeat(12 << 10);
    let mut sent = Vec::new();
    for number in 0..500 {
        sent.push(chat.send(&number.to_string(), &text)?);
    }
    let got = chat.read_up(&mut readers)?.concat();
    let kept = sent.iter().filter(|message| got.contains(message));
    Ok(all_of(kept.count(), 500))
}
