//! The thread that compares: it does the jobs that the proxies leave, and says what
//! differs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use protobuf::reflect::MessageDescriptor;
use serde_json::Value;

use super::matching::{Marks, Masked, json};
use super::report::Report;
use super::sequence::{Found, Sequence, of};
use super::{Side, Watch};
use crate::budget::Hold;
use crate::latency::Latencies;

pub type Job = Box<dyn FnOnce(&mut Judge) + Send>;

/// How often it is looked what has waited for too long.
const TICK: Duration = Duration::from_millis(100);
/// How long what is on its way may take at the end.
const END: Duration = Duration::from_secs(3);
/// Header fields that say nothing of the answer, or what its body says.
const BESIDE: [&str; 5] = [
    "date",
    "server",
    "connection",
    "content-length",
    "x-request-id",
];
const FLUSH: &str = "POST /getAndFlushMessages";
/// A status of ours: nobody answers at this address.
pub const GONE: &str = "UNAVAILABLE";

/// An answer, or how a stream has ended.
#[derive(Clone, Default)]
pub struct Answer {
    /// "OK", "200", or what there was instead.
    pub status: String,
    pub fields: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub took: Duration,
}

impl Answer {
    pub fn none(why: impl ToString) -> Self {
        let status = why.to_string();
        Self {
            status,
            ..Self::default()
        }
    }

    fn shown(&self, body: &Value) -> String {
        let beside = ["message", "details"].map(|name| self.fields.get(name));
        let beside = beside.into_iter().flatten().cloned();
        let body = (!body.is_null() && body != "").then(|| body.to_string());
        let parts: Vec<_> = [self.status.clone()]
            .into_iter()
            .chain(beside)
            .chain(body)
            .collect();
        parts.join(" ")
    }
}

/// A stream that is not over on both sides; each end is `None` if nobody waited for it.
struct Open {
    at: &'static str,
    sequence: Sequence,
    ends: [Option<Option<Answer>>; 2],
}

pub struct Judge {
    watch: Arc<Watch>,
    marks: Marks,
    streams: HashMap<u64, Open>,
    /// What flushes fetch, of all clients together.
    postbox: Sequence,
    latencies: [Latencies; 2],
    gone: bool,
    compared: u64,
    report: Report,
}

impl Judge {
    /// # Errors
    /// Never: the bounds of the latencies are constants.
    pub fn new(watch: Arc<Watch>, report: Report) -> io::Result<Self> {
        Ok(Self {
            watch,
            marks: Marks::default(),
            streams: HashMap::new(),
            postbox: Sequence::new(true),
            latencies: [Latencies::new()?, Latencies::new()?],
            gone: false,
            compared: 0,
            report,
        })
    }

    /// Compares until it is to stop, and what is on its way then; writes the summary.
    pub fn run(mut self, jobs: &Receiver<Job>, stop: &Receiver<()>) {
        let mut end = None;
        loop {
            if let Ok(job) = jobs.recv_timeout(TICK) {
                job(&mut self);
            }
            let waits = !jobs.is_empty();
            if !waits {
                self.look();
            }
            if stop.try_recv() == Err(TryRecvError::Disconnected) {
                let mut streams = self.streams.values();
                let waits = waits || self.postbox.waits() || streams.any(|it| it.sequence.waits());
                let end = *end.get_or_insert_with(|| Instant::now() + END);
                if !waits || Instant::now() > end {
                    break;
                }
            }
        }
        let uncompared = self.watch.uncompared.load(Relaxed);
        self.report
            .summary(self.compared, uncompared, &self.latencies);
    }

    /// What has waited for too long.
    fn look(&mut self) {
        let mut found = Found::new();
        let first = self.watch.first;
        self.postbox.expire(first, false, None, &mut found);
        self.report.found(FLUSH, found);
        for stream in self.streams.values_mut() {
            let mut found = Found::new();
            stream.sequence.expire(first, false, None, &mut found);
            self.report.found(stream.at, found);
        }
    }

    /// The answers of the left and the right side, over gRPC of this kind.
    pub fn answers(&mut self, at: &str, kind: Option<&MessageDescriptor>, answers: [Answer; 2]) {
        if self.is_gone(at, answers.each_ref().map(Some)) {
            return;
        }
        self.compared += 1;
        for (latencies, answer) in self.latencies.iter_mut().zip(&answers) {
            latencies.record(answer.took);
        }
        let [left, right] = answers.each_ref().map(|answer| match kind {
            Some(_) if answer.status != "OK" => Value::Null,
            Some(kind) => json(kind, &answer.body),
            None => serde_json::from_slice(&answer.body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&answer.body).into()),
        });
        let sides = [answers[0].shown(&left), answers[1].shown(&right)];
        if !self.beside(at, kind.is_none(), &answers, &sides) {
            return;
        }
        if let (true, Value::Array(left), Value::Array(right)) =
            (at.starts_with(FLUSH), &left, &right)
        {
            let mut found = Found::new();
            // The second side is asked later, and may have more.
            let [first, second] = of(self.watch.first, [left.len(), right.len()]);
            if second < first {
                let counts = [left, right].map(|it| format!("{} messages", it.len()));
                found.push(("count", counts));
            }
            self.postbox.begins();
            for (side, messages) in [(Side::Left, left), (Side::Right, right)] {
                for message in messages {
                    let marks = &self.marks;
                    self.postbox
                        .push(side, message.clone(), None, marks, &mut found);
                }
            }
            return self.report.found(at, found);
        }
        let [left, right] = [left, right].map(Masked::of);
        let wrong = match left.value == right.value {
            true => self.marks.learn(&left, &right),
            false => Some("body"),
        };
        let wrong = wrong.map(|what| (what, sides));
        self.report.found(at, wrong.into_iter().collect());
    }

    /// Compares status and fields; `false` if there is no more to compare.
    fn beside(&mut self, at: &str, http: bool, ends: &[Answer; 2], shown: &[String; 2]) -> bool {
        let [left, right] = ends;
        if left.status != right.status {
            self.report.differs(at, "status", shown.clone());
            return false;
        }
        let names: BTreeSet<_> = left.fields.keys().chain(right.fields.keys()).collect();
        for name in names
            .into_iter()
            .filter(|it| !http || !BESIDE.contains(&it.as_str()))
        {
            let sides = [left, right].map(|it| it.fields.get(name).cloned().unwrap_or_default());
            if sides[0] != sides[1] {
                self.report.differs(at, name, sides);
            }
        }
        true
    }

    /// Whether the second side cannot be reached, and the first one can.
    fn is_gone(&mut self, at: &str, ends: [Option<&Answer>; 2]) -> bool {
        let gone = ends.map(|end| end.is_some_and(|end| end.status == GONE));
        let [first, second] = of(self.watch.first, gone);
        let was = std::mem::replace(&mut self.gone, second && !first);
        if self.gone {
            self.watch.uncompared.fetch_add(1, Relaxed);
        }
        if self.gone && !was {
            let text =
                |end: Option<&Answer>| end.map_or("goes on".into(), |it| it.shown(&Value::Null));
            self.report.differs(at, "one side is gone", ends.map(text));
        } else if was && !self.gone {
            self.report.note("the side that was gone is back");
        }
        self.gone
    }

    pub fn opened(&mut self, number: u64, at: &'static str) {
        let (sequence, ends) = (Sequence::new(false), Default::default());
        self.streams.insert(number, Open { at, sequence, ends });
    }

    pub fn message(&mut self, number: u64, side: Side, message: Value, hold: Hold) {
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        let (mut found, mut hold, mut message) = (Found::new(), Some(hold), message);
        // The messages of a response that carries several, one by one.
        let all = match message.get_mut("messages").map(Value::take) {
            Some(Value::Array(messages)) if !messages.is_empty() => messages,
            _ => vec![message],
        };
        for message in all {
            let marks = &self.marks;
            stream
                .sequence
                .push(side, message, hold.take(), marks, &mut found);
        }
        self.report.found(stream.at, found);
    }

    /// Not compared any further.
    pub fn forget(&mut self, number: u64) {
        self.streams.remove(&number);
    }

    pub fn ended(&mut self, number: u64, side: Side, end: Option<Answer>) {
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        stream.ends[side as usize] = Some(end);
        let [Some(left), Some(right)] = &stream.ends else {
            return;
        };
        let (at, ends) = (stream.at, [left.clone(), right.clone()]);
        let Some(mut stream) = self.streams.remove(&number) else {
            return;
        };
        if self.is_gone(at, ends.each_ref().map(Option::as_ref)) {
            return;
        }
        self.compared += 1;
        // Where the client has left, nobody knows how the first side would have gone on.
        let first = self.watch.first;
        let left = ends[first as usize].is_none();
        if !left {
            let ends = ends.map(|end| end.unwrap_or_else(|| Answer::none("goes on")));
            let shown = ends.each_ref().map(|end| end.shown(&Value::Null));
            if !self.beside(at, false, &ends, &shown) {
                return;
            }
        }
        let mut found = Found::new();
        let unread = left.then(|| first.other());
        stream.sequence.expire(first, true, unread, &mut found);
        self.report.found(at, found);
    }
}
