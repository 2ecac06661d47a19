//! Bidirectional streams, one named OS thread each.
//!
//! The two directions are independent: requests come in on the call's
//! completion-queue thread and are only noted; the stream's own thread asks what
//! there is to send, blocks until the transport has taken it (backpressure), and
//! sleeps until the bell rings.

use std::future::{Future as _, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::task::{Poll, Waker};
use std::thread;

use futures_util::future::{AbortHandle, Abortable};
use futures_util::{FutureExt as _, Sink as _, SinkExt as _};
use grpcio::{DuplexSink, RpcContext, WriteFlags};

use super::STACK_BYTES;
use super::blocking;
use super::handler::Asked;
use super::journal::StreamLog;
use super::method::Encoded;
use super::stream::{Ending, STATUS_WAIT, Streams};
use crate::error::{Code, Error};
use crate::status;
use crate::sync::lock;

/// What a bidirectional stream does: the service's side.
pub trait Conversation<Q>: Send + Sync + 'static {
    /// A request, `None` when the client has half-closed the stream, or the error
    /// with which the stream has to end.
    /// Runs on a completion-queue thread and must not block; whatever follows
    /// from it is for [`Conversation::turn`], so it rings the bell.
    fn request(&self, request: Result<Option<Q>, Error>);

    /// What to do next. Runs on the stream's thread.
    fn turn(&self) -> Turn;

    /// Why the stream has to end although not everything is sent, if so. Asked when
    /// the bell rings while a peer does not read.
    fn failure(&self) -> Option<Error>;
}

/// How a conversation goes on.
pub enum Turn {
    /// Send these, and ask again.
    Send(Vec<Encoded>),
    /// Ask again when the bell has rung.
    Wait,
    /// The end: OK, or this error.
    End(Result<(), Error>),
}

/// Wakes a stream's thread. Ringing it again before the thread has woken has no
/// further effect.
#[derive(Default)]
pub struct Bell {
    rung: AtomicBool,
    sleeper: Mutex<Option<Waker>>,
    /// Why the stream ends early, if it does.
    early: OnceLock<Error>,
}

impl Ending for Bell {
    fn end_early(&self, error: Error) {
        let _ = self.early.set(error);
        self.ring();
    }
}

impl Bell {
    /// From any thread; never blocks.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let waker = self.sleeper().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn sleeper(&self) -> MutexGuard<'_, Option<Waker>> {
        lock(&self.sleeper)
    }

    /// Whether it was rung; else its next ring wakes the task.
    fn take_or_wake(&self, task: &Waker) -> bool {
        // Before the look, so that no ring falls in between.
        *self.sleeper() = Some(task.clone());
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Streams {
    /// Serves one bidirectional stream on a thread of its own. Called on a
    /// completion-queue thread; never blocks. `begin` makes the conversation,
    /// whose bell is the one that it is given, with whom the log names.
    pub fn serve_duplex<Q: Send + 'static, C: Conversation<Q>>(
        &self,
        ctx: &RpcContext<'_>,
        mut requests: Asked<Q>,
        sink: DuplexSink<Encoded>,
        name: &str,
        begin: impl FnOnce(Arc<Bell>, Option<Arc<StreamLog>>) -> Result<Arc<C>, Error>,
    ) {
        let bell = Arc::new(Bell::default());
        let (number, name) = self.number_and_name(name);
        let stream_log = self.stream_log(&name, requests.call.take());
        let begin = || begin(bell.clone(), stream_log.clone());
        let begun = self.place(number).and_then(|place| Ok((place, begin()?)));
        let (place, conversation) = match begun {
            Ok(begun) => begun,
            Err(error) => return refuse(ctx, requests, sink, &error, stream_log.as_deref()),
        };
        if let Some(stream_log) = &stream_log {
            stream_log.opened();
        }
        self.list(number, Arc::downgrade(&bell) as Weak<dyn Ending>);
        let leased = bell.clone();
        let lease = requests.pass.lease(move |error| leased.end_early(error));
        let (no_more, registration) = AbortHandle::new_pair();
        // The sink has to come back if there is no thread for it.
        let kept = Arc::new(Mutex::new(Some(sink)));
        let taken = kept.clone();
        let answering = conversation.clone();
        let log_at_end = stream_log.clone();
        let started = thread::Builder::new()
            .name(name)
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let sink = lock(&taken).take();
                if let Some(sink) = sink {
                    let log = log_at_end.as_deref();
                    let (end, messages) = answer(&*answering, &bell, sink, log);
                    if let Some(stream_log) = log_at_end {
                        stream_log.ended(&end, messages);
                    }
                }
                // The requests hold the call. This cancels it if its status was
                // not taken, and only then is its place free.
                no_more.abort();
                drop((lease, place));
            });
        if let Err(error) = started {
            tracing::error!(%error, "cannot start a thread for a stream");
            let sink = lock(&kept).take();
            if let Some(sink) = sink {
                let error = Error::new(Code::ResourceExhausted, "no thread left for a stream");
                refuse(ctx, requests, sink, &error, stream_log.as_deref());
            }
            return;
        }
        let asking = Abortable::new(ask(requests, conversation), registration);
        ctx.spawn(asking.map(drop));
    }
}

/// Notes requests until there are no more, or the call is over.
async fn ask<Q, C: Conversation<Q>>(mut requests: Asked<Q>, conversation: Arc<C>) {
    loop {
        let request = requests.next().await;
        let (half_closed, failed) = (matches!(request, Ok(None)), request.is_err());
        let noted = catch_unwind(AssertUnwindSafe(|| conversation.request(request)));
        if noted.is_err() {
            tracing::error!("a request in a stream panicked; no more of them are read");
        }
        if failed {
            // Dropping the requests would cancel the call before its status is out.
            pending::<()>().await;
        }
        if half_closed || noted.is_err() {
            return;
        }
    }
}

/// The stream's thread: sends until the conversation or the call is over.
/// Returns the end, and how many messages the transport has taken.
fn answer<Q>(
    conversation: &impl Conversation<Q>,
    bell: &Bell,
    mut sink: DuplexSink<Encoded>,
    stream_log: Option<&StreamLog>,
) -> (Result<(), Error>, u64) {
    let mut sent = 0;
    let result = loop {
        if let Some(error) = bell.early.get() {
            break Err(error.clone());
        }
        match conversation.turn() {
            Turn::Send(messages) => {
                let count = messages.len() as u64;
                match send(&mut sink, messages, bell, conversation) {
                    Ok(true) => {
                        sent += count;
                        stream_log.inspect(|log| log.sent(count));
                    }
                    Ok(false) => return (Err(Error::client_left()), sent),
                    Err(error) => break Err(error),
                }
            }
            Turn::Wait if wait(&mut sink, bell) => {}
            Turn::Wait => return (Err(Error::client_left()), sent),
            Turn::End(result) => break result,
        }
    };
    let _ = match &result {
        Ok(()) => blocking::wait(sink.close(), Some(STATUS_WAIT)),
        Err(error) => blocking::wait(sink.fail(status::to_grpc(error)), Some(STATUS_WAIT)),
    };
    (result, sent)
}

/// Blocks until the transport has taken the messages; `false` if the call is over.
///
/// # Errors
/// Why the conversation has to end before.
fn send<Q>(
    sink: &mut DuplexSink<Encoded>,
    messages: Vec<Encoded>,
    bell: &Bell,
    conversation: &impl Conversation<Q>,
) -> Result<bool, Error> {
    let last = messages.len().saturating_sub(1);
    let mut sending = pin!(async {
        for (n, message) in messages.into_iter().enumerate() {
            // One system call carries them all.
            let flags = WriteFlags::default().buffer_hint(n < last);
            sink.feed((message, flags)).await?;
        }
        sink.flush().await
    });
    let sent_or_failed = poll_fn(|cx| {
        if bell.take_or_wake(cx.waker())
            && let Some(error) = bell.early.get().cloned().or_else(|| conversation.failure())
        {
            return Poll::Ready(Err(error));
        }
        let sent: Poll<grpcio::Result<()>> = sending.as_mut().poll(cx);
        sent.map(|sent| Ok(sent.is_ok()))
    });
    blocking::wait(sent_or_failed, None).unwrap_or(Ok(false))
}

/// Blocks until the bell rings; `false` if the call is over.
fn wait(sink: &mut DuplexSink<Encoded>, bell: &Bell) -> bool {
    let rung_or_over = poll_fn(|cx| {
        if bell.take_or_wake(cx.waker()) {
            return Poll::Ready(true);
        }
        // Ready now and for ever, but for the end of the call, which wakes too.
        match Pin::new(&mut *sink).poll_ready(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(false),
            _ => Poll::Pending,
        }
    });
    blocking::wait(rung_or_over, None).unwrap_or(false)
}

/// Keeps the requests until the status is out: dropping them cancels the call,
/// and the client would see CANCELLED instead.
fn refuse<Q: Send + 'static>(
    ctx: &RpcContext<'_>,
    requests: Asked<Q>,
    sink: DuplexSink<Encoded>,
    error: &Error,
    stream_log: Option<&StreamLog>,
) {
    if let Some(stream_log) = stream_log {
        stream_log.refused(error);
    }
    let failed = sink.fail(status::to_grpc(error));
    ctx.spawn(async move {
        drop(failed.await);
        drop(requests);
    });
}
