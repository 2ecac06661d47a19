//! One call, unary or a stream: its messages to both servers, and back from the first one.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::mpsc;
use futures_util::{FutureExt as _, Sink as _, SinkExt as _, StreamExt as _};
use grpcio::Error::RpcFailure;
use grpcio::{
    CallOption, ClientDuplexReceiver, ClientDuplexSender, DuplexSink, RequestStream, RpcStatus,
    RpcStatusCode, WriteFlags,
};

use super::{Call, MESSAGE, passed_on};
use crate::budget::Hold;
use crate::compare::shadow::judge::{Answer, Judge};
use crate::compare::shadow::matching::json;
use crate::compare::shadow::sequence::of;
use crate::compare::shadow::{ANSWER_TIME, OVERHEAD, Side};
use crate::grpc::blocking;
use crate::grpc::method::Encoded;
use crate::status;
use crate::sync::spawn;

/// Requests of a call that the second side has not taken.
const REQUESTS: usize = 64;
/// How often the second side's call looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// How far the second side's stream may be ahead of the first one's, in bytes.
const AHEAD: usize = 256 * 1024;
/// How much longer it may take to its end; and where its client has left, once it has had
/// as much.
const END_TIME: Duration = Duration::from_secs(2);
const LEFT_TIME: Duration = Duration::from_millis(500);

enum Step {
    Message(Encoded),
    End(RpcStatus),
}

/// What a server answers, in turn.
struct Answers {
    from: ClientDuplexReceiver<Encoded>,
    status: Option<RpcStatus>,
}

impl Answers {
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            return Poll::Ready(match ready!(self.from.poll_next_unpin(cx)) {
                Some(Ok(message)) => Step::Message(message),
                // grpcio tells of it before messages that came earlier.
                Some(Err(RpcFailure(status))) => {
                    self.status = Some(status);
                    continue;
                }
                Some(Err(error)) => Step::End(unavailable(&error)),
                None => Step::End(self.status.take().unwrap_or_else(RpcStatus::ok)),
            });
        }
    }

    /// The initial metadata as it is compared, at the end.
    fn metadata(&mut self) -> BTreeMap<String, String> {
        let metadata = self.from.headers().now_or_never();
        let metadata = metadata.and_then(Result::ok).map(passed_on);
        let text = |(key, value): (&str, &[u8])| {
            (format!("metadata {key}"), value.escape_ascii().to_string())
        };
        metadata.iter().flatten().map(text).collect()
    }
}

impl Call {
    fn begin(&self, side: Side) -> Result<(ClientDuplexSender<Encoded>, Answers), RpcStatus> {
        let options = CallOption::default().headers(self.metadata.clone());
        let client = &self.connections[side as usize];
        let begun = client.duplex_streaming(&self.method, options);
        let (to, from) = begun.map_err(|error| unavailable(&error))?;
        Ok((to, Answers { from, status: None }))
    }

    /// Forwards it; a panic ends this call alone.
    pub async fn forward(self, requests: RequestStream<Encoded>, sink: DuplexSink<Encoded>) {
        let forwarded = AssertUnwindSafe(self.first(requests, sink)).catch_unwind();
        if forwarded.await.is_err() {
            tracing::error!("forwarding a call panicked; it is cancelled");
        }
    }

    async fn first(self, mut requests: RequestStream<Encoded>, mut sink: DuplexSink<Encoded>) {
        let (call, asked, size) = (Arc::new(self), Instant::now(), AtomicUsize::new(0));
        let side = call.watch.first;
        let (mut copies, theirs) = mpsc::channel(REQUESTS);
        let mut theirs = Some(theirs);
        let stream = call.streams.then(|| Stream::open(&call, theirs.take()));
        let mut answer = Answer::default();
        let status = match call.begin(side) {
            Err(status) => Some(status),
            Ok((mut to, mut answers)) => {
                let asking = async {
                    while let Some(request) = requests.next().await {
                        let Some(request) = request.ok().filter(|it| it.len() <= MESSAGE) else {
                            return false;
                        };
                        // A second side that takes none of so many shows that it does not.
                        let _ = copies.try_send(request.clone());
                        size.fetch_add(request.len(), Relaxed);
                        if to.send((request, WriteFlags::default())).await.is_err() {
                            // Its status says why.
                            return true;
                        }
                    }
                    copies.close_channel();
                    let _ = to.close().await;
                    true
                };
                let told = |message: &Encoded| match &stream {
                    Some(stream) => stream.message(side, message),
                    None => answer.body = message.as_bytes().to_vec(),
                };
                let answering = forward(&mut answers, &mut sink, told);
                let status = alongside(asking, answering).await.flatten();
                answer.fields = answers.metadata();
                status
            }
        };
        let end = status.as_ref().map(|status| ended(answer, status, asked));
        match (stream, end, theirs) {
            (Some(stream), end, _) => stream.end(side, end),
            // The second side is asked when the first one has answered.
            (None, Some(end), Some(theirs)) => {
                let call = call.clone();
                call.watch
                    .clone()
                    .leave(end.body.len(), move |judge, _hold| {
                        let answers = of(side, [end, call.ask(side.other(), theirs)]);
                        judge.answers(call.method.name, Some(&call.kind), answers);
                    });
            }
            _ => {}
        }
        let _ = match status {
            Some(status) if status.code() == RpcStatusCode::OK => sink.close().await,
            Some(status) => sink.fail(status).await,
            // Dropping what is left cancels the call.
            None => Ok(()),
        };
        drop(requests);
    }

    /// The second side's answer to a unary call; blocks.
    fn ask(&self, side: Side, requests: mpsc::Receiver<Encoded>) -> Answer {
        let (asked, mut answer) = (Instant::now(), Answer::default());
        let told = |message: &Encoded| answer.body = message.as_bytes().to_vec();
        let status = self.second(side, requests, told, || asked.elapsed() < ANSWER_TIME);
        match status {
            Some((status, fields)) => ended(Answer { fields, ..answer }, &status, asked),
            None => Answer::none(format!("no answer within {ANSWER_TIME:?}")),
        }
    }

    /// Makes the call at the second side, and blocks until it is over, or is to end.
    fn second(
        &self,
        side: Side,
        mut requests: mpsc::Receiver<Encoded>,
        mut told: impl FnMut(&Encoded),
        mut go_on: impl FnMut() -> bool,
    ) -> Option<(RpcStatus, BTreeMap<String, String>)> {
        let (mut to, mut answers) = match self.begin(side) {
            Ok(begun) => begun,
            Err(status) => return Some((status, BTreeMap::new())),
        };
        let mut asking = pin!(async {
            while let Some(request) = requests.next().await {
                if to.send((request, WriteFlags::default())).await.is_err() {
                    return;
                }
            }
            let _ = to.close().await;
        });
        let mut asked = false;
        loop {
            let step = poll_fn(|cx| {
                asked = asked || asking.as_mut().poll(cx).is_ready();
                answers.poll_step(cx)
            });
            match blocking::wait(step, Some(LOOK)) {
                None => {}
                Some(Step::Message(message)) => told(&message),
                Some(Step::End(status)) => return Some((status, answers.metadata())),
            }
            if !go_on() {
                return None;
            }
        }
    }
}

/// A stream as the judge is told of it; not compared once there was no room to tell.
struct Stream {
    call: Arc<Call>,
    number: u64,
    lost: AtomicBool,
    /// Bytes of the messages of either side.
    seen: [AtomicUsize; 2],
    /// When it was over on the first side, and whether its client has left before.
    over: OnceLock<(Instant, bool)>,
}

impl Stream {
    fn open(call: &Arc<Call>, requests: Option<mpsc::Receiver<Encoded>>) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let stream = Arc::new(Self {
            call: call.clone(),
            number: NUMBERS.fetch_add(1, Relaxed),
            lost: AtomicBool::new(false),
            seen: Default::default(),
            over: OnceLock::new(),
        });
        let (second, number, at) = (stream.clone(), stream.number, call.method.name);
        let opened = call.watch.leave(0, move |judge, _| {
            judge.opened(number, at);
            let side = second.call.watch.first.other();
            let work = move || {
                let told = |message: &Encoded| second.message(side, message);
                let requests = requests.unwrap_or_else(|| mpsc::channel(0).1);
                let end = second
                    .call
                    .second(side, requests, told, || second.goes_on(side));
                let end = end.map(|(status, fields)| {
                    let answer = Answer {
                        fields,
                        ..Answer::default()
                    };
                    ended(answer, &status, Instant::now())
                });
                second.end(side, end);
            };
            if spawn("shadow-stream", work).is_err() {
                judge.forget(number);
            }
        });
        stream.lost.store(!opened, Relaxed);
        stream
    }

    fn message(&self, side: Side, message: &Encoded) {
        let (number, kind, bytes) = (self.number, self.call.kind.clone(), message.clone());
        self.seen[side as usize].fetch_add(OVERHEAD + bytes.len(), Relaxed);
        self.tell(bytes.len(), move |judge, hold| {
            judge.message(number, side, json(&kind, bytes.as_bytes()), hold);
        });
    }

    fn end(&self, side: Side, end: Option<Answer>) {
        if side == self.call.watch.first {
            let _ = self.over.set((Instant::now(), end.is_none()));
        }
        let number = self.number;
        self.tell(0, move |judge, _| judge.ended(number, side, end));
    }

    fn tell(&self, bytes: usize, job: impl FnOnce(&mut Judge, Hold) + Send + 'static) {
        if !self.lost.load(Relaxed) && !self.call.watch.leave(bytes, job) {
            self.lost.store(true, Relaxed);
        }
    }

    /// Waits while the second side is far ahead; `false` when it is of no more use.
    fn goes_on(&self, side: Side) -> bool {
        let seen = |side: Side| self.seen[side as usize].load(Relaxed);
        while self.over.get().is_none() && seen(side) > seen(side.other()) + AHEAD {
            thread::sleep(LOOK);
        }
        let caught_up = seen(side) >= seen(side.other());
        let over = |(since, left): &(Instant, bool)| {
            let since = since.elapsed();
            since > END_TIME || *left && caught_up && since > LEFT_TIME
        };
        !self.lost.load(Relaxed) && !self.over.get().is_some_and(over)
    }
}

/// What `work` comes to, or nothing if `beside` is false before.
async fn alongside<T>(
    beside: impl Future<Output = bool>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let (mut beside, mut work, mut done) = (pin!(beside), pin!(work), false);
    poll_fn(|cx| {
        if !done {
            match beside.as_mut().poll(cx) {
                Poll::Ready(false) => return Poll::Ready(None),
                now => done = now.is_ready(),
            }
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Sends the client what comes, and returns the status; nothing if the client leaves.
async fn forward(
    answers: &mut Answers,
    sink: &mut DuplexSink<Encoded>,
    mut told: impl FnMut(&Encoded),
) -> Option<RpcStatus> {
    let mut first = true;
    loop {
        // The sink is ready, and wakes this when its call is over.
        let step = poll_fn(|cx| match Pin::new(&mut *sink).poll_ready(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(None),
            _ => answers.poll_step(cx).map(Some),
        });
        match step.await? {
            Step::End(status) => return Some(status),
            Step::Message(message) => {
                if std::mem::take(&mut first) {
                    sink.set_headers(passed_on(answers.from.headers().await.ok()?));
                }
                told(&message);
                let sent = sink.send((message, WriteFlags::default())).await;
                sent.ok()?;
            }
        }
    }
}

/// The answer with how it has ended.
fn ended(mut answer: Answer, status: &RpcStatus, asked: Instant) -> Answer {
    let details = status.details().escape_ascii().to_string();
    for (name, text) in [("message", status.message()), ("details", &details)] {
        if !text.is_empty() {
            answer.fields.insert(name.into(), text.into());
        }
    }
    let failed = status.code() != RpcStatusCode::OK;
    let code = failed.then(|| status::name(status::from_grpc(status).code));
    answer.status = code.unwrap_or("OK").into();
    answer.took = asked.elapsed();
    answer
}

fn unavailable(error: &grpcio::Error) -> RpcStatus {
    RpcStatus::with_message(RpcStatusCode::UNAVAILABLE, error.to_string())
}
