//! The boundary at which the C core's threads enter our code: each method is
//! registered here, its one request waited for, its answer encoded and counted.
//! No panic gets past it, since one would end a completion-queue thread for good.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use futures_channel::oneshot;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use grpcio::{
    ClientStreamingSink, DuplexSink, DuplexSinkFailure, Method, RpcContext, Service, ServiceBuilder,
};

use tracing::{Level, enabled};

use super::gate::{Gate, Pass};
use super::meter::{Call, Meter};
use super::method::{Encoded, as_registered};
use super::request::{Decoder, Requests, Unfinished};
use crate::access::Need;
use crate::budget::{Budget, Hold};
use crate::error::{Code, Error};
use crate::trace::{self, Point};
use crate::{access_log, status};

/// Smaller answers count, but are never refused: what the call itself takes in
/// the C core is more.
const SMALL_ANSWER: usize = 4096;

/// Where a server stream's messages go.
pub type StreamSink = DuplexSink<Encoded>;
pub type StreamSinkFailure = DuplexSinkFailure;

/// Where services register their methods.
pub struct Methods {
    builder: ServiceBuilder,
    unfinished: Arc<Unfinished>,
    budget: Budget,
    receive_bytes: usize,
    gate: Gate,
}

/// Who called which method.
pub struct Caller {
    pub(super) method: &'static str,
    /// As the C core writes it, a URI.
    pub(super) peer: String,
    pub(super) call: Cell<Option<Call>>,
    pub(super) pass: Pass,
    rest: Cell<Option<BoxFuture<'static, ()>>>,
}

impl Caller {
    fn new(
        ctx: &RpcContext<'_>,
        method: &'static str,
        meter: Option<&Arc<Meter>>,
        logged: bool,
    ) -> Self {
        Self {
            method,
            peer: ctx.peer(),
            call: Cell::new(Call::begin(ctx, method, meter, logged)),
            pass: Pass::default(),
            rest: Cell::default(),
        }
    }

    /// It ends here, before any handler.
    fn refused(&self, error: &Error) {
        if let Some(call) = self.call.take() {
            call.answered(Some(error), None);
        }
    }

    /// Has this polled on the call's completion-queue thread, once the handler
    /// has returned; the call ends with it.
    pub fn spawn(&self, rest: impl Future<Output = ()> + Send + 'static) {
        self.rest.set(Some(rest.boxed()));
    }
}

/// What can be sent as the answer of a unary call.
pub trait Answer: Send + 'static {
    /// # Errors
    /// RESOURCE_EXHAUSTED when too much is held for other clients.
    fn encode(self, budget: &Budget) -> Result<Shared, Error>;
}

/// An encoded answer, for one call or for many; it counts once, until the last
/// one is taken.
#[derive(Clone)]
pub struct Shared(Encoded, Arc<Hold>);

impl<M: protobuf::Message> Answer for M {
    fn encode(self, budget: &Budget) -> Result<Shared, Error> {
        let encoded = Encoded::message(&self)?;
        let mut hold = budget.hold();
        if encoded.len() <= SMALL_ANSWER {
            hold.force(encoded.len());
        } else {
            hold.set(encoded.len())
                .map_err(|full| Error::new(Code::ResourceExhausted, format!("answers: {full}")))?;
        }
        Ok(Shared(encoded, Arc::new(hold)))
    }
}

impl Answer for Shared {
    fn encode(self, _: &Budget) -> Result<Shared, Error> {
        Ok(self)
    }
}

/// The requests of a stream in both directions.
pub struct Asked<Q> {
    pub(super) call: Option<Call>,
    pub(super) pass: Pass,
    requests: Requests,
    decoder: Decoder<Q>,
}

impl<Q> Asked<Q> {
    /// The next request; `None` when the client has half-closed the stream.
    ///
    /// # Errors
    /// The status with which the stream has to end.
    pub async fn next(&mut self) -> Result<Option<Q>, Error> {
        let request = self.requests.next().await;
        request.map(|it| self.decoder.decode(it)).transpose()
    }
}

/// Answers a unary call, now or later, from any thread. Dropping it answers
/// INTERNAL.
pub struct Reply<A>(oneshot::Sender<Result<A, Error>>);

impl<A> Reply<A> {
    /// One whose answer comes out here, where nobody has called.
    pub fn later() -> (Self, oneshot::Receiver<Result<A, Error>>) {
        let (sender, answer) = oneshot::channel();
        (Self(sender), answer)
    }

    pub fn send(self, answer: Result<A, Error>) {
        // A call that is over already has no reader.
        let _ = self.0.send(answer);
    }
}

impl Methods {
    pub(super) fn new(
        unfinished: Arc<Unfinished>,
        budget: Budget,
        receive_bytes: usize,
        gate: Gate,
    ) -> Self {
        Self {
            builder: ServiceBuilder::new(),
            unfinished,
            budget,
            receive_bytes,
            gate,
        }
    }

    pub(super) fn build(self) -> Service {
        self.builder.build()
    }

    /// What answers to all methods count in.
    pub fn budget(&self) -> Budget {
        self.budget.clone()
    }

    /// Registers a unary method, for callers who have what it needs. `handler` runs on a
    /// completion-queue thread and must not block; what it returns is dropped once an
    /// answer that it gave at once is on its way. A panic becomes INTERNAL.
    pub fn unary<Q, R, A, T>(
        self,
        method: &Method<Q, R>,
        need: impl Into<Need>,
        handler: impl Fn(Q, Reply<A>) -> T + Send + Sync + 'static,
    ) -> Self
    where
        Q: Send + 'static,
        A: Answer,
        T: Send + 'static,
    {
        let handler = move |(), request, reply| handler(request, reply);
        self.unary_with(method, need, |_| (), handler)
    }

    /// As [`Methods::unary`]; `handler` gets what `look` took of the call, of its metadata
    /// for instance, once it was let in.
    pub fn unary_with<Q, R, M, A, T>(
        mut self,
        method: &Method<Q, R>,
        need: impl Into<Need>,
        look: impl Fn(&RpcContext<'_>) -> M + Clone + Send + 'static,
        handler: impl Fn(M, Q, Reply<A>) -> T + Send + Sync + 'static,
    ) -> Self
    where
        Q: Send + 'static,
        M: Send + 'static,
        A: Answer,
        T: Send + 'static,
    {
        let (name, handler, decoder) = self.parts(method, handler);
        let (unfinished, budget) = (self.unfinished.clone(), self.budget.clone());
        let (gate, need, meter) = (self.gate.clone(), need.into(), Meter::of(name, "unary"));
        let register = move |ctx: RpcContext<'_>,
                             mut requests: Requests,
                             sink: ClientStreamingSink<Encoded>| {
            let caller = Caller::new(&ctx, name, meter.as_ref(), enabled!(Level::DEBUG));
            if let Err(error) = gate.admit(&ctx, need) {
                let failed = sink.fail(status::to_grpc(&error));
                return refuse(&ctx, &caller, requests, &error, failed);
            }
            let call = caller.call.take();
            let (unfinished, budget) = (unfinished.clone(), budget.clone());
            let (handler, looked) = (handler.clone(), look(&ctx));
            let id = trace::is_on().then(|| metadata(&ctx, access_log::HEADER));
            let id = id
                .flatten()
                .map(|id| String::from_utf8_lossy(id).into_owned());
            ctx.spawn(guarded(name, async move {
                let (peer, request) = unfinished
                    .request(caller.peer, &mut requests, decoder)
                    .await;
                let (reply, mut answer) = oneshot::channel();
                let after = match request {
                    Ok(request) => guard(name, || {
                        let mut span = trace::span(name);
                        span.request(Point::Step, id.as_deref());
                        handler(looked, request, Reply(reply))
                    }),
                    Err(error) => {
                        Reply(reply).send(Err(error));
                        None
                    }
                };
                let ready = answer.try_recv();
                let (after, answer) = match ready {
                    Ok(Some(answer)) => (after, answer),
                    _ => {
                        drop(after);
                        (None, answer.await.unwrap_or_else(|_| Err(panicked())))
                    }
                };
                let answer = answer.and_then(|answer| answer.encode(&budget));
                if let Some(call) = call {
                    call.answered(answer.as_ref().err(), None);
                }
                let (sending, hold) = trace::during("answer", || match answer {
                    Ok(Shared(encoded, hold)) => (sink.success(encoded), Some(hold)),
                    Err(error) => (sink.fail(status::to_grpc(&error)), None),
                });
                drop(after);
                // The client may have gone.
                let sent = sending.map(drop);
                let large = |hold: &Arc<Hold>| hold.bytes() > SMALL_ANSWER;
                if hold.as_ref().is_some_and(large) {
                    unfinished.answer(peer, sent).await;
                    // Not read to their end: this cancels a call whose answer is not
                    // taken.
                    drop(requests);
                } else {
                    to_the_end(sent, requests).await;
                }
            }));
        };
        self.builder = self
            .builder
            .add_client_streaming_handler(&as_registered(method), register);
        self
    }

    /// Registers a server stream, for callers who have what it needs. `handler` runs on a
    /// completion-queue thread and must not block.
    pub fn stream<Q: Send + 'static>(
        mut self,
        method: &Method<Q, Encoded>,
        need: impl Into<Need>,
        handler: impl Fn(&Caller, Q, StreamSink) + Send + Sync + 'static,
    ) -> Self {
        let (name, handler, decoder) = self.parts(method, handler);
        let (unfinished, meter) = (self.unfinished.clone(), Meter::of(name, "server_stream"));
        let (gate, need) = (self.gate.clone(), need.into());
        let register = move |ctx: RpcContext<'_>, mut requests: Requests, sink: StreamSink| {
            let mut caller = Caller::new(&ctx, name, meter.as_ref(), enabled!(Level::WARN));
            caller.pass = match gate.admit(&ctx, need) {
                Ok(pass) => pass,
                Err(error) => {
                    let failed = sink.fail(status::to_grpc(&error));
                    return refuse(&ctx, &caller, requests, &error, failed);
                }
            };
            let (unfinished, handler) = (unfinished.clone(), handler.clone());
            ctx.spawn(guarded(name, async move {
                let peer = std::mem::take(&mut caller.peer);
                let (peer, request) = unfinished.request(peer, &mut requests, decoder).await;
                caller.peer = peer;
                match request {
                    Ok(request) => {
                        guard(name, || handler(&caller, request, sink));
                    }
                    Err(error) => {
                        caller.refused(&error);
                        caller.spawn(sink.fail(status::to_grpc(&error)).map(drop));
                    }
                }
                if let Some(rest) = caller.rest.take() {
                    to_the_end(rest, requests).await;
                }
            }));
        };
        self.builder = self
            .builder
            .add_duplex_streaming_handler(&as_registered(method), register);
        self
    }

    /// Registers a stream in both directions, for callers who have what it needs, whose
    /// requests `handler` reads. It runs on a completion-queue thread and must not block.
    pub fn duplex<Q: Send + 'static>(
        mut self,
        method: &Method<Q, Encoded>,
        need: impl Into<Need>,
        handler: impl Fn(&RpcContext<'_>, Asked<Q>, StreamSink) + Send + Sync + 'static,
    ) -> Self {
        let (name, handler, decoder) = self.parts(method, handler);
        let (gate, need, meter) = (
            self.gate.clone(),
            need.into(),
            Meter::of(name, "bidi_stream"),
        );
        let register = move |ctx: RpcContext<'_>, requests, sink: StreamSink| {
            let caller = Caller::new(&ctx, name, meter.as_ref(), enabled!(Level::WARN));
            let pass = match gate.admit(&ctx, need) {
                Ok(pass) => pass,
                Err(error) => {
                    let failed = sink.fail(status::to_grpc(&error));
                    return refuse(&ctx, &caller, requests, &error, failed);
                }
            };
            let asked = Asked {
                call: caller.call.take(),
                pass,
                requests,
                decoder,
            };
            guard(name, || handler(&ctx, asked, sink));
        };
        self.builder = self
            .builder
            .add_duplex_streaming_handler(&as_registered(method), register);
        self
    }

    fn parts<Q, A, H>(
        &self,
        method: &Method<Q, A>,
        handler: H,
    ) -> (&'static str, Arc<H>, Decoder<Q>) {
        let decoder = Decoder::new(method, self.receive_bytes);
        (method.name, Arc::new(handler), decoder)
    }
}

/// The first metadata of this name, which is in lower case.
pub fn metadata<'a>(ctx: &'a RpcContext<'_>, name: &str) -> Option<&'a [u8]> {
    let mut all = ctx.request_headers().iter();
    all.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Ends a call that is not let in, before its request is waited for.
fn refuse<T: 'static>(
    ctx: &RpcContext<'_>,
    caller: &Caller,
    requests: Requests,
    error: &Error,
    failed: impl Future<Output = T> + Send + 'static,
) {
    caller.refused(error);
    ctx.spawn(guarded(
        caller.method,
        to_the_end(failed.map(drop), requests),
    ));
}

/// Runs what is left of a call. Meanwhile it is read that there are no more
/// requests; dropping them cancels the call if that is not known, or if its status
/// was not taken.
async fn to_the_end(rest: impl Future<Output = ()>, mut requests: Requests) {
    let (mut rest, mut read) = (pin!(rest), false);
    poll_fn(|cx| {
        read = read || requests.poll_next_unpin(cx).is_ready();
        rest.as_mut().poll(cx)
    })
    .await;
}

/// A call's task, which no panic leaves.
fn guarded(
    method: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    AssertUnwindSafe(task).catch_unwind().map(move |result| {
        if result.is_err() {
            tracing::error!(method, "answering a call panicked; it is cancelled");
        }
    })
}

/// Runs `work`, and logs a panic instead of letting it through.
fn guard<R>(method: &'static str, work: impl FnOnce() -> R) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        tracing::error!(method, "a handler panicked; the call ends with INTERNAL");
    }
    result.ok()
}

/// The client's error after a panic.
fn panicked() -> Error {
    Error::new(Code::Internal, "internal error")
}
