//! A history by bridges: which run of a bridge has done which flush, what the log told,
//! and what is missing. The server's order is known from its readers and its answers;
//! what a bridge delivered is laid beside it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::event::BridgeEvent;
use super::{BRIDGES, CLIENT_LINKS};
use crate::chaos::chat::event::ChatEvent;
use crate::chaos::chat::promises::View;
use crate::chaos::record::{History, Note, Record};
use crate::chaos::schedule::Fault;
use crate::chaos::verdict::Violation;

pub type Bridge = History<BridgeEvent>;

/// How exact a moment from a log is, and the longest step between two lines of code.
pub const SLACK: u64 = 50_000_000;
pub const SECOND: u64 = 1_000_000_000;

/// A request whose client gave up waits no longer for its turn than this, and as long
/// as a fault holds it up: each send before it has a deadline of a second.
pub const TURN: u64 = 6 * SECOND;

/// In the server's order over all of its lives.
pub type Place = (usize, i64);

#[derive(Clone, Copy, PartialEq)]
pub enum Fate {
    Took { dropped: u64, subscribed: bool },
    Refused,
    Torn,
    Unclear,
}

#[derive(Clone)]
pub struct Flush {
    pub bridge: usize,
    pub direct: bool,
    pub asked: u64,
    pub ended: u64,
    /// From then on the bridge cannot begin with it any more.
    pub over: u64,
    pub fate: Fate,
    /// A fault may hide from the bridge that the answer has come.
    pub is_suspect: bool,
    /// It tells that messages may be missing.
    pub gap: bool,
    /// Message, time, record.
    pub has: Vec<(u64, i64, usize)>,
    pub records: Vec<usize>,
}

/// A loss that is told: from this time, in the server's order if it is one of a
/// message, until this moment.
pub struct Window {
    pub from: i64,
    /// The same by the clock of the run, if it is the bridge's.
    pub since: u64,
    pub until: u64,
}

/// One run of a bridge.
pub struct Life {
    pub bridge: usize,
    pub span: (u64, u64),
    pub is_last: bool,
    pub live: Option<u64>,
    pub log: Vec<usize>,
    /// Of no subscription, as the log says.
    pub without: Vec<(u64, u64)>,
    pub windows: Vec<Window>,
    /// That were surely done by it.
    pub flushes: Vec<Flush>,
    /// That it may have done without anybody knowing.
    pub doubtful: Vec<Flush>,
}

/// A history by bridges.
pub struct Lives<'a> {
    pub history: &'a Bridge,
    pub faults: Vec<(Fault, u64, u64)>,
    pub lives: Vec<Life>,
    pub places: HashMap<u64, Place>,
    pub times: HashMap<i64, Place>,
    /// Message and the records that show it.
    pub order: BTreeMap<Place, (u64, Vec<usize>)>,
    /// When it was asked for, and when that was over.
    pub sent: HashMap<u64, (u64, u64)>,
    /// That may have a place which nobody saw.
    pub unplaced: Vec<u64>,
    pub refused: HashSet<u64>,
    pub answered: HashMap<u64, usize>,
    pub asked: HashMap<u64, usize>,
}

/// What the chat's promises are about, and of which record each is.
pub fn chat_of(history: &Bridge) -> (History<ChatEvent>, Vec<usize>) {
    let (mut records, mut indices) = (Vec::new(), Vec::new());
    for (index, record) in history.records.iter().enumerate() {
        let note = match &record.note {
            Note::Begun(fault) => Note::Begun(fault.clone()),
            Note::Ending(fault) => Note::Ending(fault.clone()),
            Note::Saw(BridgeEvent::Chat(event)) => Note::Saw(event.clone()),
            Note::Saw(_) => continue,
        };
        let Record { at, by, .. } = *record;
        records.push(Record { at, by, note });
        indices.push(index);
    }
    let head = history.head.clone();
    (History { head, records }, indices)
}

impl<'a> Lives<'a> {
    pub fn new(history: &'a Bridge) -> Self {
        let (chat, indices) = chat_of(history);
        let view = View::new(&chat);
        let mut it = Self {
            history,
            faults: faults(history),
            lives: Vec::new(),
            places: HashMap::new(),
            times: HashMap::new(),
            order: BTreeMap::new(),
            sent: HashMap::new(),
            unplaced: Vec::new(),
            refused: HashSet::new(),
            answered: HashMap::new(),
            asked: HashMap::new(),
        };
        for (life, order) in view.orders.iter().enumerate() {
            for (time, (message, index)) in order {
                let shown = view.proof(*message, *index);
                let shown = shown.into_iter().map(|index| indices[index]).collect();
                it.order.insert((life, *time), (*message, shown));
                it.places.insert(*message, (life, *time));
                it.times.insert(*time, (life, *time));
            }
        }
        for (message, sent) in &view.sent {
            let asked = chat.records[sent.asked].at;
            let ended = sent.ended.map_or(u64::MAX, |index| chat.records[index].at);
            it.sent.insert(*message, (asked, ended));
            it.asked.insert(*message, indices[sent.asked]);
            if sent.time.is_some() {
                it.answered
                    .extend(sent.ended.map(|index| (*message, indices[index])));
            }
            let end = sent.ended.map(|index| &chat.records[index].note);
            if matches!(end, Some(Note::Saw(ChatEvent::Refused { .. }))) {
                it.refused.insert(*message);
            } else if !it.places.contains_key(message) {
                it.unplaced.push(asked);
            }
        }
        for (bridge, name) in BRIDGES.iter().enumerate() {
            let spans = history.lives(name);
            let count = spans.len();
            it.lives.extend((1..).zip(spans).map(|(number, span)| Life {
                bridge,
                span,
                is_last: number == count,
                live: None,
                log: Vec::new(),
                without: vec![(span.0, u64::MAX)],
                windows: Vec::new(),
                flushes: Vec::new(),
                doubtful: Vec::new(),
            }));
        }
        it.read_logs();
        for flush in it.flushes() {
            it.assign(flush);
        }
        it
    }

    pub fn read_logs(&mut self) {
        for (index, record, event) in self.history.events() {
            let at = record.at;
            let bridge = match event {
                BridgeEvent::Live { bridge }
                | BridgeEvent::Lost { bridge }
                | BridgeEvent::Resumed { bridge }
                | BridgeEvent::Again { bridge, .. } => *bridge,
                _ => continue,
            };
            let mut lives = self.lives.iter_mut().filter(|life| life.bridge == bridge);
            let life = lives.rfind(|life| life.span.0 <= at);
            let life = life.expect("a first life");
            life.log.push(index);
            match event {
                BridgeEvent::Lost { .. } => life.without.push((at, u64::MAX)),
                BridgeEvent::Again { from, since, .. } => {
                    life.windows.push(Window {
                        from: *from,
                        since: *since,
                        until: at + SLACK,
                    });
                    life.without.last_mut().expect("one").1 = at;
                    life.live.get_or_insert(at);
                }
                _ => {
                    life.live.get_or_insert(at);
                    life.without.last_mut().expect("one").1 = at;
                }
            }
        }
    }

    pub fn flushes(&self) -> Vec<Flush> {
        let mut flushes: BTreeMap<u64, Flush> = BTreeMap::new();
        for (index, record, event) in self.history.events() {
            if let BridgeEvent::Flushes {
                flush,
                bridge,
                direct,
            } = event
            {
                let asked = Flush {
                    bridge: *bridge,
                    direct: *direct,
                    asked: record.at,
                    ended: u64::MAX,
                    over: u64::MAX,
                    fate: Fate::Unclear,
                    is_suspect: false,
                    gap: false,
                    has: Vec::new(),
                    records: vec![index],
                };
                flushes.insert(*flush, asked);
                continue;
            }
            let (of, fate) = match event {
                BridgeEvent::Flushed {
                    flush,
                    message,
                    time,
                } => {
                    if let Some(it) = flushes.get_mut(flush) {
                        it.has.push((*message, *time, index));
                    }
                    continue;
                }
                BridgeEvent::Gap { flush } => {
                    if let Some(it) = flushes.get_mut(flush) {
                        it.gap = true;
                        it.records.push(index);
                    }
                    continue;
                }
                BridgeEvent::Took {
                    flush,
                    dropped,
                    subscribed,
                } => {
                    let (dropped, subscribed) = (*dropped, *subscribed);
                    (
                        flush,
                        Fate::Took {
                            dropped,
                            subscribed,
                        },
                    )
                }
                BridgeEvent::Refused { flush, .. } => (flush, Fate::Refused),
                BridgeEvent::Torn { flush } => (flush, Fate::Torn),
                BridgeEvent::Unclear { flush, .. } => (flush, Fate::Unclear),
                _ => continue,
            };
            if let Some(it) = flushes.get_mut(of) {
                (it.fate, it.ended) = (fate, record.at);
                it.over = match fate {
                    Fate::Took { .. } | Fate::Refused => record.at,
                    _ => self.over(it),
                };
                it.is_suspect = !it.direct && self.is_disturbed(it);
                it.records.push(index);
            }
        }
        flushes.into_values().collect()
    }

    /// When a request whose client has gone is over at the latest.
    pub fn over(&self, flush: &Flush) -> u64 {
        let mut over = flush.ended.saturating_add(TURN);
        for (fault, from, until) in &self.faults {
            let holds_up = match fault {
                Fault::Pause { program } => program == BRIDGES[flush.bridge],
                Fault::Own { name } => name.ends_with(BRIDGES[flush.bridge]),
                Fault::Link { link, .. } => !flush.direct && link == CLIENT_LINKS[flush.bridge],
                _ => false,
            };
            if holds_up && flush.asked <= *until && *from <= over {
                over = over.max(until.saturating_add(TURN));
            }
        }
        over
    }

    /// Whether the link was disturbed while the answer was on its way.
    pub fn is_disturbed(&self, flush: &Flush) -> bool {
        self.faults.iter().any(|(fault, from, until)| {
            matches!(fault, Fault::Link { link, .. } if link == CLIENT_LINKS[flush.bridge])
                && flush.asked <= *until
                && *from <= flush.ended.saturating_add(2 * SECOND)
        })
    }

    /// To the life that did it, or to all that may have.
    pub fn assign(&mut self, flush: Flush) {
        let within = |life: &Life| {
            life.bridge == flush.bridge && life.span.0 <= flush.over && flush.asked <= life.span.1
        };
        let lives: Vec<_> = (0..self.lives.len())
            .filter(|n| within(&self.lives[*n]))
            .collect();
        let took = matches!(flush.fate, Fate::Took { .. } | Fate::Refused);
        match lives[..] {
            [life] if took || flush.fate == Fate::Torn => self.lives[life].flushes.push(flush),
            _ => {
                for life in lives {
                    let fate = Fate::Unclear;
                    let copy = Flush {
                        fate,
                        ..flush.clone()
                    };
                    self.lives[life].doubtful.push(copy);
                }
            }
        }
    }

    /// Whether the bridge told that this message may be missing.
    pub fn is_told(&self, life: &Life, place: Place, message: u64) -> bool {
        let (asked, ended) = self.sent[&message];
        life.windows.iter().any(|window| {
            let follows = match self.times.get(&window.from) {
                Some(last) => place > *last,
                None => window.since <= ended || window.since > window.until,
            };
            follows && asked < window.until
        })
    }

    /// What is missing in a life before something that a flush has, by that flush.
    pub fn gaps(&self, life: &Life) -> BTreeMap<usize, Gap> {
        let flushes = life.flushes.iter().enumerate();
        let flushed: HashMap<u64, usize> = flushes
            .flat_map(|(number, flush)| flush.messages().map(move |message| (message, number)))
            .collect();
        let doubtful: HashSet<u64> = life.doubtful.iter().flat_map(Flush::messages).collect();
        let order: Vec<_> = self
            .order
            .iter()
            .map(|(place, (message, _))| (*place, *message, self.sent.get(message)))
            .filter_map(|(place, message, sent)| Some((place, message, *sent?)))
            .filter(|(.., sent)| sent.1 >= life.span.0 && sent.0 <= life.span.1)
            .collect();
        // The earliest end of a flush that has a later message.
        let mut later = vec![u64::MAX; order.len()];
        let mut earliest = u64::MAX;
        for (index, (_, message, _)) in order.iter().enumerate().rev() {
            later[index] = earliest;
            if let Some(flush) = flushed.get(message) {
                earliest = earliest.min(life.flushes[*flush].ended);
            }
        }
        let (mut gaps, mut gap) = (BTreeMap::<usize, Gap>::new(), Gap::default());
        let (mut before, mut server) = (None, None);
        for (index, (place, message, sent)) in order.into_iter().enumerate() {
            if let Some(flush) = flushed.get(&message) {
                let all = gaps.entry(*flush).or_default();
                all.missing += gap.missing;
                let ended = life.flushes[*flush].ended;
                let may_return = |asked: &&u64| life.may_be_put_back(**asked, ended);
                all.may_return += gap.asked.iter().filter(may_return).count();
                if !gap.untold.is_empty() {
                    all.untold.append(&mut gap.untold);
                    all.around.push(message);
                    all.around.extend(before.filter(|_| gap.needs_one_before));
                }
                gap = Gap::default();
                (before, server) = (Some(message), Some(place.0));
            } else if !doubtful.contains(&message) {
                gap.missing += 1;
                gap.asked.push(sent.0);
                let after_live = life.live.is_some_and(|live| sent.0 > live + SLACK);
                let is_due = after_live || server == Some(place.0);
                let is_excused = self.is_told(life, place, message)
                    || life.may_be_elsewhere(sent.0, later[index]);
                if is_due && !is_excused {
                    gap.untold.push(message);
                    gap.needs_one_before |= !after_live;
                }
            }
        }
        gaps
    }

    /// The records that show a message in the order, and in a flush of this life.
    pub fn proof(&self, life: &Life, message: u64) -> Vec<usize> {
        let mut proof: Vec<_> = self.asked.get(&message).copied().into_iter().collect();
        proof.extend(self.answered.get(&message));
        if let Some(place) = self.places.get(&message) {
            proof.extend(&self.order[place].1);
        }
        for flush in &life.flushes {
            for (.., index) in flush.has.iter().filter(|(of, ..)| *of == message) {
                proof.push(*index);
                proof.extend(&flush.records);
            }
        }
        proof.extend(life.log.first());
        proof
    }

    pub fn violation(
        &self,
        life: &Life,
        says: String,
        messages: &[u64],
        flushes: &[&Flush],
    ) -> Violation {
        let proofs = messages
            .iter()
            .flat_map(|message| self.proof(life, *message));
        let flushes = flushes.iter().flat_map(|flush| &flush.records);
        let says = format!("{}: {says}", BRIDGES[life.bridge]);
        Violation::new(says, proofs.chain(flushes.copied()))
    }
}

#[derive(Default)]
pub struct Gap {
    pub missing: usize,
    /// When they were sent.
    asked: Vec<u64>,
    /// How many of them may have been put back into the postbox later.
    pub may_return: usize,
    pub untold: Vec<u64>,
    pub needs_one_before: bool,
    /// What shows it: a message in the flush, and perhaps one in a flush before.
    pub around: Vec<u64>,
}

impl Flush {
    /// Whether it could have a message that was sent at `asked`, and be done before
    /// something that was over at `before`.
    pub fn may_have(&self, asked: u64, before: u64) -> bool {
        self.asked < before && asked < self.over
    }

    pub fn messages(&self) -> impl Iterator<Item = u64> {
        self.has.iter().map(|(message, ..)| *message)
    }

    pub fn took(&self) -> Option<(u64, bool)> {
        match self.fate {
            Fate::Took {
                dropped,
                subscribed,
            } => Some((dropped, subscribed)),
            _ => None,
        }
    }

    pub fn lasted(&self) -> u64 {
        self.ended - self.asked
    }
}

impl Life {
    /// Whether a message that was sent then is in a flush that nobody knows, or was
    /// put back by one that nobody took, and not flushed since.
    pub fn may_be_elsewhere(&self, asked: u64, before: u64) -> bool {
        let last = self.flushes.iter().filter(|flush| flush.took().is_some());
        let last = last.map(|flush| flush.ended).max().unwrap_or(0);
        let torn = self.flushes.iter().filter(|it| it.fate == Fate::Torn);
        let mut torn = torn.filter(|torn| torn.may_have(asked, before));
        let mut doubtful = self.doubtful.iter();
        doubtful.any(|flush| flush.may_have(asked, before))
            || torn.any(|torn| {
                let put_back = |flush: &Flush| flush.over > torn.asked;
                !self.is_last || torn.over > last || self.doubtful.iter().any(put_back)
            })
    }

    /// Whether it may have been put back into the postbox after that.
    pub fn may_be_put_back(&self, asked: u64, before: u64) -> bool {
        let mut flushes = self.flushes.iter().chain(&self.doubtful);
        flushes.any(|flush| {
            (flush.took().is_none() || flush.is_suspect) && flush.may_have(asked, before)
        })
    }
}

/// Each fault with when it was there, and a little around.
pub fn faults(history: &Bridge) -> Vec<(Fault, u64, u64)> {
    let mut faults: Vec<(Fault, u64, u64)> = Vec::new();
    for record in &history.records {
        match &record.note {
            Note::Begun(fault) => {
                faults.push((fault.clone(), record.at.saturating_sub(SLACK), u64::MAX));
            }
            Note::Ending(fault) => {
                let begun = faults.iter_mut().rfind(|(it, ..)| it == fault);
                if let Some((.., until)) = begun {
                    *until = record.at + SLACK;
                }
            }
            Note::Saw(_) => {}
        }
    }
    faults
}
