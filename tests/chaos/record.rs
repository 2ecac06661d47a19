//! What was asked and seen in one run, with one monotonic clock.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::schedule::Fault;

/// What the clients of one service note.
pub trait Event: Clone + Send + Serialize + DeserializeOwned + 'static {
    /// Whether this is something that a service delivered, and that is judged.
    fn is_delivery(&self) -> bool;

    /// In words, for the history of a violation.
    fn tell(&self) -> String;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Note<E> {
    /// The fault has just been brought about.
    Begun(Fault),
    /// It is undone from now on.
    Ending(Fault),
    Saw(E),
}

/// A note, by which client, and when: nanoseconds since the run began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<E> {
    pub at: u64,
    pub by: u32,
    pub note: Note<E>,
}

struct Book<E> {
    clients: Vec<String>,
    records: Vec<Record<E>>,
}

/// Gives each client a pen, and collects what they wrote. May be cloned.
pub struct Recorder<E> {
    began: Instant,
    book: Arc<Mutex<Book<E>>>,
}

impl<E> Clone for Recorder<E> {
    fn clone(&self) -> Self {
        Self {
            began: self.began,
            book: self.book.clone(),
        }
    }
}

impl<E: Event> Recorder<E> {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            book: Arc::new(Mutex::new(Book {
                clients: Vec::new(),
                records: Vec::new(),
            })),
        }
    }

    /// A pen for a client, which has this name in the history.
    pub fn pen(&self, client: impl Into<String>) -> Pen<E> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.clients.push(client.into());
        Pen {
            by: u32::try_from(book.clients.len() - 1).expect("few clients"),
            recorder: self.clone(),
            written: Vec::new(),
        }
    }

    fn now(&self) -> u64 {
        let now = self.began.elapsed().as_nanos();
        u64::try_from(now).expect("no run of centuries")
    }

    /// All that was written with pens that are put away, by time.
    pub fn history(&self, head: Head) -> History<E> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = std::mem::take(&mut book.records);
        records.sort_by_key(|record| record.at);
        let head = Head {
            clients: book.clients.clone(),
            ..head
        };
        History { head, records }
    }
}

/// What one client notes; it goes to the recorder when this is dropped.
pub struct Pen<E: Event> {
    by: u32,
    recorder: Recorder<E>,
    written: Vec<Record<E>>,
}

impl<E: Event> Pen<E> {
    pub fn note(&mut self, event: impl Into<E>) {
        self.write(Note::Saw(event.into()));
    }

    pub fn write(&mut self, note: Note<E>) {
        self.write_at(self.recorder.now(), note);
    }

    /// What happened earlier, as a log tells.
    pub fn note_at(&mut self, at: u64, event: impl Into<E>) {
        self.write_at(at, Note::Saw(event.into()));
    }

    /// When it was so late, by a clock that has not been stepped.
    pub fn moment(&self, time: SystemTime) -> u64 {
        let now = self.recorder.now();
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).expect("no centuries");
        match time.elapsed() {
            Ok(ago) => now.saturating_sub(nanos(ago)),
            Err(ahead) => now.saturating_add(nanos(ahead.duration())),
        }
    }

    fn write_at(&mut self, at: u64, note: Note<E>) {
        let by = self.by;
        self.written.push(Record { at, by, note });
    }
}

impl<E: Event> Drop for Pen<E> {
    fn drop(&mut self) {
        let book = self.recorder.book.lock();
        let mut book = book.unwrap_or_else(PoisonError::into_inner);
        book.records.append(&mut self.written);
    }
}

/// Of which run a history is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub world: String,
    pub seed: u64,
    pub seconds: u64,
    pub clients: Vec<String>,
}

/// One run, by time.
#[derive(Clone, Debug, PartialEq)]
pub struct History<E> {
    pub head: Head,
    pub records: Vec<Record<E>>,
}

impl<E: Event> History<E> {
    /// What the clients saw, with the index of each record.
    pub fn events(&self) -> impl Iterator<Item = (usize, &Record<E>, &E)> {
        let records = self.records.iter().enumerate();
        records.filter_map(|(index, record)| match &record.note {
            Note::Saw(event) => Some((index, record, event)),
            _ => None,
        })
    }

    /// The times between which a program ran, one after the other, each with a
    /// margin outside: from just before it was started to just after it was gone.
    pub fn lives(&self, program: &str) -> Vec<(u64, u64)> {
        let mut lives = vec![(0, u64::MAX)];
        for record in &self.records {
            match &record.note {
                Note::Begun(fault) if fault.takes_down(program) => {
                    lives.last_mut().expect("a first one").1 = record.at;
                }
                Note::Ending(fault) if fault.takes_down(program) => {
                    lives.push((record.at, u64::MAX));
                }
                _ => {}
            }
        }
        lives
    }

    /// The same run with these records only, and the ends of programs in between.
    pub fn only(&self, indices: &[usize]) -> Self {
        let mut indices = indices.to_vec();
        if let (Some(first), Some(last)) = (indices.iter().min(), indices.iter().max()) {
            let between = (*first..*last).filter(|index| match &self.records[*index].note {
                Note::Begun(fault) | Note::Ending(fault) => fault.ends_a_program(),
                Note::Saw(_) => false,
            });
            indices.extend(between.collect::<Vec<_>>());
        }
        indices.sort_unstable();
        indices.dedup();
        Self {
            head: self.head.clone(),
            records: indices.iter().map(|i| self.records[*i].clone()).collect(),
        }
    }

    /// How many deliveries there are to judge.
    pub fn deliveries(&self) -> usize {
        self.events().filter(|(_, _, e)| e.is_delivery()).count()
    }

    /// One line of JSON for the run, and one for each record; compressed into a file
    /// that ends in `.gz`.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        let mut file: Box<dyn Write> = match is_compressed(path) {
            true => Box::new(GzEncoder::new(file, Compression::best())),
            false => Box::new(BufWriter::new(file)),
        };
        serde_json::to_writer(&mut file, &self.head)?;
        for record in &self.records {
            writeln!(file)?;
            serde_json::to_writer(&mut file, record)?;
        }
        writeln!(file)?;
        file.flush()
    }

    pub fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let file: Box<dyn Read> = match is_compressed(path) {
            true => Box::new(GzDecoder::new(file)),
            false => Box::new(file),
        };
        let mut lines = BufReader::new(file).lines();
        let head = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let head = serde_json::from_str(&head)?;
        let record = |line: io::Result<String>| Ok(serde_json::from_str(&line?)?);
        let records: io::Result<Vec<_>> = lines.map(record).collect();
        Ok(Self {
            head,
            records: records?,
        })
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "gz")
}
