//! What the message log promises, held against a history. What single answers say,
//! and whether they agree, is judged by the checks that `messenger history load` makes.

use std::collections::{BTreeMap, HashMap};

use messenger::history::client::Message;
use messenger::history::load::check::Book;
use messenger::history::wire;

use super::clients::{row, text};
use super::event::{HistoryEvent, Place, Row};
use crate::chaos::record::History;
use crate::chaos::verdict::{Promise, Violation};

type Log = History<HistoryEvent>;
type Verdict = Result<(), Violation>;

pub fn all() -> Vec<Promise<HistoryEvent>> {
    let promise = |name, check| Promise { name, check };
    vec![
        promise("an answer shows the ten before it", shows_ten),
        promise("a number is given once", given_once),
        promise("all answers agree", answers_agree),
        promise("dates never fall", dates_never_fall),
        promise("counts are exact", counts_are_exact),
        promise("numbers have no hole", no_hole),
        promise("what is seen is what is stored", seen_is_stored),
        promise("a message is stored at most once", stored_once),
        promise(
            "sent again with its key is stored once",
            sent_again_is_stored_once,
        ),
        promise("only what was sent is stored", only_what_was_sent),
        promise("a refused message is stored never", refused_never),
        promise(
            "answered before asked has the smaller number",
            answered_before,
        ),
        promise(
            "followers get each number once, in order",
            followed_in_order,
        ),
        promise("followers get the last message", last_is_followed),
        promise("pages are parts of the log", pages_are_parts),
        promise("what was answered before is read", answered_is_read),
    ]
}

#[derive(Default)]
struct Sent<'a> {
    asked: usize,
    sender: &'a str,
    /// Number and body.
    answered: Option<(usize, i64, &'a str)>,
    /// The other answers, when it was sent again.
    answered_again: Vec<(usize, i64, &'a str)>,
    again: Option<usize>,
    /// Its key is said to be another message's.
    taken: Option<usize>,
    refused: Option<usize>,
}

struct Stream<'a> {
    follows: usize,
    after: i64,
    rows: Vec<(usize, &'a Row)>,
    left: Option<usize>,
}

struct Page<'a> {
    reads: usize,
    from: Place,
    read: Option<(usize, &'a [Row])>,
}

#[derive(Default)]
struct View<'a> {
    sent: BTreeMap<u64, Sent<'a>>,
    streams: BTreeMap<u64, Stream<'a>>,
    pages: BTreeMap<u64, Page<'a>>,
    table: BTreeMap<i64, (usize, &'a Row)>,
    last: Option<(usize, i64)>,
}

impl<'a> View<'a> {
    fn new(history: &'a Log) -> Self {
        let mut view = Self::default();
        for (index, _, event) in history.events() {
            view.add(index, event);
        }
        view
    }

    fn add(&mut self, index: usize, event: &'a HistoryEvent) {
        match event {
            HistoryEvent::Asked { message, sender } => {
                let sent = self.sent.entry(*message).or_default();
                (sent.asked, sent.sender) = (index, sender);
            }
            HistoryEvent::Answered {
                message,
                number,
                body,
            } => {
                if let Some(sent) = self.sent.get_mut(message) {
                    match sent.answered {
                        None => sent.answered = Some((index, *number, body)),
                        Some(_) => sent.answered_again.push((index, *number, body)),
                    }
                }
            }
            HistoryEvent::Refused { message, status } => {
                if let Some(sent) = self.sent.get_mut(message) {
                    sent.refused = Some(index);
                    sent.taken = Some(index).filter(|_| status.starts_with("422"));
                }
            }
            HistoryEvent::Again { message } => {
                if let Some(sent) = self.sent.get_mut(message) {
                    sent.again = Some(index);
                }
            }
            HistoryEvent::Unknown { .. } | HistoryEvent::Ended { .. } => {}
            HistoryEvent::Reads { page, from } => {
                let asked = Page {
                    reads: index,
                    from: *from,
                    read: None,
                };
                self.pages.insert(*page, asked);
            }
            HistoryEvent::Read { page, rows } => {
                if let Some(page) = self.pages.get_mut(page) {
                    page.read = Some((index, rows));
                }
            }
            HistoryEvent::Follows { stream, after } => {
                let follows = Stream {
                    follows: index,
                    after: *after,
                    rows: Vec::new(),
                    left: None,
                };
                self.streams.insert(*stream, follows);
            }
            HistoryEvent::Followed { stream, row } => {
                if let Some(stream) = self.streams.get_mut(stream) {
                    stream.rows.push((index, row));
                }
            }
            HistoryEvent::Left { stream } => {
                if let Some(stream) = self.streams.get_mut(stream) {
                    stream.left = Some(index);
                }
            }
            HistoryEvent::Last { number } => self.last = Some((index, *number)),
            HistoryEvent::Stored { row } => {
                self.table.insert(row.number, (index, row));
            }
        }
    }

    /// The pages that came, with the record before and of each.
    fn read(&self) -> impl Iterator<Item = (&Page<'a>, [usize; 2], &'a [Row])> {
        let pages = self.pages.values();
        pages.filter_map(|page| {
            let (read, rows) = page.read?;
            Some((page, [page.reads, read], rows))
        })
    }

    /// The highest number that was answered before each record.
    fn answered(&self) -> Vec<(usize, i64, [usize; 2])> {
        let answers = self.sent.values().filter_map(|sent| {
            let (index, number, _) = sent.answered?;
            Some((index, number, [sent.asked, index]))
        });
        let mut answers: Vec<_> = answers.collect();
        answers.sort_unstable();
        for at in 1..answers.len() {
            if answers[at].1 < answers[at - 1].1 {
                (answers[at].1, answers[at].2) = (answers[at - 1].1, answers[at - 1].2);
            }
        }
        answers
    }
}

/// An answer, or a part of the table that is given out as one.
struct Shown {
    sender: String,
    text: String,
    body: String,
    records: Vec<usize>,
}

fn answers(view: &View) -> Vec<Shown> {
    let answers = view.sent.iter().filter_map(|(message, sent)| {
        let (index, _, body) = sent.answered?;
        Some(Shown {
            sender: sent.sender.to_owned(),
            text: text(*message),
            body: body.to_owned(),
            records: vec![sent.asked, index],
        })
    });
    answers.collect()
}

/// Ten rows each, the last of them again the first of the next ten.
fn tens(view: &View) -> Vec<Shown> {
    let rows: Vec<_> = view.table.values().collect();
    let starts = (0..rows.len()).step_by(9);
    let tens = starts.map(|start| {
        let rows = &rows[start..rows.len().min(start + 10)];
        let message = |row: &Row| Message {
            sender: row.sender.clone(),
            text: text(row.message),
            sent_at: row.at,
            number: row.number,
            sender_count: row.count,
        };
        let shown: Vec<_> = rows
            .iter()
            .map(|(_, row)| wire::message(&message(row)))
            .collect();
        let last = rows[rows.len() - 1].1;
        Shown {
            sender: last.sender.clone(),
            text: text(last.message),
            body: wire::array(shown.iter().map(String::as_str)),
            records: rows.iter().map(|(index, _)| *index).collect(),
        }
    });
    tens.collect()
}

/// The first violation of these answers that is told with one of these words.
fn found(shown: &[&Shown], words: &[&str]) -> Option<String> {
    let mut book = Book::default();
    for Shown {
        sender, text, body, ..
    } in shown
    {
        book.answer(sender, text, body.as_bytes());
    }
    let mut lines = book.close().kept.into_iter();
    lines.find(|line| words.iter().any(|words| line.contains(words)))
}

/// Looks for a violation, and then for the fewest answers that show it.
fn booked(shown: &[Shown], words: &[&str]) -> Verdict {
    let mut shown: Vec<&Shown> = shown.iter().collect();
    if found(&shown, words).is_none() {
        return Ok(());
    }
    let mut size = shown.len();
    while size > 0 {
        let mut at = 0;
        while at < shown.len() {
            let end = shown.len().min(at + size);
            let rest = [&shown[..at], &shown[end..]].concat();
            match found(&rest, words) {
                Some(_) => shown = rest,
                None => at = end,
            }
        }
        size /= 2;
    }
    let says = found(&shown, words).unwrap_or_default();
    let records = shown.iter().flat_map(|it| it.records.clone());
    Err(Violation::new(says, records))
}

fn shows_ten(history: &Log) -> Verdict {
    let words = ["ends with", "is empty", "is no list", "has the numbers"];
    booked(&answers(&View::new(history)), &words)
}

fn given_once(history: &Log) -> Verdict {
    booked(&answers(&View::new(history)), &["was given to two"])
}

fn answers_agree(history: &Log) -> Verdict {
    booked(&answers(&View::new(history)), &["is two messages"])
}

fn dates_never_fall(history: &Log) -> Verdict {
    let view = View::new(history);
    booked(&answers(&view), &["sentAt"])?;
    booked(&tens(&view), &["sentAt"])
}

fn counts_are_exact(history: &Log) -> Verdict {
    let view = View::new(history);
    booked(&answers(&view), &["senderCount"])?;
    booked(&tens(&view), &["senderCount"])
}

fn no_hole(history: &Log) -> Verdict {
    let view = View::new(history);
    let rows: Vec<_> = view.table.iter().collect();
    for pair in rows.windows(2) {
        if pair[0].0 + 1 != *pair[1].0 {
            let says = format!("after {} comes {}", pair[0].0, pair[1].0);
            return Err(Violation::new(says, pair.iter().map(|(_, (at, _))| *at)));
        }
    }
    match (view.last, rows.first()) {
        (Some((last, _)), Some((number, (at, _)))) if **number != 1 => {
            Err(Violation::new("the first is not 1", [last, *at]))
        }
        _ => Ok(()),
    }
}

fn seen_is_stored(history: &Log) -> Verdict {
    let view = View::new(history);
    if view.table.is_empty() {
        return Ok(());
    }
    let differs = |seen: &Row, records: &[usize]| {
        let stored = view.table.get(&seen.number);
        if stored.is_some_and(|(_, row)| *row == seen) {
            return Ok(());
        }
        let says = format!("the table has another number {}, or none", seen.number);
        // Without it, its neighbours show that there is a table.
        let near = view.table.range(..=seen.number).next_back();
        let near = near.or_else(|| view.table.iter().next()).map(|it| it.1.0);
        let stored = stored.map(|(at, _)| *at).or(near);
        Err(Violation::new(says, records.iter().copied().chain(stored)))
    };
    for sent in view.sent.values() {
        if let Some((index, _, body)) = sent.answered {
            for shown in wire::parse_messages(body).expect("messages") {
                differs(&row(shown), &[sent.asked, index])?;
            }
        }
    }
    for (_, records, rows) in view.read() {
        for row in rows {
            differs(row, &records)?;
        }
    }
    for stream in view.streams.values() {
        for (index, row) in &stream.rows {
            differs(row, &[stream.follows, *index])?;
        }
    }
    Ok(())
}

fn stored_once(history: &Log) -> Verdict {
    let view = View::new(history);
    let mut stored = HashMap::new();
    for (index, row) in view.table.values() {
        if let Some(other) = stored.insert(row.message, index) {
            let says = format!("{} is stored twice", row.message);
            return Err(Violation::new(says, [*other, *index]));
        }
    }
    Ok(())
}

fn sent_again_is_stored_once(history: &Log) -> Verdict {
    let view = View::new(history);
    for (message, sent) in &view.sent {
        if let Some((first, number, body)) = sent.answered {
            for (index, other, again) in &sent.answered_again {
                if (number, body) != (*other, *again) {
                    let says = format!("{message} is answered with {number}, then with {other}");
                    return Err(Violation::new(says, [sent.asked, first, *index]));
                }
            }
        }
        if let (Some(again), Some(refused)) = (sent.again, sent.taken) {
            let says = format!("{message} is refused when it is sent again");
            return Err(Violation::new(says, [sent.asked, again, refused]));
        }
    }
    Ok(())
}

fn only_what_was_sent(history: &Log) -> Verdict {
    let view = View::new(history);
    let streams = view.streams.values().flat_map(|it| &it.rows);
    for (index, row) in view.table.values().chain(streams) {
        let sent = view.sent.get(&row.message);
        if sent.is_none_or(|sent| sent.asked > *index || sent.sender != row.sender) {
            let says = format!("nobody had sent {}", row.message);
            let asked = sent.map(|sent| sent.asked);
            return Err(Violation::new(says, asked.into_iter().chain([*index])));
        }
    }
    Ok(())
}

fn refused_never(history: &Log) -> Verdict {
    let view = View::new(history);
    let rows = view.table.values();
    for (index, row) in rows.chain(view.streams.values().flat_map(|it| &it.rows)) {
        if let Some(sent) = view.sent.get(&row.message)
            && let Some(refused) = sent.refused
        {
            let says = format!("{} was refused", row.message);
            return Err(Violation::new(says, [sent.asked, refused, *index]));
        }
    }
    Ok(())
}

fn answered_before(history: &Log) -> Verdict {
    let view = View::new(history);
    let answered = view.answered();
    let rows: HashMap<u64, (i64, usize)> = view
        .table
        .values()
        .map(|(index, row)| (row.message, (row.number, *index)))
        .collect();
    for (message, sent) in &view.sent {
        let own = sent.answered.map(|(index, number, _)| (number, index));
        let Some((number, shown)) = own.or_else(|| rows.get(message).copied()) else {
            continue;
        };
        let before = answered.partition_point(|(index, ..)| *index < sent.asked);
        if let Some((_, highest, others)) = answered[..before].last()
            && *highest >= number
        {
            let says = format!("{message} was sent after the answer with {highest}");
            let records = [sent.asked, shown].into_iter().chain(*others);
            return Err(Violation::new(says, records));
        }
    }
    Ok(())
}

fn followed_in_order(history: &Log) -> Verdict {
    for stream in View::new(history).streams.values() {
        let (mut before, mut shown) = (stream.after, stream.follows);
        for (index, row) in &stream.rows {
            if row.number != before + 1 {
                let says = format!("after {before} comes {}", row.number);
                let records = [stream.follows, shown, *index];
                // In the history of these records alone, the stream begins there.
                return Err(Violation::new(says, records));
            }
            (before, shown) = (row.number, *index);
        }
    }
    Ok(())
}

fn last_is_followed(history: &Log) -> Verdict {
    let view = View::new(history);
    let Some((noted, number)) = view.last else {
        return Ok(());
    };
    for stream in view.streams.values() {
        let left = stream.left.filter(|left| *left > noted);
        let read = stream
            .rows
            .last()
            .map_or(stream.after, |(_, row)| row.number);
        if let Some(left) = left
            && read < number
        {
            let mut records = vec![stream.follows, noted, left];
            records.extend(stream.rows.last().map(|(index, _)| *index));
            return Err(Violation::new(format!("{number} has not come"), records));
        }
    }
    Ok(())
}

fn pages_are_parts(history: &Log) -> Verdict {
    for (page, records, rows) in View::new(history).read() {
        let whole = rows.windows(2).all(|it| it[0].number + 1 == it[1].number);
        let fits = match (page.from, rows.first(), rows.last()) {
            (Place::After(number), Some(first), _) => first.number == number + 1,
            (Place::Before(number), _, Some(last)) => last.number == number - 1,
            _ => true,
        };
        if !(whole && fits) {
            return Err(Violation::new("a page has a hole", records));
        }
    }
    Ok(())
}

fn answered_is_read(history: &Log) -> Verdict {
    let view = View::new(history);
    let answered = view.answered();
    for (page, records, rows) in view.read() {
        let before = answered.partition_point(|(index, ..)| *index < page.reads);
        let Some((_, highest, shown)) = answered[..before].last() else {
            continue;
        };
        let is_missing = match (page.from, rows.last()) {
            (Place::Newest, last) => last.is_none_or(|last| last.number < *highest),
            (Place::After(number), None) => number < *highest,
            _ => false,
        };
        if is_missing {
            let says = format!("{highest} was answered before");
            return Err(Violation::new(says, records.into_iter().chain(*shown)));
        }
    }
    Ok(())
}
