//! The boundary at which the C core's threads enter our code: no panic gets
//! past it, since one would end a completion-queue thread for good.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_channel::oneshot;
use futures_util::FutureExt as _;
use grpcio::{RpcContext, UnarySink, UnarySinkResult};

use super::journal::Call;
use crate::error::{Code, Error};
use crate::status;

/// Answers a unary call with what `answer` returns; it runs on a completion-queue
/// thread and must not block. A panic becomes INTERNAL.
pub fn unary<A>(
    ctx: &RpcContext<'_>,
    sink: UnarySink<A>,
    answer: impl FnOnce() -> Result<A, Error>,
) {
    let call = Call::begin(ctx);
    let answer = guard(ctx, answer).unwrap_or_else(|| Err(panicked()));
    // A client that has gone needs no answer, so the result has no reader.
    ctx.spawn(send(call, sink, answer).map(drop));
}

fn send<A>(call: Option<Call>, sink: UnarySink<A>, answer: Result<A, Error>) -> UnarySinkResult {
    if let Some(call) = call {
        call.answered(answer.as_ref().err());
    }
    match answer {
        Ok(answer) => sink.success(answer),
        Err(error) => sink.fail(status::to_grpc(&error)),
    }
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
    let call = Call::begin(ctx);
    ctx.spawn(async move {
        let answer = answer.await.unwrap_or_else(|_| Err(panicked()));
        drop(send(call, sink, answer.map(convert)).await);
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

/// What the client is told of a panic.
fn panicked() -> Error {
    Error::new(Code::Internal, "internal error")
}
