//! Ends streams before their time: one by one when a server drains, and each when
//! it has reached the greatest age. Publishing a message costs nothing of this.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::grpc::STACK_BYTES;
use crate::retry::supervised;
use crate::sync::lock;

/// The greatest age of a stream is up to a tenth shorter or longer than the one that
/// was asked for, so that those of one moment do not come back in one moment.
const JITTER: f64 = 0.1;

/// How often the ages are looked at.
const LOOK: Duration = Duration::from_millis(250);

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
pub struct Ends {
    open: Arc<Mutex<Open>>,
    age: Option<Duration>,
}

#[derive(Default)]
struct Open {
    closing: bool,
    /// By number; and when each is due, if ever.
    streams: HashMap<u64, (Weak<dyn Ending>, Option<Instant>)>,
}

impl Ends {
    /// With an `age` it starts the thread "stream-age", which ends with the last clone.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(age: Option<Duration>) -> io::Result<Self> {
        let open = Arc::<Mutex<Open>>::default();
        if age.is_some() {
            let weak = Arc::downgrade(&open);
            let work = move || {
                while let Some(open) = weak.upgrade() {
                    let error = Error::unavailable("max stream age");
                    due(&open).for_each(|stream| stream.end_early(error.clone()));
                    drop(open);
                    thread::sleep(LOOK);
                }
            };
            let thread = thread::Builder::new().name("stream-age".into());
            let thread = thread.stack_size(STACK_BYTES);
            thread.spawn(move || supervised(&work))?;
        }
        Ok(Self { open, age })
    }

    /// Whether no stream may be opened any more.
    pub fn is_closing(&self) -> bool {
        lock(&self.open).closing
    }

    /// From now on the stream of this number may be ended early; at once if a drain has
    /// begun since it got its place.
    pub(in crate::grpc) fn add(&self, number: u64, stream: Weak<dyn Ending>) {
        let due = self.age.map(|age| {
            let share = 1.0 + JITTER * (2.0 * fastrand::f64() - 1.0);
            Instant::now() + age.mul_f64(share)
        });
        let mut open = lock(&self.open);
        if !open.closing {
            open.streams.insert(number, (stream, due));
            return;
        }
        drop(open);
        if let Some(stream) = stream.upgrade() {
            stream.end_early(Error::shutting_down());
        }
    }

    pub fn remove(&self, number: u64) {
        lock(&self.open).streams.remove(&number);
    }

    /// Refuses new streams, and ends those that are open in random order, evenly over
    /// this time. Blocks for all of it.
    pub fn drain(&self, over: Duration) {
        let started = Instant::now();
        let mut streams: Vec<_> = {
            let mut open = lock(&self.open);
            open.closing = true;
            let all = std::mem::take(&mut open.streams);
            all.into_values().map(|(stream, _)| stream).collect()
        };
        fastrand::shuffle(&mut streams);
        let all = streams.len() as f64;
        for (n, stream) in streams.into_iter().enumerate() {
            sleep_until(started + over.mul_f64(n as f64 / all));
            if let Some(stream) = stream.upgrade() {
                stream.end_early(Error::shutting_down());
            }
        }
        sleep_until(started + over);
    }
}

/// Those that are due; again after [`PATIENCE`], for peers that do not read.
fn due(open: &Mutex<Open>) -> impl Iterator<Item = Arc<dyn Ending>> {
    let now = Instant::now();
    let mut found = Vec::new();
    for (stream, due) in lock(open).streams.values_mut() {
        if due.is_some_and(|due| due <= now) {
            *due = Some(now + PATIENCE);
            found.push(stream.clone());
        }
    }
    found.into_iter().filter_map(|stream| stream.upgrade())
}

fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Ended(Mutex<Vec<Error>>);

    impl Ending for Ended {
        fn end_early(&self, error: Error) {
            lock(&self.0).push(error);
        }
    }

    #[test]
    fn a_stream_that_a_drain_overtakes_is_ended_too() {
        let ends = Ends::start(None).unwrap();
        let [before, between] = [0; 2].map(|_| Arc::new(Ended::default()));
        let weak = |stream: &Arc<Ended>| Arc::downgrade(stream) as Weak<dyn Ending>;
        ends.add(1, weak(&before));
        ends.drain(Duration::ZERO);
        ends.add(2, weak(&between));
        for stream in [before, between] {
            assert_eq!(*lock(&stream.0), [Error::shutting_down()]);
        }
    }
}
