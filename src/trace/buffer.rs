//! What was recorded and is not written yet. Every traced thread puts slices in, the
//! thread "trace" takes them out. Over its bound, slices are dropped and counted.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Point, Way};
use crate::sync::{lock, unpoisoned};

/// Most events, slices and points of arrows, that wait to be written: a quarter of a
/// second of a bridge that does nothing but answer.
const MOST: usize = 65_536;

/// A finished slice of a thread's time.
pub(super) struct Slice {
    pub(super) name: Cow<'static, str>,
    /// Nanoseconds.
    pub(super) since: u64,
    pub(super) until: u64,
    pub(super) notes: Vec<(&'static str, Value)>,
    pub(super) flows: Vec<Flow>,
}

/// A point of an arrow, at the beginning of its slice.
pub(super) struct Flow {
    pub(super) point: Point,
    pub(super) way: Way,
    pub(super) id: u64,
}

pub(super) enum Record {
    /// A thread that has not been seen before, and its name.
    Thread(u32, String),
    Slice(u32, Box<Slice>),
}

/// What the writer gets at a time.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    events: usize,
    /// Events that had no room.
    pub(super) dropped: usize,
    /// Nothing comes after this batch.
    pub(super) last: bool,
}

static ON: AtomicBool = AtomicBool::new(false);
static BUFFER: Buffer = Buffer::new(MOST);

thread_local! {
    /// The system's number of this thread, once the trace knows its name.
    static THREAD: Cell<Option<u32>> = const { Cell::new(None) };
}

pub(super) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

pub(super) fn turn_on() {
    ON.store(true, Ordering::Relaxed);
}

/// Takes no more, and drops what is there: nobody writes any more.
pub(super) fn turn_off() {
    ON.store(false, Ordering::Relaxed);
    *lock(&BUFFER.waiting) = Batch::default();
}

/// Takes no more; the writer gets what is there as the last batch.
pub(super) fn close() {
    ON.store(false, Ordering::Relaxed);
    lock(&BUFFER.waiting).last = true;
    BUFFER.wanted.notify_one();
}

/// Puts in a slice of the thread that calls.
pub(super) fn push(slice: Box<Slice>) {
    if let Some(thread) = THREAD.get() {
        BUFFER.put(Record::Slice(thread, slice));
        return;
    }
    let number = rustix::thread::gettid().as_raw_nonzero().get() as u32;
    let name = thread::current().name().unwrap_or("?").to_owned();
    if BUFFER.put(Record::Thread(number, name)) {
        THREAD.set(Some(number));
    }
    BUFFER.put(Record::Slice(number, slice));
}

/// Waits for so long, or until much has come, and takes what is there.
pub(super) fn take(within: Duration) -> Batch {
    BUFFER.take(within)
}

/// A thread that waits for events would be woken for each of them, which costs more than
/// the event. So the writer looks every now and then.
struct Buffer {
    most: usize,
    waiting: Mutex<Batch>,
    wanted: Condvar,
}

impl Buffer {
    const fn new(most: usize) -> Self {
        Self {
            most,
            waiting: Mutex::new(Batch {
                records: Vec::new(),
                events: 0,
                dropped: 0,
                last: false,
            }),
            wanted: Condvar::new(),
        }
    }

    /// Whether there was room.
    fn put(&self, record: Record) -> bool {
        let events = match &record {
            Record::Thread(..) => 1,
            Record::Slice(_, slice) => 1 + slice.flows.len(),
        };
        let mut waiting = lock(&self.waiting);
        if waiting.events + events > self.most {
            waiting.dropped += events;
            return false;
        }
        let before = waiting.events;
        waiting.events += events;
        waiting.records.push(record);
        if before < self.most / 2 && waiting.events >= self.most / 2 {
            self.wanted.notify_one();
        }
        true
    }

    fn take(&self, within: Duration) -> Batch {
        let enough = |it: &mut Batch| !it.last && it.events < self.most / 2;
        let waiting = lock(&self.waiting);
        let waited = self.wanted.wait_timeout_while(waiting, within, enough);
        std::mem::take(&mut *unpoisoned(waited).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(flows: usize) -> Record {
        let flow = |id| Flow {
            point: Point::Step,
            way: Way::Message,
            id,
        };
        let slice = Slice {
            name: "work".into(),
            since: 1,
            until: 2,
            notes: Vec::new(),
            flows: (0..flows as u64).map(flow).collect(),
        };
        Record::Slice(1, Box::new(slice))
    }

    #[test]
    fn over_the_bound_events_are_counted_and_there_is_room_again_after_a_batch() {
        let buffer = Buffer::new(8);
        assert!(buffer.put(slice(3)) && buffer.put(slice(2)));
        assert!(
            !buffer.put(slice(1)),
            "two events more than there is room for one"
        );
        assert!(buffer.put(slice(0)), "exactly full");
        assert!(!buffer.put(slice(0)));
        let batch = buffer.take(Duration::ZERO);
        assert_eq!((batch.records.len(), batch.dropped), (3, 3));
        assert!(buffer.put(slice(7)));
        let batch = buffer.take(Duration::ZERO);
        assert_eq!((batch.records.len(), batch.dropped), (1, 0));
    }

    #[test]
    fn a_buffer_that_is_half_full_does_not_wait() {
        let buffer = Buffer::new(8);
        assert!(buffer.put(slice(3)));
        // Would take the whole test's time otherwise.
        assert_eq!(buffer.take(Duration::MAX).records.len(), 1);
    }
}
