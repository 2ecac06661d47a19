//! The boundary at which the C core's threads enter our code: no panic gets
//! past it, since one would end a completion-queue thread for good.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_channel::oneshot;
use futures_util::FutureExt as _;
use grpcio::{RpcContext, RpcStatus, RpcStatusCode, UnarySink};

use crate::error::Error;
use crate::status;

/// Answers a unary call with what `answer` returns; it runs on a completion-queue
/// thread and must not block. A panic becomes INTERNAL.
pub fn unary<A>(
    ctx: &RpcContext<'_>,
    sink: UnarySink<A>,
    answer: impl FnOnce() -> Result<A, Error>,
) {
    let sent = match guard(ctx, answer) {
        Some(Ok(answer)) => sink.success(answer),
        Some(Err(error)) => sink.fail(status::to_grpc(&error)),
        None => sink.fail(internal()),
    };
    // A client that has gone needs no answer, so the result has no reader.
    ctx.spawn(sent.map(drop));
}

/// The answer to a unary call that somebody else gives, from any thread. One
/// that is dropped answers INTERNAL.
pub struct Reply<A>(oneshot::Sender<Result<A, Error>>);

impl<A> Reply<A> {
    pub fn send(self, answer: Result<A, Error>) {
        // A call that is over already has no reader.
        let _ = self.0.send(answer);
    }
}

/// Leaves the answer to whoever gets the [`Reply`]; `convert` runs on the
/// completion-queue thread.
pub fn later<A, W>(
    ctx: &RpcContext<'_>,
    sink: UnarySink<W>,
    convert: impl FnOnce(A) -> W + Send + 'static,
) -> Reply<A>
where
    A: Send + 'static,
    W: Send + 'static,
{
    let (sender, answer) = oneshot::channel();
    ctx.spawn(async move {
        let sent = match answer.await {
            Ok(Ok(answer)) => sink.success(convert(answer)),
            Ok(Err(error)) => sink.fail(status::to_grpc(&error)),
            Err(oneshot::Canceled) => sink.fail(internal()),
        };
        drop(sent.await);
    });
    Reply(sender)
}

/// Runs `work`, and logs a panic instead of letting it through.
pub fn guard<R>(ctx: &RpcContext<'_>, work: impl FnOnce() -> R) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        let method = String::from_utf8_lossy(ctx.method()).into_owned();
        tracing::error!(method, "a handler panicked; the call ends with INTERNAL");
    }
    result.ok()
}

pub fn internal() -> RpcStatus {
    RpcStatus::with_message(RpcStatusCode::INTERNAL, "internal error".into())
}
