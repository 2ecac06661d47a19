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
use std::{process, thread};

use crossbeam_channel::{Receiver, bounded};
use serde_json::{Map, Value};

use super::{Point, Way, now};
use crate::retry::supervised;
use crate::sync::{lock, unpoisoned};

/// The default bound of a file.
pub const MOST_BYTES: u64 = 256 << 20;

/// Most events, slices and points of arrows, that wait to be written.
const MOST: usize = 65_536;

/// How often they are written. A thread that waited for each event would have to be woken
/// for each, which costs more than the event.
const PERIOD: Duration = Duration::from_millis(100);

/// Written at once, about.
const CHUNK_BYTES: usize = 64 * 1024;

/// How long the end of a process waits for the end of the file.
const END_TIME: Duration = Duration::from_secs(2);

const CLOSE: &[u8] = b"\n]\n";

/// What a thread has done, on the clock of [`now`].
pub(super) struct Slice {
    pub(super) name: Cow<'static, str>,
    pub(super) since: u64,
    pub(super) until: u64,
    pub(super) args: Map<String, Value>,
    pub(super) arrows: Vec<(Point, Way, u64)>,
}

/// What waits to be written.
#[derive(Default)]
struct Waiting {
    /// With the number of the thread, and at first with its name.
    slices: Vec<(u32, Option<String>, Box<Slice>)>,
    events: usize,
    dropped: usize,
    /// Nothing comes any more.
    last: bool,
}

static ON: AtomicBool = AtomicBool::new(false);
static WANTED: Condvar = Condvar::new();
static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    slices: Vec::new(),
    events: 0,
    dropped: 0,
    last: false,
});

thread_local! {
    /// This thread's number, and whether the trace has its name.
    static THREAD: Cell<(u32, bool)> = const { Cell::new((0, false)) };
}

pub(super) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Puts in a slice of the thread that calls.
pub(super) fn push(slice: Box<Slice>) {
    let (mut number, named) = THREAD.get();
    if number == 0 {
        number = rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .cast_unsigned();
    }
    let name = || thread::current().name().unwrap_or("?").to_owned();
    let name = (!named).then(name);
    let kept = lock(&WAITING).push(MOST, (number, name, slice));
    THREAD.set((number, named || kept));
}

impl Waiting {
    /// Whether there was room among at most so many events.
    fn push(&mut self, most: usize, slice: (u32, Option<String>, Box<Slice>)) -> bool {
        let events = 1 + slice.2.arrows.len();
        let fits = self.events + events <= most;
        if fits {
            self.events += events;
            self.slices.push(slice);
        } else {
            self.dropped += events;
        }
        if self.events > most / 2 {
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
        let ended = loop {
            let few = |it: &mut Waiting| !it.last && it.events <= MOST / 2;
            let waited = WANTED.wait_timeout_while(lock(&WAITING), PERIOD, few);
            let waiting = std::mem::take(&mut *unpoisoned(waited).0);
            let last = waiting.last;
            match self.write(waiting) {
                Ok(()) if !last => {}
                ended => break ended,
            }
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "the trace ends here; the service goes on");
            ON.store(false, Ordering::Relaxed);
            *lock(&WAITING) = Waiting::default();
        }
        // Without the rest of an event that was not written whole.
        let whole = self.file.set_len(self.written);
        let end = whole.and_then(|()| self.file.seek(SeekFrom::End(0)));
        let _ = end.and_then(|_| self.file.write_all(CLOSE));
    }

    fn write(&mut self, waiting: Waiting) -> io::Result<()> {
        for (tid, name, slice) in waiting.slices {
            let before = self.chunk.len();
            self.slice(tid, name, &slice)?;
            if self.written + (self.chunk.len() + CLOSE.len()) as u64 > self.most {
                self.chunk.truncate(before);
                self.flush()?;
                return Err(io::Error::other("it has reached --trace-bytes"));
            }
            if self.chunk.len() >= CHUNK_BYTES {
                self.flush()?;
            }
        }
        let dropped = waiting.dropped;
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

    fn slice(&mut self, tid: u32, thread: Option<String>, slice: &Slice) -> io::Result<()> {
        let (pid, since) = (self.pid, micros(slice.since));
        let out = &mut self.chunk;
        let place = format!(r#""pid":{pid},"tid":{tid}"#);
        if let Some(name) = thread.map(Value::from) {
            let name = format_args!(r#""name":"thread_name","args":{{"name":{name}}}"#);
            write!(out, ",\n{{\"ph\":\"M\",{place},{name}}}")?;
        }
        let name = serde_json::to_string(&slice.name)?;
        let duration = micros(slice.until - slice.since);
        let args = serde_json::to_string(&slice.args)?;
        let what = format_args!(r#""name":{name},"args":{args}"#);
        write!(
            out,
            ",\n{{\"ph\":\"X\",{place},\"ts\":{since},\"dur\":{duration},{what}}}"
        )?;
        for (point, way, id) in &slice.arrows {
            let ph = match point {
                Point::Start => r#""ph":"s""#,
                Point::Step => r#""ph":"t""#,
                // In the slice around this moment, not in the next one.
                Point::End => r#""ph":"f","bp":"e""#,
            };
            let name = match way {
                Way::Request => "request",
                Way::Message => "message",
                Way::Postbox => &format!("postbox {pid}"),
            };
            let what = format_args!(r#""name":"{name}","cat":"way","id":"{id:#x}""#);
            write!(out, ",\n{{{ph},{place},\"ts\":{since},{what}}}")?;
        }
        Ok(())
    }

    /// A mark through the whole process.
    fn mark(&mut self, what: &str) -> io::Result<()> {
        let (pid, ts) = (self.pid, micros(now()));
        let place = format!(r#""pid":{pid},"tid":{pid},"ts":{ts},"s":"p""#);
        write!(
            self.chunk,
            ",\n{{\"ph\":\"i\",{place},\"name\":\"{what}\"}}"
        )
    }
}

/// Microseconds, as the format has them.
fn micros(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_bound_events_are_counted() {
        let slice = |arrows: usize| {
            let slice = Slice {
                name: "work".into(),
                since: 1,
                until: 2,
                args: Map::new(),
                arrows: vec![(Point::Step, Way::Message, 7); arrows],
            };
            (1, None, Box::new(slice))
        };
        let mut waiting = Waiting::default();
        assert!(waiting.push(8, slice(3)) && waiting.push(8, slice(2)));
        assert!(!waiting.push(8, slice(1)), "there is room for one event");
        assert!(waiting.push(8, slice(0)));
        assert!(!waiting.push(8, slice(0)));
        assert_eq!((waiting.events, waiting.dropped), (8, 3));
    }
}
