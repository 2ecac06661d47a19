//! A stream as a sequence from either side: which messages belong together, and which are
//! missing, changed, or in another order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Side;
use super::matching::{Marks, Masked, far_apart};
use crate::budget::Hold;
use crate::fanout::clock::Timestamp;

/// A message is missing when a later one has come for so long, or nothing for longer.
const SKIPPED: Duration = Duration::from_secs(1);
const LOST: Duration = Duration::from_secs(5);
/// Messages of a side that wait for those of the other one.
const WAITING: usize = 4096;
/// Two subscriptions do not begin in the same moment: what was sent in the first second,
/// and one of them has alone, is no difference. In nanoseconds.
const BEGINNING: i64 = 1_000_000_000;

/// What differs, and what the left and the right side have there.
pub type Found = Vec<(&'static str, [String; 2])>;

struct Item {
    shown: Value,
    masked: Masked,
    came: Instant,
    number: u64,
    _hold: Option<Hold>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Item>,
    count: u64,
    /// The first and the last number that has found its match.
    first: Option<u64>,
    matched: Option<u64>,
    last: i64,
}

pub struct Sequence {
    lines: [Line; 2],
    /// Its messages are fetched by requests, nobody knows when.
    postbox: bool,
    opened: i64,
}

impl Sequence {
    pub fn new(postbox: bool) -> Self {
        let (lines, opened) = (Default::default(), Timestamp::now().nanos());
        Self {
            lines,
            postbox,
            opened,
        }
    }

    /// A message of a side.
    pub fn push(
        &mut self,
        side: Side,
        shown: Value,
        hold: Option<Hold>,
        marks: &Marks,
        found: &mut Found,
    ) {
        let masked = Masked::of(shown.clone());
        let [mine, theirs] = of(side, self.lines.each_mut());
        mine.count += 1;
        if let Some(time) = masked.time()
            && std::mem::replace(&mut mine.last, time) >= time
        {
            let texts = [shown.to_string(), "times that rise".into()];
            found.push(("times do not rise", of(side, texts)));
        }
        let fits = |other: &Item| {
            let [left, right] = of(side, [&masked, &other.masked]);
            left.value == right.value && marks.agree(left, right)
        };
        let at = theirs.waiting.iter().position(fits);
        let item = Item {
            shown,
            masked,
            came: Instant::now(),
            number: mine.count,
            _hold: hold,
        };
        if let Some(other) = at.and_then(|at| theirs.waiting.remove(at)) {
            return self.matched(side, &item, &other, found);
        }
        mine.waiting.push_back(item);
        if mine.waiting.len() > WAITING {
            let oldest = mine.waiting.pop_front();
            found.extend(oldest.map(|it| ("message", texts(side, &it.shown, &Value::Null))));
        }
    }

    fn matched(&mut self, side: Side, item: &Item, other: &Item, found: &mut Found) {
        let apart = far_apart(&item.masked, &other.masked);
        let mut wrong = apart.then_some("times far apart");
        for (line, item) in of(side, self.lines.each_mut())
            .into_iter()
            .zip([item, other])
        {
            // Where times tell the order, it may be another one for what was sent side by side.
            if item.masked.time().is_none() && line.matched > Some(item.number) {
                wrong = wrong.or(Some("order"));
            }
            line.matched = line.matched.max(Some(item.number));
            line.first = line.first.map(|it| it.min(item.number)).or(line.matched);
        }
        found.extend(wrong.map(|what| (what, texts(side, &item.shown, &other.shown))));
    }

    /// An answer begins, within which times rise: answers may come side by side.
    pub fn begins(&mut self) {
        self.lines.iter_mut().for_each(|line| line.last = 0);
    }

    pub fn waits(&self) -> bool {
        self.lines.iter().any(|line| !line.waiting.is_empty())
    }

    /// What has waited for too long. All that waits when the stream is `over`, but for what
    /// a side has at its end alone that was `unread` on the other one: its client has left.
    pub fn expire(&mut self, first: Side, over: bool, unread: Option<Side>, found: &mut Found) {
        let now = Instant::now();
        loop {
            let both = self.lines.iter().all(|line| !line.waiting.is_empty());
            let late = |side: Side| {
                let line = &self.lines[side as usize];
                line.waiting.front().is_some_and(|head| {
                    let (age, passed) = (now - head.came, line.matched > Some(head.number));
                    // The first side comes as slowly as its client reads.
                    let lost = age > LOST && !self.postbox && side == first;
                    let gone = passed && age > SKIPPED || lost;
                    gone || over && (passed || both || unread != Some(side))
                })
            };
            let (left, right) = (late(Side::Left), late(Side::Right));
            let side = match (left, right) {
                (false, false) => return,
                (true, _) => Side::Left,
                (false, true) => Side::Right,
            };
            let [mine, theirs] = of(side, self.lines.each_mut());
            let Some(item) = mine.waiting.pop_front() else {
                return;
            };
            let sent = item
                .masked
                .time()
                .is_some_and(|it| (it - self.opened).abs() < BEGINNING);
            if sent && mine.first.is_none_or(|first| item.number < first) && !self.postbox {
                continue;
            }
            // One that is the same but for its time, or else the one at the same place.
            let same = |other: &Item| other.masked.value == item.masked.value;
            let twin = theirs.waiting.iter().position(same);
            let twin = twin.or((left && right).then_some(0));
            let other = twin.and_then(|at| theirs.waiting.remove(at));
            let other = other.map_or(Value::Null, |it| it.shown);
            found.push(("message", texts(side, &item.shown, &other)));
        }
    }
}

/// Of two things in the order left, right: this side's, and the other's. And back.
pub fn of<T>(side: Side, mut both: [T; 2]) -> [T; 2] {
    both.rotate_left(side as usize);
    both
}

fn texts(side: Side, mine: &Value, other: &Value) -> [String; 2] {
    of(side, [mine, other]).map(|value| match value {
        Value::Null => "nothing".into(),
        value => value.to_string(),
    })
}
