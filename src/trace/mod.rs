//! Where the time of each request goes: slices by thread, with arrows between them, in
//! the Chrome trace event format. Off until [`start`] is called, and then a look at a flag.
//!
//! A [`Span`] is a slice: what a thread does until the span is dropped. Arrows connect
//! slices, over processes too, since all of a machine share a clock (`CLOCK_MONOTONIC`).
//! It must not know what is traced. There are methods, paths, ids and sizes in a trace,
//! but no texts and no tokens.

mod writer;

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::marker::PhantomData;

use rustix::time::{ClockId, clock_gettime};

use writer::Event;
pub use writer::{MOST_BYTES, Trace, start};

/// What an arrow follows. Its points have the way and the id in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An HTTP request and the call that is made for it, by the request's id.
    Request,
    /// A message from its POST to all readers, by its sendTime in nanoseconds.
    Message,
    /// The same by the same id, from one reader to the flush of the same process.
    Postbox,
}

/// What an arrow does at the beginning of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    Start,
    Step,
    End,
}

/// Most arrows of one slice: a flush has one for each message.
const ARROWS: usize = 1024;

/// A slice of this thread's time; nothing if no trace is written. Slices of a thread end
/// in the opposite order of their beginnings, and none leaves its thread.
#[must_use]
#[derive(Default)]
pub struct Span {
    /// Name and beginning.
    slice: Option<(Cow<'static, str>, u64)>,
    status: Option<u16>,
    _of_this_thread: PhantomData<*const ()>,
}

/// Begins a slice.
pub fn span(name: &'static str) -> Span {
    begin(|| Cow::Borrowed(name))
}

/// As [`span`], with a name that is made for the trace alone.
pub fn span_of(name: impl FnOnce() -> String) -> Span {
    begin(|| Cow::Owned(name()))
}

/// Does the work in a slice of its own.
pub fn during<R>(name: &'static str, work: impl FnOnce() -> R) -> R {
    let _span = span(name);
    work()
}

/// Whether a trace is written.
pub fn is_on() -> bool {
    writer::is_on()
}

fn begin(name: impl FnOnce() -> Cow<'static, str>) -> Span {
    Span {
        slice: is_on().then(|| (name(), now())),
        ..Span::default()
    }
}

impl Span {
    /// The status of an answer, which the viewer shows.
    pub fn status(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// The arrows of these ids begin in this slice, pass through it or end in it.
    pub fn arrow(&mut self, point: Point, way: Way, ids: impl IntoIterator<Item = u64>) {
        if let Some((_, since)) = self.slice {
            for id in ids.into_iter().take(ARROWS) {
                // Within the slice, whichever of both a viewer sees first.
                let at = since + 1;
                writer::push(Event::Arrow(point, way, id, at));
            }
        }
    }

    /// The arrow of the request with this id.
    pub fn request(&mut self, point: Point, id: Option<&str>) {
        let number = |id: &str| {
            // The same in all processes.
            let mut hasher = DefaultHasher::new();
            id.hash(&mut hasher);
            hasher.finish()
        };
        self.arrow(point, Way::Request, id.into_iter().map(number));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some((name, since)) = self.slice.take() {
            writer::push(Event::Slice(name, since, now(), self.status));
        }
    }
}

/// Nanoseconds since the machine was started.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
