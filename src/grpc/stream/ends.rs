//! Ends streams before their time: one by one when a server drains, and each when
//! it has reached the greatest age. Publishing a message costs nothing of this.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::error::Error;
use crate::grpc::STACK_BYTES;
use crate::retry::supervised;
use crate::sync::lock;

/// The greatest age of a stream is up to a tenth shorter or longer than the one that
/// was asked for, so that those of one moment do not come back in one moment.
const JITTER: f64 = 0.1;

/// How long a stream may take to send what it has before its end, for its age.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream that can be ended early.
pub(in crate::grpc) trait Ending: Send + Sync {
    /// Ends it with this error, behind what there is to send. Called again, it cancels
    /// the call. From any thread; never blocks.
    fn end_early(&self, error: Error);
}

/// The open streams of a process that may be ended early; clones share them.
#[derive(Clone)]
pub struct Ends(Arc<Shared>);

struct Shared {
    age: Option<Duration>,
    open: Mutex<Open>,
    /// Tells the thread of a stream that is due before all others.
    sooner: Sender<()>,
}

#[derive(Default)]
struct Open {
    closing: bool,
    streams: HashMap<u64, (Weak<dyn Ending>, Option<Instant>)>,
    due: BTreeSet<(Instant, u64)>,
}

impl Ends {
    /// With an `age` it starts the thread "stream-age", which ends with the last clone.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(age: Option<Duration>) -> io::Result<Self> {
        let (sooner, woken) = bounded(1);
        let shared = Arc::new(Shared {
            age,
            open: Mutex::default(),
            sooner,
        });
        if age.is_some() {
            let weak = Arc::downgrade(&shared);
            let thread = thread::Builder::new().name("stream-age".into());
            let work = move || run(&weak, &woken);
            thread
                .stack_size(STACK_BYTES)
                .spawn(move || supervised(&work))?;
        }
        Ok(Self(shared))
    }

    /// Whether no stream may be opened any more.
    pub fn is_closing(&self) -> bool {
        lock(&self.0.open).closing
    }

    /// From now on the stream of this number may be ended early.
    pub(in crate::grpc) fn add(&self, number: u64, stream: Weak<dyn Ending>) {
        let due = self.0.age.map(|age| {
            let share = 1.0 + JITTER * (2.0 * fastrand::f64() - 1.0);
            Instant::now() + age.mul_f64(share)
        });
        let mut open = lock(&self.0.open);
        open.streams.insert(number, (stream, due));
        if let Some(due) = due {
            self.schedule(&mut open, due, number);
        }
    }

    fn schedule(&self, open: &mut Open, due: Instant, number: u64) {
        open.due.insert((due, number));
        if open.due.first() == Some(&(due, number)) {
            // Full: it is about to look.
            let _ = self.0.sooner.try_send(());
        }
    }

    pub fn remove(&self, number: u64) {
        let mut open = lock(&self.0.open);
        if let Some((_, Some(due))) = open.streams.remove(&number) {
            open.due.remove(&(due, number));
        }
    }

    /// Refuses new streams, and ends those that are open in random order, evenly over
    /// this time. Blocks for all of it.
    pub fn drain(&self, over: Duration) {
        let started = Instant::now();
        let mut numbers: Vec<_> = {
            let mut open = lock(&self.0.open);
            open.closing = true;
            open.streams.keys().copied().collect()
        };
        fastrand::shuffle(&mut numbers);
        let all = numbers.len() as f64;
        for (n, number) in numbers.into_iter().enumerate() {
            sleep_until(started + over.mul_f64(n as f64 / all));
            self.end(number, Error::shutting_down());
        }
        sleep_until(started + over);
    }

    fn end(&self, number: u64, error: Error) {
        let stream = lock(&self.0.open)
            .streams
            .get(&number)
            .map(|it| it.0.clone());
        if let Some(stream) = stream.and_then(|stream| stream.upgrade()) {
            stream.end_early(error);
        }
    }

    /// Ends the streams that are due. Returns when the next one is.
    fn end_due(&self) -> Option<Instant> {
        let now = Instant::now();
        loop {
            let mut open = lock(&self.0.open);
            let (due, number) = *open.due.first()?;
            if due > now {
                return Some(due);
            }
            open.due.pop_first();
            // For a peer that does not read: then it is cancelled.
            let again = now + PATIENCE;
            if let Some((_, due)) = open.streams.get_mut(&number) {
                *due = Some(again);
                self.schedule(&mut open, again, number);
            }
            drop(open);
            self.end(number, Error::unavailable("max stream age"));
        }
    }
}

/// The thread "stream-age".
fn run(weak: &Weak<Shared>, woken: &Receiver<()>) {
    let mut next = None;
    loop {
        let news = match next {
            None => woken.recv().map_err(RecvTimeoutError::from),
            Some(due) => woken.recv_deadline(due),
        };
        if news == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        let Some(shared) = weak.upgrade() else { return };
        next = Ends(shared).end_due();
    }
}

fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}
