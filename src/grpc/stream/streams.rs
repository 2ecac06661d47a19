//! Starts streams: registers the subscription, starts the thread and the task.

use std::future::{Future, ready};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use grpcio::Environment;

use super::call::{Call, Framing, OneByOne, Task};
use super::delivery::Delivery;
use super::ends::{Ending, Ends};
use super::places::{Place, Places};
use super::wake_queue::WakeQueues;
use crate::error::{Code, Error};
use crate::fanout::broadcast;
use crate::grpc::STACK_BYTES;
use crate::grpc::handler::{Caller, StreamSink};
use crate::grpc::journal::{Journal, StreamLog};
use crate::grpc::meter;
use crate::grpc::method::Encoded;
use crate::status;

/// How long a peer may take to read what it was sent before the final status, and
/// how long the status may wait for it.
pub const STATUS_WAIT: Duration = Duration::from_secs(10);

/// A subscription to what a stream sends.
pub type Pair = broadcast::Pair<Encoded>;

/// What [`Streams::serve`] serves.
pub struct Opening {
    pub pair: Pair,
    /// Sent before all messages.
    pub first: Option<Encoded>,
    pub framing: Box<dyn Framing>,
}

impl Opening {
    /// Messages one by one.
    ///
    /// # Errors
    /// UNAVAILABLE when the broadcast is closed.
    pub fn one_by_one(
        pair: Result<Pair, impl Into<Error>>,
        first: Option<Encoded>,
    ) -> Result<Self, Error> {
        let framing = Box::new(OneByOne);
        Ok(Self {
            pair: pair.map_err(Into::into)?,
            first,
            framing,
        })
    }
}

/// All streams of a process: bounds their number, and logs them.
#[derive(Clone)]
pub struct Streams {
    places: Places,
    queues: WakeQueues,
    journal: Arc<Journal>,
    ends: Ends,
    /// Those that are begun here are ended early, too.
    listed: bool,
}

impl Streams {
    /// Starts the thread "stream-log", and with a greatest `age` of a stream
    /// "stream-age"; they end with the last clone.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn new(
        limit: usize,
        age: Option<Duration>,
        environment: &Arc<Environment>,
    ) -> std::io::Result<Self> {
        let ends = Ends::start(age)?;
        Ok(Self {
            places: Places::new(limit, ends.clone()),
            queues: WakeQueues::start(environment)?,
            journal: Journal::start()?,
            ends,
            listed: true,
        })
    }

    /// For streams that go on while the server drains, at any age: they tell of it.
    #[must_use]
    pub fn to_the_end(&self) -> Self {
        Self {
            listed: false,
            ..self.clone()
        }
    }

    /// Refuses new streams with UNAVAILABLE, and ends those that are open likewise:
    /// in random order, evenly over this time. Blocks for all of it.
    pub fn drain(&self, over: Duration) {
        self.ends.drain(over);
    }

    /// Serves one server stream: registers the subscription before it returns,
    /// and does the rest on a thread of its own. Called on a completion-queue thread;
    /// never blocks.
    pub fn serve(
        &self,
        caller: &Caller,
        sink: StreamSink,
        name: &str,
        open: impl FnOnce() -> Result<Opening, Error>,
    ) {
        self.serve_when(caller, sink, name, || ready(open()));
    }

    /// As [`Streams::serve`], once what `open` returns is done.
    pub fn serve_when<O>(
        &self,
        caller: &Caller,
        sink: StreamSink,
        name: &str,
        open: impl FnOnce() -> O,
    ) where
        O: Future<Output = Result<Opening, Error>> + Send + 'static,
    {
        let (number, name) = self.number_and_name(name);
        let stream_log = self.stream_log(&name, caller.call.take());
        let begun = self.place(number).map(|place| (place, open()));
        let (streams, pass) = (self.clone(), caller.pass.clone());
        caller.spawn(async move {
            let opened = match begun {
                Ok((place, opening)) => opening.await.map(|opening| (place, opening)),
                Err(error) => Err(error),
            };
            let (place, opening) = match opened {
                Ok(opened) => opened,
                Err(error) => return refuse(sink, &error, stream_log.as_deref()).await,
            };
            let call = Call::new(sink, opening.framing, place, stream_log.clone());
            let delivery = streams.delivery(opening.pair, call, opening.first);
            streams.list(number, Arc::downgrade(&delivery) as Weak<dyn Ending>);
            let leased = Arc::downgrade(&delivery);
            let _lease = pass.lease(move |error| {
                if let Some(delivery) = leased.upgrade() {
                    delivery.cut(|call| call.early = Some(error));
                }
            });
            let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES);
            let running = delivery.clone();
            if let Err(error) = thread.spawn(move || running.run(STATUS_WAIT)) {
                tracing::error!(%error, "cannot start a thread for a stream");
                if let Some(sink) = delivery.take_back().and_then(Call::into_sink) {
                    let error = Error::new(Code::ResourceExhausted, "no thread left for a stream");
                    refuse(sink, &error, stream_log.as_deref()).await;
                }
                return;
            }
            if let Some(stream_log) = stream_log {
                stream_log.opened();
            }
            Task(delivery).await;
        });
    }

    fn delivery(&self, pair: Pair, call: Call, first: Option<Encoded>) -> Arc<Delivery<Call>> {
        let queue = self.queues.own();
        Arc::new(Delivery::new(pair, call, first, move |task| {
            queue.push(task);
        }))
    }

    /// Log entry for a stream; `None` if streams are neither logged nor counted.
    pub(in crate::grpc) fn stream_log(
        &self,
        stream: &str,
        call: Option<meter::Call>,
    ) -> Option<Arc<StreamLog>> {
        self.journal.stream_log(stream, call)
    }

    /// How many streams are open.
    pub fn open(&self) -> usize {
        self.places.taken()
    }

    /// A stream's number and its thread's name, "name-7".
    pub(in crate::grpc) fn number_and_name(&self, name: &str) -> (u64, String) {
        let number = self.places.next_number();
        (number, format!("{name}-{number}"))
    }

    pub(in crate::grpc) fn place(&self, number: u64) -> Result<Place, Error> {
        if self.listed && self.ends.is_closing() {
            return Err(Error::shutting_down());
        }
        self.places.take(number)
    }

    /// To be called once the stream has its place, before it can be over.
    pub(in crate::grpc) fn list(&self, number: u64, stream: Weak<dyn Ending>) {
        if self.listed {
            self.ends.add(number, stream);
        }
    }

    /// Waits until all streams are over, at most so long. Returns how many are
    /// left; the log has all ends then.
    pub fn wait_until_over(&self, timeout: Duration) -> usize {
        let left = self.places.wait_until_free(timeout);
        self.journal.log_withheld();
        left
    }
}

async fn refuse(sink: StreamSink, error: &Error, stream_log: Option<&StreamLog>) {
    if let Some(stream_log) = stream_log {
        stream_log.refused(error);
    }
    drop(sink.fail(status::to_grpc(error)).await);
}
