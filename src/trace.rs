//! Where the time of each request goes: slices by thread, with arrows between them, in
//! the Chrome trace event format. Off until [`start`] is called, and then a look at a flag.
//!
//! A [`Span`] is a slice: what a thread does until the span is dropped. Arrows connect
//! slices, over processes too, since all of a machine share a clock (`CLOCK_MONOTONIC`).
//! It must not know what is traced. There are methods, paths and ids in a trace, but no
//! texts and no tokens. Threads put their events into a bounded buffer; the thread "trace"
//! writes them, one a line with the comma before it, so that a file that was cut off only
//! lacks its bracket. What cannot be written ends the trace, never the service.
//! Source: "Trace Event Format", the Chromium project.

use std::borrow::Cow;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::marker::PhantomData;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use std::{mem, process, thread};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::time::{ClockId, clock_gettime};

use crate::retry::supervised;
use crate::sync::{lock, spawn};

/// The default bound of a file.
pub const MOST_BYTES: u64 = 256 << 20;

/// Most arrows of one slice: a flush has one for each message.
const ARROWS: usize = 1024;

/// Most events that wait to be written; over it they are dropped and counted.
const MOST: usize = 65_536;

/// How often they are written. A thread that waited for each event would have to be woken
/// for each, which costs more than the event.
const PERIOD: Duration = Duration::from_millis(100);

/// Written at once, about.
const CHUNK_BYTES: usize = 64 * 1024;

/// How long the end of a process waits for the end of the file.
const END_TIME: Duration = Duration::from_secs(2);

const CLOSE: &[u8] = b"\n]\n";

/// What an arrow follows. Its points have the way and the id in common.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// An HTTP request and the call that is made for it, by the request's id.
    Request,
    /// A message from its POST to all readers, by its sendTime in nanoseconds.
    Message,
    /// The same by the same id, from one reader to the flush of the same process.
    Postbox,
}

/// What an arrow does at the beginning of a slice.
#[derive(Clone, Copy, Debug)]
pub enum Point {
    Start,
    Step,
    End,
}

/// A slice of this thread's time; nothing if no trace is written. Slices of a thread end
/// in the opposite order of their beginnings, and none leaves its thread.
#[must_use]
#[derive(Default)]
pub struct Span {
    /// Name and beginning.
    slice: Option<(Cow<'static, str>, u64)>,
    _of_this_thread: PhantomData<*const ()>,
}

/// Begins a slice.
pub fn span(name: impl Into<Cow<'static, str>>) -> Span {
    Span {
        slice: is_on().then(|| (name.into(), now())),
        ..Span::default()
    }
}

/// Does the work in a slice of its own.
pub fn during<R>(name: &'static str, work: impl FnOnce() -> R) -> R {
    let _span = span(name);
    work()
}

/// Whether a trace is written.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

impl Span {
    /// The arrows of these ids begin in this slice, pass through it or end in it.
    pub fn arrow(&mut self, point: Point, way: Way, ids: impl IntoIterator<Item = u64>) {
        if let Some((_, since)) = self.slice {
            for id in ids.into_iter().take(ARROWS) {
                // Within the slice, whichever of both a viewer sees first.
                push(Event::Arrow(point, way, id, since + 1));
            }
        }
    }

    /// The arrow of the request with this id.
    pub fn request(&mut self, point: Point, id: Option<&str>) {
        // The same number in all processes.
        let number = |id: &str| {
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
            push(Event::Slice(name, since, now()));
        }
    }
}

/// Nanoseconds since the machine was started.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What a thread has to tell; times are those of [`now`].
enum Event {
    /// Name, beginning and end.
    Slice(Cow<'static, str>, u64, u64),
    /// A point of the arrow with this id, at this time.
    Arrow(Point, Way, u64, u64),
}

/// A thread, and its events that wait to be written. It shares them with the thread "trace"
/// alone, so it does not wait for others.
struct Traced {
    number: u32,
    name: String,
    events: Mutex<Vec<Event>>,
}

static ON: AtomicBool = AtomicBool::new(false);
/// Threads that the thread "trace" has not heard of yet.
static NEW: Mutex<Vec<Arc<Traced>>> = Mutex::new(Vec::new());
/// The events that wait, of all threads, and those that had no room.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: Arc<Traced> = {
        let own = Arc::new(Traced {
            number: rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned(),
            name: thread::current().name().unwrap_or("?").to_owned(),
            events: Mutex::default(),
        });
        lock(&NEW).push(own.clone());
        own
    };
}

fn push(event: Event) {
    if WAITING.fetch_add(1, Ordering::Relaxed) < MOST {
        OWN.with(|own| lock(&own.events).push(event));
    } else {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// A trace that is written. Dropping it writes what is left and ends the file.
pub struct Trace(Option<Sender<()>>, Receiver<()>);

impl Drop for Trace {
    fn drop(&mut self) {
        ON.store(false, Ordering::Relaxed);
        self.0 = None;
        if self.1.recv_timeout(END_TIME) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the file of the trace takes no more; it has no end");
        }
    }
}

/// Replaces the file by a trace of this process, of at most so many bytes; the viewer calls
/// the process `name`. To be called once; starts the thread "trace".
///
/// # Errors
/// When the file cannot be written, or the thread not be started.
pub fn start(file: &Path, most: u64, name: &str) -> io::Result<Trace> {
    let (running, stop) = bounded(0);
    let (over, ended) = bounded::<()>(0);
    let mut writer = Writer {
        file: File::create(file)?,
        pid: process::id(),
        most,
        written: 0,
        chunk: b"[\n".to_vec(),
        threads: Vec::new(),
        stop,
    };
    let name = format!(r#""name":"process_name","args":{{"name":"{name}"}}"#);
    write!(
        writer.chunk,
        r#"{{"ph":"M","pid":{0},"tid":{0},{name}}}"#,
        writer.pid
    )?;
    let utc = chrono::Utc::now().to_rfc3339();
    writer.mark(&format!("the trace begins, {utc}"))?;
    writer.flush()?;
    spawn("trace", move || {
        let _over = over;
        supervised(|| writer.run());
    })?;
    ON.store(true, Ordering::Relaxed);
    Ok(Trace(Some(running), ended))
}

struct Writer {
    file: File,
    pid: u32,
    most: u64,
    /// Bytes in the file, of whole events.
    written: u64,
    /// What is to be written next, whole events too.
    chunk: Vec<u8>,
    threads: Vec<Arc<Traced>>,
    stop: Receiver<()>,
}

impl Writer {
    fn run(&mut self) {
        let ended = loop {
            let goes_on = self.stop.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout);
            match self.write_all() {
                Ok(()) if goes_on => {}
                ended => break ended,
            }
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "the trace ends here; the service goes on");
            ON.store(false, Ordering::Relaxed);
            self.threads.iter().for_each(|it| lock(&it.events).clear());
            // Without the rest of an event that was not written whole.
            let whole = self.file.set_len(self.written);
            let _ = whole.and_then(|()| self.file.seek(SeekFrom::End(0)));
        }
        let _ = self.file.write_all(CLOSE);
    }

    fn write_all(&mut self) -> io::Result<()> {
        for new in mem::take(&mut *lock(&NEW)) {
            let (pid, tid, name) = (self.pid, new.number, &new.name);
            let name = format!(r#""name":"thread_name","args":{{"name":"{name}"}}"#);
            write!(
                self.chunk,
                ",\n{{\"ph\":\"M\",\"pid\":{pid},\"tid\":{tid},{name}}}"
            )?;
            self.threads.push(new);
        }
        // Those of one thread, then room for the next one's.
        let mut events = Vec::new();
        for thread in self.threads.clone() {
            mem::swap(&mut *lock(&thread.events), &mut events);
            WAITING.fetch_sub(events.len(), Ordering::Relaxed);
            for event in events.drain(..) {
                self.write(thread.number, &event)?;
            }
        }
        // Of the others nobody holds more than this.
        self.threads
            .retain(|it| Arc::strong_count(it) > 1 || !lock(&it.events).is_empty());
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.mark(&format!("{dropped} events were dropped"))?;
            static TOLD: Once = Once::new();
            TOLD.call_once(|| tracing::warn!(dropped, "the trace cannot keep up"));
        }
        self.flush()
    }

    fn write(&mut self, thread: u32, event: &Event) -> io::Result<()> {
        let before = self.chunk.len();
        self.encode(thread, event)?;
        if self.written + (self.chunk.len() + CLOSE.len()) as u64 > self.most {
            self.chunk.truncate(before);
            self.flush()?;
            return Err(io::Error::other("it has reached --trace-bytes"));
        }
        if self.chunk.len() < CHUNK_BYTES {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.chunk)?;
        self.written += self.chunk.len() as u64;
        self.chunk.clear();
        Ok(())
    }

    fn encode(&mut self, tid: u32, event: &Event) -> io::Result<()> {
        let (pid, out) = (self.pid, &mut self.chunk);
        write!(out, ",\n{{\"pid\":{pid},\"tid\":{tid},")?;
        let name = match event {
            Event::Slice(name, since, until) => {
                let (ts, dur) = (micros(*since), micros(until - since));
                write!(out, r#""ph":"X","ts":{ts},"dur":{dur}"#)?;
                name
            }
            Event::Arrow(point, way, id, at) => {
                let ph = match point {
                    Point::Start => r#""ph":"s""#,
                    Point::Step => r#""ph":"t""#,
                    // In the slice around this moment, not in the next one.
                    Point::End => r#""ph":"f","bp":"e""#,
                };
                write!(
                    out,
                    r#"{ph},"ts":{},"id":"{id:#x}","cat":"way""#,
                    micros(*at)
                )?;
                match way {
                    Way::Request => "request",
                    Way::Message => "message",
                    Way::Postbox => &format!("postbox {pid}"),
                }
            }
        };
        out.write_all(br#","name":"#)?;
        // A path may have quotes.
        serde_json::to_writer(&mut *out, name)?;
        out.write_all(b"}")
    }

    /// A mark through the whole process.
    fn mark(&mut self, what: &str) -> io::Result<()> {
        let place = format!(r#""pid":{0},"tid":{0},"ts":{1}"#, self.pid, micros(now()));
        let kind = r#""ph":"i","s":"p""#;
        write!(self.chunk, ",\n{{{kind},{place},\"name\":\"{what}\"}}")
    }
}

/// Microseconds, as the format has them.
fn micros(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}
