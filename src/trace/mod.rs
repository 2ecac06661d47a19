//! Where the time of each request goes: slices by thread, with arrows between them, in
//! the Chrome trace event format. Off until [`start`] is called, and then a look at a flag.
//!
//! A [`Span`] is one slice: what a thread does from the span's beginning to its drop.
//! Arrows ([`Flow`]) connect slices, over processes too, since the clock is one for a
//! machine (`CLOCK_MONOTONIC`). The threads put finished slices into a bounded buffer
//! (`buffer`), and the thread "trace" writes them (`file`). It must not know what is
//! traced. Slices name methods and paths, and have sizes and ids, but no texts and no
//! tokens.

mod buffer;
mod file;

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::marker::PhantomData;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use buffer::{Flow, Slice};

/// The default bound of the file.
pub const MOST_BYTES: u64 = 256 << 20;

/// Most arrows that begin in a slice at once, or end there: a flush has one for each message.
const FLOWS: usize = 1024;

/// A running trace. Dropping it writes what is left and ends the file.
pub struct Trace(file::Writing);

/// Writes a trace of this process, which the viewer calls `process`, to a new file of at
/// most so many bytes. To be called once.
///
/// # Errors
/// When the file cannot be written, or the thread "trace" not be started.
pub fn start(file: &Path, most: u64, process: &str) -> io::Result<Trace> {
    let writing = file::start(file, most, process)?;
    buffer::turn_on();
    Ok(Trace(writing))
}

impl Drop for Trace {
    fn drop(&mut self) {
        buffer::close();
        self.0.wait();
    }
}

/// What an arrow follows. Its points in all processes have the way and the id in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An HTTP request and the call that is made for it, by its [`request_id`].
    Request,
    /// A message from its POST to the readers, by its sendTime in nanoseconds.
    Message,
    /// The same message, by the same id, on from one reader's process to its flush.
    Postbox,
}

/// Where on its way the arrow is in a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    Start,
    Step,
    End,
}

/// The id of a request as a number, the same in all processes.
fn request_id(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// A slice of this thread's time, which ends when this is dropped. Slices of a thread
/// have to end in the opposite order of their beginnings; no slice leaves its thread.
#[must_use]
#[derive(Default)]
pub struct Span {
    slice: Option<Box<Slice>>,
    _of_this_thread: PhantomData<*const ()>,
}

/// Begins a slice. Nothing happens while no trace is written.
pub fn span(name: &'static str) -> Span {
    begin(|| Cow::Borrowed(name))
}

/// As [`span`], with a name that is made only for a trace.
pub fn span_of(name: impl FnOnce() -> String) -> Span {
    begin(|| Cow::Owned(name()))
}

/// Whether a trace is written.
pub fn is_on() -> bool {
    buffer::is_on()
}

/// Does the work in a slice of its own.
pub fn during<R>(name: &'static str, work: impl FnOnce() -> R) -> R {
    let _span = span(name);
    work()
}

fn begin(name: impl FnOnce() -> Cow<'static, str>) -> Span {
    let slice = buffer::is_on().then(|| {
        Box::new(Slice {
            name: name(),
            since: now(),
            until: 0,
            notes: Vec::new(),
            flows: Vec::new(),
        })
    });
    Span {
        slice,
        _of_this_thread: PhantomData,
    }
}

impl Span {
    /// Adds a detail that the viewer shows.
    pub fn note<V: Into<Value>>(&mut self, name: &'static str, value: impl FnOnce() -> V) {
        if let Some(slice) = &mut self.slice {
            slice.notes.push((name, value().into()));
        }
    }

    /// The arrows of these ids begin in this slice, pass through it or end in it.
    pub fn flow(&mut self, point: Point, way: Way, ids: impl IntoIterator<Item = u64>) {
        if let Some(slice) = &mut self.slice {
            let flows = ids.into_iter().map(|id| Flow { point, way, id });
            slice.flows.extend(flows.take(FLOWS));
        }
    }

    /// The arrow of a request, if that has an id.
    pub fn request(&mut self, point: Point, id: Option<&str>) {
        self.flow(point, Way::Request, id.into_iter().map(request_id));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(mut slice) = self.slice.take() {
            slice.until = now();
            buffer::push(slice);
        }
    }
}

/// Nanoseconds on the machine's clock.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // Never negative: it begins with the machine.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
