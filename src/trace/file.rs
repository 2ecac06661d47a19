//! The file, and the thread "trace" that writes it.
//!
//! One event a line, with the comma before it, so that a file that was cut off only lacks
//! its bracket, which viewers do without. What cannot be written ends the trace, never
//! the service.
//! Source: "Trace Event Format", the Chromium project.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use serde::Serialize;
use serde_json::Value;

use super::buffer::{self, Batch, Flow, Record, Slice};
use super::{Point, Way, now};
use crate::retry::supervised;

/// How often what has come is written.
const PERIOD: Duration = Duration::from_millis(100);

/// How often the log tells of dropped events.
const DROPPED_PERIOD: Duration = Duration::from_secs(10);

/// Written at once, about.
const CHUNK_BYTES: usize = 64 * 1024;

/// Room for the last event and the end, whatever the bound.
const END_BYTES: u64 = 256;

/// The end of the file.
const CLOSE: &[u8] = b"\n]\n";

/// How long the end of a process waits for the file.
const END_TIME: Duration = Duration::from_secs(2);

/// The thread, which ends after [`buffer::close`].
pub(super) struct Writing(Receiver<()>);

impl Writing {
    /// Waits for the end of the file, not for long.
    pub(super) fn wait(&self) {
        if self
            .0
            .recv_timeout(END_TIME)
            .is_err_and(|it| it.is_timeout())
        {
            tracing::warn!("the trace's file takes no more; it has no end");
        }
    }
}

/// Begins the file and starts the thread.
pub(super) fn start(path: &Path, most: u64, process: &str) -> io::Result<Writing> {
    let mut writer = Writer {
        file: File::create(path)?,
        pid: process::id(),
        most,
        written: 0,
        chunk: b"[".to_vec(),
        full: false,
        dropped: 0,
        told: None,
    };
    let utc = chrono::Utc::now().to_rfc3339();
    writer.name("process_name", writer.pid, process);
    writer.mark("the trace begins", &[("utc", utc.into())]);
    writer.flush()?;
    let (over, ended) = bounded::<()>(0);
    let thread = thread::Builder::new().name("trace".into());
    thread.spawn(move || {
        let _until_its_end = over;
        supervised(|| writer.run());
    })?;
    Ok(Writing(ended))
}

struct Writer {
    file: File,
    pid: u32,
    most: u64,
    /// Bytes in the file, of whole events.
    written: u64,
    /// What is to be written next, whole events too.
    chunk: Vec<u8>,
    /// An event had no room in the file.
    full: bool,
    /// Events that were dropped since the log told of it, and when that was.
    dropped: usize,
    told: Option<Instant>,
}

/// The fields in the order in which others write them.
#[derive(Default, Serialize)]
struct Event<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    ph: &'static str,
    pid: u32,
    tid: u32,
    /// Microseconds.
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// An arrow ends in the slice around this time, not in the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    /// A mark goes through the whole process.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Notes::is_empty")]
    args: Notes<'a>,
}

#[derive(Default)]
struct Notes<'a>(&'a [(&'static str, Value)]);

impl Notes<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Notes<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Writer {
    fn run(&mut self) {
        loop {
            let batch = buffer::take(PERIOD);
            let last = batch.last;
            let ended = match self.write(batch) {
                Ok(()) if self.full => {
                    let bytes = self.most;
                    tracing::warn!(bytes, "the trace has reached --trace-bytes and ends here");
                    self.end("the bound of the file is reached")
                }
                Ok(()) if !last => continue,
                Ok(()) => self.end("the trace ends"),
                Err(error) => Err(error),
            };
            buffer::turn_off();
            if let Err(error) = ended {
                tracing::error!(%error, "the trace cannot be written and ends here");
                // What is there stays readable, if the file system lets it.
                let whole = self.file.set_len(self.written);
                let _ = whole.and_then(|()| self.file.seek(SeekFrom::End(0)));
                let _ = self.file.write_all(CLOSE);
            }
            return;
        }
    }

    fn write(&mut self, batch: Batch) -> io::Result<()> {
        for record in batch.records {
            match record {
                Record::Thread(tid, name) => self.name("thread_name", tid, &name),
                Record::Slice(tid, slice) => self.slice(tid, &slice),
            }
            if self.chunk.len() >= CHUNK_BYTES {
                self.flush()?;
            }
        }
        if batch.dropped > 0 {
            let count = batch.dropped.into();
            self.mark("events were dropped", &[("events", count)]);
            self.tell_dropped(batch.dropped);
        }
        self.flush()
    }

    fn end(&mut self, why: &str) -> io::Result<()> {
        // There is room for it.
        self.most += END_BYTES;
        self.full = false;
        self.mark(why, &[]);
        self.chunk.extend_from_slice(CLOSE);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.chunk)?;
        self.written += self.chunk.len() as u64;
        self.chunk.clear();
        Ok(())
    }

    fn slice(&mut self, tid: u32, slice: &Slice) {
        let ts = micros(slice.since);
        self.event(Event {
            name: &slice.name,
            ph: "X",
            tid,
            ts,
            dur: Some(micros(slice.until - slice.since)),
            args: Notes(&slice.notes),
            ..Event::default()
        });
        let postbox = format!("postbox {}", self.pid);
        for Flow { point, way, id } in &slice.flows {
            let (cat, name) = match way {
                Way::Request => ("request", "request"),
                Way::Message => ("message", "message"),
                Way::Postbox => ("message", &*postbox),
            };
            let (ph, bp) = match point {
                Point::Start => ("s", None),
                Point::Step => ("t", None),
                Point::End => ("f", Some("e")),
            };
            self.event(Event {
                name,
                cat: Some(cat),
                ph,
                tid,
                ts,
                id: Some(format!("{id:#x}")),
                bp,
                ..Event::default()
            });
        }
    }

    /// The name of a thread or process.
    fn name(&mut self, what: &str, tid: u32, name: &str) {
        self.event(Event {
            name: what,
            ph: "M",
            tid,
            args: Notes(&[("name", name.into())]),
            ..Event::default()
        });
    }

    /// A mark of this moment, through the whole process.
    fn mark(&mut self, what: &str, notes: &[(&'static str, Value)]) {
        self.event(Event {
            name: what,
            ph: "i",
            tid: self.pid,
            ts: micros(now()),
            s: Some("p"),
            args: Notes(notes),
            ..Event::default()
        });
    }

    fn event(&mut self, mut event: Event<'_>) {
        event.pid = self.pid;
        let before = self.chunk.len();
        let comma: &[u8] = if self.written == 0 && before <= 1 {
            b"\n"
        } else {
            b",\n"
        };
        self.chunk.extend_from_slice(comma);
        let encoded = serde_json::to_writer(&mut self.chunk, &event);
        encoded.expect("strings and numbers, into memory");
        if self.full || self.written + self.chunk.len() as u64 + END_BYTES > self.most {
            self.full = true;
            self.chunk.truncate(before);
        }
    }

    fn tell_dropped(&mut self, events: usize) {
        self.dropped += events;
        if self
            .told
            .is_none_or(|told| told.elapsed() >= DROPPED_PERIOD)
        {
            self.told = Some(Instant::now());
            let events = std::mem::take(&mut self.dropped);
            tracing::warn!(
                events,
                "the trace cannot keep up; these events are not in it"
            );
        }
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}
