//! Waiting for the one request message of a call, and until a large answer is taken,
//! within bounds.
//!
//! The C core has 1,024 places per completion queue for calls that begin. grpcio
//! gives the place of a unary call or a server stream back only when its message
//! has come, which a peer may never send. So all methods are registered as client
//! streams, whose place is free again at once, and the message is waited for here.
//! That costs an operation more for each call. The C core's filter for the size of
//! messages would cost as much, so the size is looked at here too.

use std::collections::{BTreeMap, HashMap};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use futures_util::StreamExt as _;
use grpcio::{MessageReader, Method, RequestStream};

use super::STACK_BYTES;
use crate::error::{Code, Error};
use crate::retry::supervised;
use crate::sync::lock;

/// How long a call may wait for its message.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long an answer may wait for a client that does not take it.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// Calls that wait: of one connection, and of all.
const OF_A_CONNECTION: usize = 256;
const OF_ALL: usize = 4096;

/// A message that came together with its call is handed over behind the events
/// that are queued up, so only a call that is older than this counts. Younger ones
/// are bounded by the C core's limit of calls of a connection.
const GRACE: Duration = Duration::from_millis(100);

/// How often the bounds are checked, as long as any call waits.
const CHECK: Duration = Duration::from_millis(100);

/// The calls of a server whose request has not come yet, or whose large answer is
/// not taken.
pub(super) struct Unfinished {
    state: Mutex<State>,
    /// Tells the thread that there is something to watch.
    watch: Sender<()>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// The oldest first.
    calls: BTreeMap<u64, Call>,
    watched: bool,
}

struct Call {
    since: Instant,
    waits: Waits,
    peer: String,
    waker: Option<Waker>,
    refused: Option<Error>,
}

/// What a call waits for.
#[derive(Clone, Copy)]
enum Waits {
    ForRequest,
    /// For its client to take the answer.
    ForTaking,
}

impl Unfinished {
    /// Starts the thread "request-timer", which ends with this.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start() -> io::Result<Arc<Self>> {
        // One place: only the first call that waits asks.
        let (watch, asked) = bounded(1);
        let unfinished = Arc::new(Self {
            state: Mutex::default(),
            watch,
        });
        let weak = Arc::downgrade(&unfinished);
        let thread = thread::Builder::new().name("request-timer".into());
        let work = move || {
            for () in &asked {
                while weak.upgrade().is_some_and(|it| it.check(Instant::now())) {
                    thread::sleep(CHECK);
                }
            }
        };
        let thread = thread.stack_size(STACK_BYTES);
        thread.spawn(move || supervised(&work))?;
        Ok(unfinished)
    }

    /// Waits for the request of a call from this peer; returns the peer too.
    ///
    /// # Errors
    /// The status for the client: INTERNAL without a message or for one that
    /// cannot be decoded, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED.
    pub(super) async fn request<Q>(
        &self,
        peer: String,
        requests: &mut Requests,
        decoder: Decoder<Q>,
    ) -> (String, Result<Q, Error>) {
        let mut place = self.place(peer, Waits::ForRequest);
        let request = poll_fn(|cx| match requests.poll_next_unpin(cx) {
            Poll::Ready(request) => Poll::Ready(match request {
                // As grpcio says it for unary calls.
                None => Err(Error::new(Code::Internal, "No payload")),
                Some(request) => decoder.decode(request),
            }),
            Poll::Pending => place.wait(cx).map(Err),
        })
        .await;
        (place.leave(), request)
    }

    /// Sends an answer until it is taken, and gives up when that takes too long: what
    /// others are to get counts in the same budget. Then the call is cancelled.
    pub(super) async fn answer(&self, peer: String, sent: impl Future<Output = ()>) {
        let (mut place, mut sent) = (self.place(peer, Waits::ForTaking), pin!(sent));
        poll_fn(|cx| match sent.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => place.wait(cx).map(drop),
        })
        .await;
    }

    fn place(&self, peer: String, waits: Waits) -> Place<'_> {
        Place {
            unfinished: self,
            peer,
            waits,
            id: None,
        }
    }

    /// Refuses the calls that have waited too long, and those that are too many.
    /// Returns whether there is more to watch.
    fn check(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let (mut of_all, mut of_peer, mut wakers) = (0, HashMap::new(), Vec::new());
        for call in state.calls.values_mut() {
            let waited = now.saturating_duration_since(call.since);
            if waited < GRACE {
                break;
            }
            let refused = match call.waits {
                Waits::ForTaking if waited >= ANSWER_DEADLINE => {
                    late("the answer was not taken", ANSWER_DEADLINE)
                }
                // The budget of answers bounds how many these are.
                Waits::ForTaking => continue,
                Waits::ForRequest => {
                    let of_this = of_peer.entry(&*call.peer).or_insert(0);
                    *of_this += 1;
                    of_all += 1;
                    if waited >= DEADLINE {
                        late("the request did not come", DEADLINE)
                    } else if *of_this > OF_A_CONNECTION {
                        too_many(OF_A_CONNECTION, " of this connection")
                    } else if of_all > OF_ALL {
                        too_many(OF_ALL, "")
                    } else {
                        continue;
                    }
                }
            };
            if let Some(waker) = call.waker.take() {
                call.refused = Some(refused);
                wakers.push(waker);
            }
        }
        state.watched = !state.calls.is_empty();
        let watched = state.watched;
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        watched
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// The place of one call that waits, left when it is dropped.
struct Place<'a> {
    unfinished: &'a Unfinished,
    peer: String,
    waits: Waits,
    id: Option<u64>,
}

impl Place<'_> {
    /// Ready with the reason for which the call cannot wait any longer.
    fn wait(&mut self, cx: &Context<'_>) -> Poll<Error> {
        let mut state = self.unfinished.lock();
        if let Some(id) = self.id {
            let refused = state
                .calls
                .get_mut(&id)
                .and_then(|call| call.refused.take());
            return refused.map_or(Poll::Pending, Poll::Ready);
        }
        let id = state.next;
        state.next += 1;
        let call = Call {
            since: Instant::now(),
            waits: self.waits,
            peer: std::mem::take(&mut self.peer),
            waker: Some(cx.waker().clone()),
            refused: None,
        };
        state.calls.insert(id, call);
        self.id = Some(id);
        if !std::mem::replace(&mut state.watched, true) {
            // Full: the thread is about to look.
            let _ = self.unfinished.watch.try_send(());
        }
        Poll::Pending
    }

    fn leave(mut self) -> String {
        self.remove();
        std::mem::take(&mut self.peer)
    }

    fn remove(&mut self) {
        let id = self.id.take();
        let call = id.and_then(|id| self.unfinished.lock().calls.remove(&id));
        if let Some(call) = call {
            self.peer = call.peer;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A call's requests, not decoded yet.
pub(super) type Requests = RequestStream<MessageReader>;

/// Decodes requests up to a size. Its errors read as those of grpcio and of the
/// C core.
pub(super) struct Decoder<Q> {
    decode: fn(MessageReader) -> grpcio::Result<Q>,
    most: usize,
}

impl<Q> Clone for Decoder<Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q> Copy for Decoder<Q> {}

impl<Q> Decoder<Q> {
    /// For messages of at most so many bytes.
    pub(super) fn new<A>(method: &Method<Q, A>, most: usize) -> Self {
        let decode = method.req_de();
        Self { decode, most }
    }

    /// # Errors
    /// RESOURCE_EXHAUSTED, INTERNAL, or CANCELLED when the call is over.
    pub(super) fn decode(&self, request: grpcio::Result<MessageReader>) -> Result<Q, Error> {
        let request = request.map_err(|_| Error::client_left())?;
        let (bytes, most) = (request.len(), self.most);
        if bytes > most {
            let message = format!("Received message larger than max ({bytes} vs. {most})");
            return Err(Error::new(Code::ResourceExhausted, message));
        }
        (self.decode)(request).map_err(|error| {
            let message = format!("Failed to deserialize response message: {error:?}");
            Error::new(Code::Internal, message)
        })
    }
}

fn late(what: &str, most: Duration) -> Error {
    Error::new(Code::DeadlineExceeded, format!("{what} within {most:?}"))
}

fn too_many(limit: usize, whose: &str) -> Error {
    let message = format!("unfinished requests: {limit}{whose} are waiting, which is the limit");
    Error::new(Code::ResourceExhausted, message)
}
