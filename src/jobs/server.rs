//! `message.MessageService`: upper case, A/B groups, factorials and letters,
//! answered at once.
//!
//! What takes long, a factorial or a large text, is worked out on the threads
//! "message-N", so that it blocks no other call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::task;
use super::wire;
use crate::access::Right;
use crate::error::{Code, Error};
use crate::grpc::handler::{Methods, Reply};
use crate::grpc::host::Hosted;
use crate::grpc::stream::Streams;
use crate::sync::spawn;
use crossbeam_channel::{Receiver, Sender, bounded};

/// Threads for what takes long.
const THREADS: usize = 2;

/// Calls that may wait for them.
const QUEUE: usize = 256;

/// Up to here an answer takes microseconds, and is worked out at once.
const SMALL_FACTORIAL: i64 = 200;
const SMALL_TEXT: usize = 1024;

/// A call; with an error, it is refused.
type Call = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// A handle of the thread pool for calls that take long.
#[derive(Clone)]
struct Pool {
    /// `None` ends one thread.
    calls: Sender<Option<Call>>,
    closed: Arc<AtomicBool>,
}

impl Pool {
    /// Never blocks: over the bound a call is refused at once.
    fn answer<A: Send + 'static>(
        &self,
        reply: Reply<A>,
        long: bool,
        work: impl FnOnce() -> Result<A, Error> + Send + 'static,
    ) {
        if self.closed.load(Ordering::SeqCst) {
            return reply.send(Err(Error::shutting_down()));
        }
        if !long {
            return reply.send(work());
        }
        let call: Call = Box::new(move |go| reply.send(go.and_then(|()| work())));
        if let Err(unsent) = self.calls.try_send(Some(call))
            && let Some(call) = unsent.into_inner()
        {
            let full = format!("calls: {QUEUE} are waiting, which is the limit");
            call(Err(Error::new(Code::ResourceExhausted, full)));
        }
    }
}

/// The service, to be hosted.
pub struct Messages {
    pool: Pool,
    threads: Vec<JoinHandle<()>>,
}

impl Messages {
    /// # Errors
    /// When its threads cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let (calls, queue) = bounded(QUEUE);
        let closed = Arc::new(AtomicBool::new(false));
        let thread = |number| {
            let queue = queue.clone();
            let closed = closed.clone();
            spawn(format!("message-{number}"), move || work(&queue, &closed))
        };
        let threads = (0..THREADS).map(thread).collect::<Result<_, _>>()?;
        Ok(Self {
            pool: Pool { calls, closed },
            threads,
        })
    }
}

impl Hosted for Messages {
    fn names(&self) -> &'static [&'static str] {
        &[wire::SERVICE]
    }

    fn register(&self, methods: Methods, _: &Streams) -> Methods {
        let [process, assign, factorial, letter] = [(); 4].map(|()| self.pool.clone());
        methods
            .unary(
                &wire::PROCESS_MESSAGE,
                Right::MessageCall,
                move |request, reply| {
                    let long = request.text.len() > SMALL_TEXT;
                    process.answer(reply, long, move || {
                        Ok(wire::message_response(task::process(&request.text)))
                    });
                },
            )
            .unary(
                &wire::ASSIGN_AB,
                Right::MessageCall,
                move |request, reply| {
                    let long = request.user_id.len() > SMALL_TEXT;
                    assign.answer(reply, long, move || {
                        let group = task::group(&request.user_id);
                        Ok(wire::ab_response(request.user_id, group))
                    });
                },
            )
            .unary(
                &wire::FACTORIAL,
                Right::MessageCall,
                move |request, reply| {
                    let long = request.n > SMALL_FACTORIAL;
                    factorial.answer(reply, long, move || {
                        task::factorial(request.n).map(wire::factorial_response)
                    });
                },
            )
            .unary(
                &wire::MOST_FREQUENT_LETTER,
                Right::MessageCall,
                move |request, reply| {
                    let long = request.text.len() > SMALL_TEXT;
                    letter.answer(reply, long, move || {
                        task::most_frequent_letter(&request.text).map(wire::letter_response)
                    });
                },
            )
    }

    fn close(&self) {
        self.pool.closed.store(true, Ordering::SeqCst);
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // The handlers' senders may live on in the C core.
        for _ in &self.threads {
            let _ = self.pool.calls.send(None);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(queue: &Receiver<Option<Call>>, closed: &AtomicBool) {
    while let Ok(Some(call)) = queue.recv() {
        // What is queued up would take longer than a shutdown may.
        let go = match closed.load(Ordering::SeqCst) {
            true => Err(Error::shutting_down()),
            false => Ok(()),
        };
        if catch_unwind(AssertUnwindSafe(|| call(go))).is_err() {
            tracing::error!("working out an answer panicked; the call ends with INTERNAL");
        }
    }
}
