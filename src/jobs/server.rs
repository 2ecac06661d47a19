//! The jobs' synchronous half: upper case, A/B groups, factorials and letters.
//!
//! What takes long, a factorial or a large text, is worked out on the threads
//! "message-N", so that it holds up no other call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use grpcio::{RpcContext, Service, ServiceBuilder, UnarySink};

use super::task;
use super::wire;
use crate::error::{Code, Error};
use crate::grpc::handler;
use crate::grpc::host::Hosted;
use crate::grpc::stream::Streams;

/// Threads for what takes long.
const THREADS: usize = 2;

/// Calls that may wait for them.
const QUEUE: usize = 256;

/// Up to here an answer takes microseconds, and is worked out at once.
const SMALL_FACTORIAL: i64 = 200;
const SMALL_TEXT: usize = 1024;

/// A call; with `false`, there is no room for it.
type Call = Box<dyn FnOnce(bool) + Send>;

/// Where the handlers hand calls over.
#[derive(Clone)]
struct Desk {
    /// `None` tells one thread to end.
    calls: Sender<Option<Call>>,
    closed: Arc<AtomicBool>,
}

impl Desk {
    /// Never blocks. What may not wait is refused at once.
    fn answer<A: Send + 'static>(
        &self,
        ctx: &RpcContext<'_>,
        sink: UnarySink<A>,
        long: bool,
        work: impl FnOnce() -> Result<A, Error> + Send + 'static,
    ) {
        if self.closed.load(Ordering::SeqCst) {
            return handler::unary(ctx, sink, || Err(Error::shutting_down()));
        }
        if !long {
            return handler::unary(ctx, sink, work);
        }
        let reply = handler::later(ctx, sink, |answer| answer);
        let call: Call = Box::new(move |room| {
            let full = || format!("calls: {QUEUE} are waiting, which is the limit");
            let refusal = || Error::new(Code::ResourceExhausted, full());
            reply.send(if room { work() } else { Err(refusal()) });
        });
        if let Err(unsent) = self.calls.try_send(Some(call))
            && let Some(call) = unsent.into_inner()
        {
            call(false);
        }
    }
}

/// The service, to be hosted.
pub struct Messages {
    desk: Desk,
    threads: Vec<JoinHandle<()>>,
}

impl Messages {
    /// # Errors
    /// When its threads cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let (calls, queue) = bounded(QUEUE);
        let thread = |number| {
            let queue = queue.clone();
            let thread = thread::Builder::new().name(format!("message-{number}"));
            thread.spawn(move || work(&queue))
        };
        let threads = (0..THREADS).map(thread).collect::<Result<_, _>>()?;
        Ok(Self {
            desk: Desk {
                calls,
                closed: Arc::default(),
            },
            threads,
        })
    }
}

impl Hosted for Messages {
    fn name(&self) -> &'static str {
        wire::SERVICE
    }

    fn service(&self, _: &Streams) -> Service {
        let [process, assign, factorial, letter] = [(); 4].map(|()| self.desk.clone());
        ServiceBuilder::new()
            .add_unary_handler(&wire::PROCESS_MESSAGE, move |ctx, request, sink| {
                let long = request.text.len() > SMALL_TEXT;
                process.answer(&ctx, sink, long, move || {
                    Ok(wire::message_response(task::process(&request.text)))
                });
            })
            .add_unary_handler(&wire::ASSIGN_AB, move |ctx, request, sink| {
                let long = request.user_id.len() > SMALL_TEXT;
                assign.answer(&ctx, sink, long, move || {
                    let group = task::group(&request.user_id);
                    Ok(wire::ab_response(request.user_id, group))
                });
            })
            .add_unary_handler(&wire::FACTORIAL, move |ctx, request, sink| {
                let long = request.n > SMALL_FACTORIAL;
                factorial.answer(&ctx, sink, long, move || {
                    task::factorial(request.n).map(wire::factorial_response)
                });
            })
            .add_unary_handler(&wire::MOST_FREQUENT_LETTER, move |ctx, request, sink| {
                let long = request.text.len() > SMALL_TEXT;
                letter.answer(&ctx, sink, long, move || {
                    task::most_frequent_letter(&request.text).map(wire::letter_response)
                });
            })
            .build()
    }

    fn close(&self) {
        self.desk.closed.store(true, Ordering::SeqCst);
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // The handlers' senders may live on in the C core.
        for _ in &self.threads {
            let _ = self.desk.calls.send(None);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(queue: &Receiver<Option<Call>>) {
    while let Ok(Some(call)) = queue.recv() {
        if catch_unwind(AssertUnwindSafe(|| call(true))).is_err() {
            tracing::error!("working out an answer panicked; the call ends with INTERNAL");
        }
    }
}
