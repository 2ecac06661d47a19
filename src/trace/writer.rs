//! The buffer of finished slices, and the thread "trace", which writes them to the file.
//!
//! One event a line, with the comma before it: a file that was cut off only lacks its
//! bracket, and viewers do without. Over the buffer's bound, events are dropped and
//! counted. What cannot be written ends the trace, never the service.
//! Source: "Trace Event Format", the Chromium project.

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;
use std::{fmt, process, thread};

use crossbeam_channel::{Receiver, bounded};
use serde_json::Value;

use super::{Point, Way, now};
use crate::retry::supervised;
use crate::sync::{lock, unpoisoned};

/// The default bound of a file.
pub const MOST_BYTES: u64 = 256 << 20;

/// Most events, slices and points of arrows, that wait to be written: 5 MiB, twice.
const MOST: usize = 65_536;

/// How often they are written. A thread that waited for each event would have to be woken
/// for each, which costs more than the event.
const PERIOD: Duration = Duration::from_millis(100);

/// Written at once, about.
const CHUNK_BYTES: usize = 64 * 1024;

/// How long the end of a process waits for the end of the file.
const END_TIME: Duration = Duration::from_secs(2);

const CLOSE: &[u8] = b"\n]\n";

/// What a thread has to tell; times are those of [`now`].
pub(super) enum Event {
    /// Its name, before all else.
    Thread(String),
    /// Name, beginning, end, and the status of an answer.
    Slice(Cow<'static, str>, u64, u64, Option<u16>),
    /// A point of the arrow with this id, at this time.
    Arrow(Point, Way, u64, u64),
}

/// What waits to be written.
struct Waiting {
    /// With the number of the thread.
    events: Vec<(u32, Event)>,
    dropped: usize,
    /// Nothing comes any more.
    last: bool,
}

static ON: AtomicBool = AtomicBool::new(false);
static WANTED: Condvar = Condvar::new();
static WAITING: Mutex<Waiting> = Mutex::new(Waiting::new());

thread_local! {
    /// This thread's number, and whether the trace has its name.
    static THREAD: Cell<(u32, bool)> = const { Cell::new((0, false)) };
}

pub(super) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Puts in an event of the thread that calls.
pub(super) fn push(event: Event) {
    let (mut number, mut named) = THREAD.get();
    let mut waiting = lock(&WAITING);
    if !named {
        number = rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .cast_unsigned();
        let name = thread::current().name().unwrap_or("?").to_owned();
        named = waiting.push(MOST, number, Event::Thread(name));
        THREAD.set((number, named));
    }
    waiting.push(MOST, number, event);
}

impl Waiting {
    const fn new() -> Self {
        Self {
            events: Vec::new(),
            dropped: 0,
            last: false,
        }
    }

    /// Whether there was room among at most so many events.
    fn push(&mut self, most: usize, thread: u32, event: Event) -> bool {
        let fits = self.events.len() < most;
        if fits {
            self.events.push((thread, event));
        } else {
            self.dropped += 1;
        }
        if self.events.len() == most / 2 {
            WANTED.notify_one();
        }
        fits
    }
}

/// A trace that is written. Dropping it writes what is left and ends the file.
pub struct Trace(Receiver<()>);

impl Drop for Trace {
    fn drop(&mut self) {
        ON.store(false, Ordering::Relaxed);
        lock(&WAITING).last = true;
        WANTED.notify_one();
        if self
            .0
            .recv_timeout(END_TIME)
            .is_err_and(|it| it.is_timeout())
        {
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
    let pid = process::id();
    let mut writer = Writer {
        file: File::create(file)?,
        pid,
        most,
        written: 0,
        dropped: 0,
        chunk: Vec::new(),
    };
    let utc = chrono::Utc::now().to_rfc3339();
    let name = format!(r#""name":"process_name","args":{{"name":"{name}"}}"#);
    write!(
        writer.chunk,
        "[\n{{\"ph\":\"M\",\"pid\":{pid},\"tid\":{pid},{name}}}"
    )?;
    writer.mark(&format!("the trace begins, {utc}"))?;
    writer.flush()?;
    let (over, ended) = bounded::<()>(0);
    let thread = thread::Builder::new().name("trace".into());
    thread.spawn(move || {
        let _over = over;
        supervised(|| writer.run());
    })?;
    ON.store(true, Ordering::Relaxed);
    Ok(Trace(ended))
}

struct Writer {
    file: File,
    pid: u32,
    most: u64,
    /// Bytes in the file, of whole events.
    written: u64,
    dropped: usize,
    /// What is to be written next, whole events too.
    chunk: Vec<u8>,
}

impl Writer {
    fn run(&mut self) {
        // Taken and given back in turn, so that neither grows anew.
        let mut waiting = Waiting::new();
        let ended = loop {
            let few = |it: &mut Waiting| !it.last && it.events.len() < MOST / 2;
            let waited = WANTED.wait_timeout_while(lock(&WAITING), PERIOD, few);
            std::mem::swap(&mut *unpoisoned(waited).0, &mut waiting);
            match self.write(&mut waiting) {
                Ok(()) if !waiting.last => {}
                ended => break ended,
            }
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "the trace ends here; the service goes on");
            ON.store(false, Ordering::Relaxed);
            *lock(&WAITING) = Waiting::new();
        }
        // Without the rest of an event that was not written whole.
        let whole = self.file.set_len(self.written);
        let end = whole.and_then(|()| self.file.seek(SeekFrom::End(0)));
        let _ = end.and_then(|_| self.file.write_all(CLOSE));
    }

    fn write(&mut self, waiting: &mut Waiting) -> io::Result<()> {
        for (thread, event) in waiting.events.drain(..) {
            let before = self.chunk.len();
            self.event(thread, &event)?;
            if self.written + (self.chunk.len() + CLOSE.len()) as u64 > self.most {
                self.chunk.truncate(before);
                self.flush()?;
                return Err(io::Error::other("it has reached --trace-bytes"));
            }
            if self.chunk.len() >= CHUNK_BYTES {
                self.flush()?;
            }
        }
        let dropped = std::mem::take(&mut waiting.dropped);
        if dropped > 0 {
            self.mark(&format!("{dropped} events were dropped"))?;
            if self.dropped == 0 {
                tracing::warn!("the trace cannot keep up; it tells how many events it drops");
            }
            self.dropped += dropped;
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.chunk)?;
        self.written += self.chunk.len() as u64;
        self.chunk.clear();
        Ok(())
    }

    fn event(&mut self, tid: u32, event: &Event) -> io::Result<()> {
        let (pid, out) = (self.pid, &mut self.chunk);
        write!(out, ",\n{{\"pid\":{pid},\"tid\":{tid},")?;
        match event {
            Event::Thread(name) => {
                let name = Value::from(&**name);
                write!(
                    out,
                    r#""ph":"M","name":"thread_name","args":{{"name":{name}}}"#
                )?;
            }
            Event::Slice(name, since, until, status) => {
                let (ts, dur) = (Micros(*since), Micros(until - since));
                write!(out, r#""ph":"X","ts":{ts},"dur":{dur},"name":"#)?;
                serde_json::to_writer(&mut *out, name)?;
                if let Some(status) = status {
                    write!(out, r#","args":{{"status":{status}}}"#)?;
                }
            }
            Event::Arrow(point, way, id, at) => {
                let ph = match point {
                    Point::Start => r#""ph":"s""#,
                    Point::Step => r#""ph":"t""#,
                    // In the slice around this moment, not in the next one.
                    Point::End => r#""ph":"f","bp":"e""#,
                };
                let ts = Micros(*at);
                write!(out, r#"{ph},"ts":{ts},"id":"{id:#x}","cat":"way","name":"#)?;
                match way {
                    Way::Request => out.extend_from_slice(br#""request""#),
                    Way::Message => out.extend_from_slice(br#""message""#),
                    Way::Postbox => write!(out, r#""postbox {pid}""#)?,
                }
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// A mark through the whole process.
    fn mark(&mut self, what: &str) -> io::Result<()> {
        let (pid, ts) = (self.pid, Micros(now()));
        let place = format!(r#""pid":{pid},"tid":{pid},"ts":{ts},"s":"p""#);
        write!(
            self.chunk,
            ",\n{{\"ph\":\"i\",{place},\"name\":\"{what}\"}}"
        )
    }
}

/// So many nanoseconds in microseconds, as the format has them.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_bound_events_are_counted() {
        let mut waiting = Waiting::new();
        let mut push = || waiting.push(2, 1, Event::Thread("a".into()));
        assert_eq!([push(), push(), push(), push()], [true, true, false, false]);
        assert_eq!((waiting.events.len(), waiting.dropped), (2, 2));
    }
}
