//! What the chat promises, held against a history. Its order can be seen: times are
//! unique and rise, so that to sort and to scan is all there is to judging.

use std::collections::{BTreeMap, HashMap};

use super::event::{ChatEvent, End};
use super::{SERVER, keys};
use crate::chaos::record::{History, Note};
use crate::chaos::run::World as _;
use crate::chaos::schedule::Fault;
use crate::chaos::several::Several;
use crate::chaos::verdict::{Promise, Violation};

type Chat = History<ChatEvent>;
type Verdict = Result<(), Violation>;

pub fn all() -> Vec<Promise<ChatEvent>> {
    let promise = |name, check| Promise { name, check };
    vec![
        promise("times rise in each stream", times_rise),
        promise("all streams have one order", one_order),
        promise("no stream has a hole", no_hole),
        promise("a live stream misses nothing", from_registration),
        promise("a stream has all to its end", to_the_end),
        promise("a shutdown tells every stream", shutdown_is_told),
        promise("nothing comes from before a subscription", nothing_before),
        promise(
            "only what was sent comes, and after that",
            only_what_was_sent,
        ),
        promise("a message comes at most once", at_most_once),
        promise("a refused message comes never", refused_never),
        promise("the answer's time is the stream's time", answered_time),
        promise("answered before asked is earlier", answered_before),
        promise("a known key gets its first answer", keys::same_answer),
    ]
}

struct Stream {
    opens: usize,
    direct: bool,
    registered: Option<usize>,
    /// It may be so far behind that a shutdown does not wait for it.
    pauses: bool,
    delivered: Vec<Delivered>,
    end: Option<usize>,
    /// Of the server, if that is sure.
    life: Option<usize>,
}

#[derive(Clone, Copy)]
struct Delivered {
    index: usize,
    message: u64,
    time: i64,
}

#[derive(Default)]
pub struct Sent {
    pub asked: usize,
    /// The end of the call, and the time in the answer.
    pub ended: Option<usize>,
    pub time: Option<i64>,
    life: Option<usize>,
}

/// A history by streams and messages.
pub struct View<'a> {
    history: &'a Chat,
    streams: BTreeMap<u64, Stream>,
    pub sent: HashMap<u64, Sent>,
    /// The one order of each life of the server: the message of each time, and a
    /// record that shows it.
    pub orders: Vec<BTreeMap<i64, (u64, usize)>>,
}

impl<'a> View<'a> {
    pub fn new(history: &'a Chat) -> Self {
        let lives = history.lives(SERVER);
        let mut view = Self {
            history,
            streams: BTreeMap::new(),
            sent: HashMap::new(),
            orders: vec![BTreeMap::new(); lives.len()],
        };
        for (index, _, event) in history.events() {
            view.add(index, event);
        }
        // What falls into the times of one life only belongs to it.
        let life = |from: usize, to: usize| {
            let (from, to) = (history.records[from].at, history.records[to].at);
            let mut within = (0..lives.len()).filter(|n| lives[*n].0 <= to && from <= lives[*n].1);
            within.next().filter(|_| within.next().is_none())
        };
        for stream in view.streams.values_mut() {
            let first = stream.delivered.first().map(|it| it.index);
            stream.life = stream
                .registered
                .or(first)
                .and_then(|to| life(stream.opens, to));
            for it in &stream.delivered {
                if let Some(life) = stream.life {
                    view.orders[life]
                        .entry(it.time)
                        .or_insert((it.message, it.index));
                    if let Some(sent) = view.sent.get_mut(&it.message) {
                        sent.life = Some(life);
                    }
                }
            }
        }
        for (message, sent) in &mut view.sent {
            if let (Some(ended), Some(time)) = (sent.ended, sent.time) {
                sent.life = sent.life.or_else(|| life(sent.asked, ended));
                if let Some(life) = sent.life {
                    view.orders[life].entry(time).or_insert((*message, ended));
                }
            }
        }
        view
    }

    fn add(&mut self, index: usize, event: &ChatEvent) {
        match *event {
            ChatEvent::Asked { message } => {
                let asked = Sent {
                    asked: index,
                    ..Sent::default()
                };
                self.sent.insert(message, asked);
            }
            ChatEvent::Answered { message, time } => {
                if let Some(sent) = self.sent.get_mut(&message) {
                    (sent.ended, sent.time) = (Some(index), Some(time));
                }
            }
            ChatEvent::Refused { message, .. } | ChatEvent::Unknown { message, .. } => {
                if let Some(sent) = self.sent.get_mut(&message) {
                    sent.ended = Some(index);
                }
            }
            ChatEvent::Opens { stream, direct } => {
                let opened = Stream {
                    opens: index,
                    direct,
                    registered: None,
                    pauses: false,
                    delivered: Vec::new(),
                    end: None,
                    life: None,
                };
                self.streams.insert(stream, opened);
            }
            ChatEvent::Registered { stream } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.registered = Some(index);
                }
            }
            ChatEvent::Pauses { stream } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.pauses = true;
                }
            }
            ChatEvent::Delivered {
                stream,
                message,
                time,
            } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.delivered.push(Delivered {
                        index,
                        message,
                        time,
                    });
                }
            }
            ChatEvent::Ended { stream, .. } | ChatEvent::Left { stream } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.end = Some(index);
                }
            }
            // What is in the table is in the order, whoever was told.
            ChatEvent::Stored { message, time } => {
                for order in &mut self.orders {
                    order.entry(time).or_insert((message, index));
                }
            }
            ChatEvent::Last { .. } | ChatEvent::Again { .. } | ChatEvent::Gap { .. } => {}
        }
    }

    fn at(&self, index: usize) -> u64 {
        self.history.records[index].at
    }

    /// The streams whose life is known, with its order.
    fn judged(&self) -> impl Iterator<Item = (&Stream, &BTreeMap<i64, (u64, usize)>)> {
        let streams = self.streams.values();
        streams.filter_map(|stream| Some((stream, &self.orders[stream.life?])))
    }

    /// The records that show that a message is in the order at its place.
    pub fn proof(&self, message: u64, index: usize) -> Vec<usize> {
        let mut proof = vec![index];
        if let ChatEvent::Delivered { stream, .. } = self.event(index) {
            proof.push(self.streams[stream].opens);
        }
        if let Some(sent) = self.sent.get(&message) {
            proof.push(sent.asked);
            proof.extend(sent.ended);
        }
        proof
    }

    fn event(&self, index: usize) -> &ChatEvent {
        match &self.history.records[index].note {
            Note::Saw(event) => event,
            other => panic!("a fault in place of an event: {other:?}"),
        }
    }
}

impl Stream {
    fn records(&self) -> Vec<usize> {
        let mut records = vec![self.opens];
        records.extend(self.registered);
        records
    }
}

fn times_rise(history: &Chat) -> Verdict {
    for stream in View::new(history).streams.values() {
        for pair in stream.delivered.windows(2) {
            if pair[0].time >= pair[1].time {
                let records = stream.records().into_iter();
                let records = records.chain([pair[0].index, pair[1].index]);
                return Err(Violation::new("a time does not rise", records));
            }
        }
    }
    Ok(())
}

fn one_order(history: &Chat) -> Verdict {
    let view = View::new(history);
    let mut times: HashMap<u64, (i64, usize)> = HashMap::new();
    for (stream, order) in view.judged() {
        for it in &stream.delivered {
            let (message, shown) = order[&it.time];
            let (time, first) = *times.entry(it.message).or_insert((it.time, it.index));
            let other = match (message == it.message, time == it.time) {
                (true, true) => continue,
                (false, _) => shown,
                (true, false) => first,
            };
            let mut records = stream.records();
            records.push(it.index);
            let others = match view.event(other) {
                ChatEvent::Delivered { message, .. }
                | ChatEvent::Answered { message, .. }
                | ChatEvent::Stored { message, .. } => view.proof(*message, other),
                _ => vec![other],
            };
            records.extend(others);
            let says = "a time has two messages, or a message two times";
            return Err(Violation::new(says, records));
        }
    }
    Ok(())
}

fn no_hole(history: &Chat) -> Verdict {
    let view = View::new(history);
    for (stream, order) in view.judged() {
        let (Some(first), Some(last)) = (stream.delivered.first(), stream.delivered.last()) else {
            continue;
        };
        if first.time > last.time {
            continue; // The times say so already.
        }
        let mut before = first;
        let mut delivered = stream.delivered.iter().peekable();
        for (time, (message, shown)) in order.range(first.time..=last.time) {
            match delivered.peek() {
                Some(it) if it.time == *time => {
                    before = it;
                    delivered.next();
                }
                next => {
                    let mut records = stream.records();
                    records.push(before.index);
                    records.extend(next.map(|it| it.index));
                    records.extend(view.proof(*message, *shown));
                    let says = format!("message {message} is missing in between");
                    return Err(Violation::new(says, records));
                }
            }
        }
    }
    Ok(())
}

fn from_registration(history: &Chat) -> Verdict {
    let view = View::new(history);
    for (stream, order) in view.judged() {
        let (Some(registered), Some(first)) = (stream.registered, stream.delivered.first()) else {
            continue;
        };
        for (message, shown) in order.range(..first.time).map(|(_, it)| it) {
            let asked = view.sent.get(message).map(|sent| sent.asked);
            if asked.is_some_and(|asked| view.at(asked) > view.at(registered)) {
                let mut records = stream.records();
                records.push(first.index);
                records.extend(view.proof(*message, *shown));
                let says = format!("message {message} was sent later, and is missing");
                return Err(Violation::new(says, records));
            }
        }
    }
    Ok(())
}

fn to_the_end(history: &Chat) -> Verdict {
    let view = View::new(history);
    let last = history.events().find_map(|(index, _, event)| match event {
        ChatEvent::Last { message } => Some((index, *message)),
        _ => None,
    });
    for (stream, order) in view.judged() {
        let Some(end) = stream.end else { continue };
        let delivered = stream.delivered.last();
        let mut records = stream.records();
        records.extend(delivered.map(|it| it.index));
        records.push(end);
        match view.event(end) {
            ChatEvent::Ended {
                end: End::Cut { last },
                ..
            } if delivered.map(|it| it.time) != *last => {
                let says = format!("the end names {last:?} as the last one sent");
                return Err(Violation::new(says, records));
            }
            // Where several servers are one chat, the others go on.
            ChatEvent::Ended {
                end: End::Shutdown, ..
            } if history.head.world != Several::NAME => {
                let from = delivered.map(|it| it.time + 1);
                for (message, shown) in order.range(from.unwrap_or(0)..).map(|(_, it)| it) {
                    let asked = view.sent.get(message).map(|sent| sent.asked);
                    let is_due = match (delivered, stream.registered, asked) {
                        (Some(_), ..) => true,
                        (None, Some(registered), Some(asked)) => {
                            view.at(asked) > view.at(registered)
                        }
                        _ => false,
                    };
                    if is_due {
                        records.extend(view.proof(*message, *shown));
                        let says = format!("message {message} is missing at the end");
                        return Err(Violation::new(says, records));
                    }
                }
            }
            ChatEvent::Left { .. } => {
                let Some((told, message)) = last else {
                    continue;
                };
                let Some(sent) = view.sent.get(&message) else {
                    continue;
                };
                let live = stream
                    .registered
                    .or(stream.delivered.first().map(|it| it.index));
                let waited = view.at(end) > view.at(told);
                let was_live = live.is_some_and(|live| view.at(live) < view.at(sent.asked));
                let same_life = sent.life == stream.life;
                if waited
                    && was_live
                    && same_life
                    && delivered.is_none_or(|it| it.message != message)
                {
                    records.extend([told, sent.asked]);
                    records.extend(sent.ended);
                    let says = format!("the last message, {message}, has not come");
                    return Err(Violation::new(says, records));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn shutdown_is_told(history: &Chat) -> Verdict {
    let view = View::new(history);
    let ends = history.records.iter().enumerate();
    let ends: Vec<_> = ends
        .filter_map(|(index, record)| match &record.note {
            Note::Begun(fault) if fault.takes_down(SERVER) => Some((index, fault)),
            _ => None,
        })
        .collect();
    for (stream, _) in view.judged() {
        let (Some(life), Some(end), true) = (stream.life, stream.end, stream.direct) else {
            continue;
        };
        let lost = matches!(
            view.event(end),
            ChatEvent::Ended {
                end: End::Lost(_),
                ..
            }
        );
        if lost
            && !stream.pauses
            && let Some((index, Fault::Terminate { .. })) = ends.get(life)
        {
            let mut records = stream.records();
            records.extend([*index, end]);
            return Err(Violation::new("a stream was not told", records));
        }
    }
    Ok(())
}

fn nothing_before(history: &Chat) -> Verdict {
    let view = View::new(history);
    for stream in view.streams.values() {
        for it in &stream.delivered {
            let sent = view.sent.get(&it.message);
            let answered = sent.and_then(|sent| sent.time.and(sent.ended));
            if answered.is_some_and(|answered| view.at(answered) < view.at(stream.opens)) {
                let mut records = stream.records();
                records.push(it.index);
                records.extend(view.proof(it.message, it.index));
                let says = format!("message {} was answered before", it.message);
                return Err(Violation::new(says, records));
            }
        }
    }
    Ok(())
}

fn only_what_was_sent(history: &Chat) -> Verdict {
    let view = View::new(history);
    for stream in view.streams.values() {
        for it in &stream.delivered {
            let asked = view.sent.get(&it.message).map(|sent| sent.asked);
            if asked.is_none_or(|asked| asked > it.index) {
                let mut records = stream.records();
                records.push(it.index);
                records.extend(asked);
                let says = format!("message {} comes before it was sent", it.message);
                return Err(Violation::new(says, records));
            }
        }
    }
    Ok(())
}

fn at_most_once(history: &Chat) -> Verdict {
    let view = View::new(history);
    let mut lives: HashMap<u64, (usize, usize, usize)> = HashMap::new();
    for (number, stream) in view.streams.values().enumerate() {
        for it in &stream.delivered {
            let Some(life) = stream.life else { break };
            let seen = (life, number, it.index);
            let (other_life, other, index) = *lives.entry(it.message).or_insert(seen);
            if index != it.index && (other == number || other_life != life) {
                let mut records = stream.records();
                records.extend([index, it.index]);
                records.extend(view.proof(it.message, index));
                let says = format!("message {} comes twice", it.message);
                return Err(Violation::new(says, records));
            }
            // Twice in this stream is seen also when another one was first.
            lives.insert(it.message, seen);
        }
    }
    Ok(())
}

fn refused_never(history: &Chat) -> Verdict {
    let view = View::new(history);
    for (index, _, event) in history.events() {
        let (ChatEvent::Delivered { message, .. } | ChatEvent::Stored { message, .. }) = event
        else {
            continue;
        };
        let ended = view.sent.get(message).and_then(|sent| sent.ended);
        let Some(ended) = ended else { continue };
        if matches!(view.event(ended), ChatEvent::Refused { .. }) {
            let says = format!("message {message} was refused");
            return Err(Violation::new(says, view.proof(*message, index)));
        }
    }
    Ok(())
}

fn answered_time(history: &Chat) -> Verdict {
    let view = View::new(history);
    for stream in view.streams.values() {
        for it in &stream.delivered {
            let time = view.sent.get(&it.message).and_then(|sent| sent.time);
            if time.is_some_and(|time| time != it.time) {
                let mut records = stream.records();
                records.push(it.index);
                records.extend(view.proof(it.message, it.index));
                let says = format!("message {} has another time in its answer", it.message);
                return Err(Violation::new(says, records));
            }
        }
    }
    Ok(())
}

fn answered_before(history: &Chat) -> Verdict {
    let view = View::new(history);
    // The time of each message in the order of its life.
    let mut times = HashMap::new();
    for order in &view.orders {
        times.extend(
            order
                .iter()
                .map(|(time, (message, shown))| (*message, (*time, *shown))),
        );
    }
    // The greatest time that has been answered in each life.
    let mut greatest: Vec<Option<(i64, u64)>> = vec![None; view.orders.len()];
    for (_, _, event) in history.events() {
        match event {
            ChatEvent::Answered { message, time } => {
                if let Some(life) = view.sent.get(message).and_then(|sent| sent.life) {
                    greatest[life] = greatest[life].max(Some((*time, *message)));
                }
            }
            ChatEvent::Asked { message } => {
                let Some(life) = view.sent[message].life else {
                    continue;
                };
                let own = times.get(message);
                if let (Some((time, shown)), Some((before, other))) = (own, greatest[life])
                    && *time <= before
                {
                    let mut records = view.proof(*message, *shown);
                    records.extend([view.sent[&other].asked]);
                    records.extend(view.sent[&other].ended);
                    let says = format!("message {message} was sent after the answer to {other}");
                    return Err(Violation::new(says, records));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
