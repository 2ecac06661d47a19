//! The to-do list's server: one thread, "todo-owner", owns the list.
//!
//! Handlers put requests on a bounded channel. The owner takes what has queued up,
//! commits it as one transaction (one fsync), publishes the changes in their order,
//! and then answers. So an answered change is on the disk, and the list that
//! GetTasks returns is always one that the published changes lead to.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select_biased};

use super::file::TodoStore;
use super::list::{Change, Limits, Task, TaskList};
use super::wire;
use crate::access::Right;
use crate::budget::Budget;
use crate::db::StartError;
use crate::error::{Code, Error};
use crate::fanout::broadcast::{Broadcast, Capacity};
use crate::fanout::clock::Timestamp;
use crate::grpc::handler::{self, Answer as _, Methods, Reply};
use crate::grpc::host::Hosted;
use crate::grpc::meter::count_fanout;
use crate::grpc::method::Encoded;
use crate::grpc::stream::{Opening, Streams};
use crate::metrics;
use crate::readiness::Readiness;
use crate::retry::supervised;
use crate::sync::{lock, spawn};

/// How long a trial may wait for the owner.
const TRIAL: Duration = Duration::from_secs(1);

/// Requests that may wait for the owner; more are refused.
const QUEUE: usize = 4096;

/// The most changes in one transaction.
const BATCH: usize = 1024;

#[derive(Clone, Debug, Default)]
pub struct Config {
    pub limits: Limits,
    /// Backlog of one watcher, over which it is cut as a slow consumer.
    pub backlog: Capacity,
    /// Where the list is kept; `None` is in memory.
    pub data_dir: Option<PathBuf>,
    /// Is told how writes go.
    pub ready: Readiness,
}

/// The to-do list, to be hosted. Dropping it answers what was accepted, and
/// ends the owner.
pub struct Todo {
    inbox: Inbox,
    owner: Option<(JoinHandle<()>, Sender<()>)>,
}

/// Where handlers put requests.
#[derive(Clone)]
struct Inbox {
    shared: Arc<Shared>,
    limits: Limits,
    requests: Sender<Request>,
}

struct Shared {
    list: Mutex<Listed>,
    changes: Broadcast<Encoded>,
    closed: AtomicBool,
}

/// The list, as far as the changes are published.
struct Listed {
    list: TaskList,
    /// How many changes it has seen, and its encoding since the last one: for
    /// all who ask, so that those who do not take it cost no more.
    version: u64,
    encoded: Option<handler::Shared>,
}

enum Request {
    Add(String, Reply<wire::AddTaskResponse>),
    Complete(i32, Reply<wire::CompleteTaskResponse>),
    /// Whether it can be written now.
    Try(Sender<bool>),
}

impl Todo {
    /// Loads the list.
    ///
    /// # Errors
    /// [`StartError`], for instance for a file that another server has.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let store = config.data_dir.as_deref().map(TodoStore::open);
        let mut store = store.transpose()?;
        let tasks = store.as_mut().map_or(Ok(Vec::new()), TodoStore::load)?;
        let shared = Arc::new(Shared {
            list: Mutex::new(Listed {
                list: TaskList::new(tasks.clone()),
                version: 0,
                encoded: None,
            }),
            changes: Broadcast::new(config.backlog),
            closed: AtomicBool::new(false),
        });
        count_fanout(wire::SERVICE, &shared.changes);
        let (requests, queue) = bounded(QUEUE);
        let (stop, stopped) = bounded(0);
        let mut owner = Owner {
            draft: TaskList::new(tasks),
            limits: config.limits,
            store,
            shared: shared.clone(),
            ready: config.ready.clone(),
        };
        let asked = requests.clone();
        config.ready.tries(move || {
            let (reply, answer) = bounded(1);
            let sent = asked.try_send(Request::Try(reply)).is_ok();
            sent && answer.recv_timeout(TRIAL) == Ok(true)
        });
        let thread = spawn("todo-owner", move || {
            supervised(|| owner.run(&queue, &stopped));
        })?;
        let inbox = Inbox {
            shared,
            limits: config.limits,
            requests,
        };
        Ok(Self {
            inbox,
            owner: Some((thread, stop)),
        })
    }
}

impl Hosted for Todo {
    fn names(&self) -> &'static [&'static str] {
        &[wire::SERVICE]
    }

    fn register(&self, methods: Methods, streams: &Streams) -> Methods {
        let (add, complete) = (self.inbox.clone(), self.inbox.clone());
        let (lister, watcher) = (self.inbox.shared.clone(), self.inbox.shared.clone());
        let streams = streams.clone();
        let budget = methods.budget();
        methods
            .unary(&wire::ADD_TASK, Right::TodoWrite, move |request, reply| {
                add.submit(Request::Add(request.title, reply));
            })
            .unary(
                &wire::COMPLETE_TASK,
                Right::TodoWrite,
                move |request, reply| {
                    complete.submit(Request::Complete(request.task_id, reply));
                },
            )
            .unary(&wire::GET_TASKS, Right::TodoRead, move |_, reply| {
                reply.send(lister.answer(&budget));
            })
            .stream(
                &wire::WATCH_TASKS_ENCODED,
                Right::TodoRead,
                move |caller, request, sink| {
                    // Empty, and so no change.
                    let first = request.confirm.then(|| Encoded::new(Vec::new()));
                    streams.serve(caller, sink, "watch", || {
                        Opening::one_by_one(watcher.changes.subscribe(), first)
                    });
                },
            )
    }

    fn close(&self) {
        self.inbox.shared.closed.store(true, Ordering::SeqCst);
        self.inbox.shared.changes.close();
    }
}

impl Drop for Todo {
    fn drop(&mut self) {
        if let Some((thread, stop)) = self.owner.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Inbox {
    /// Never blocks: over the bound a request is refused at once.
    fn submit(&self, request: Request) {
        if self.shared.closed.load(Ordering::SeqCst) {
            return request.refuse(Error::shutting_down());
        }
        if let Request::Add(title, _) = &request
            && let Err(error) = self.limits.check(title)
        {
            return request.refuse(error);
        }
        if let Err(unsent) = self.requests.try_send(request) {
            let error = match unsent.is_full() {
                true => Error::new(
                    Code::ResourceExhausted,
                    format!("requests: {QUEUE} are waiting, which is the limit"),
                ),
                false => Error::unavailable("the to-do list's thread has ended"),
            };
            unsent.into_inner().refuse(error);
        }
    }
}

impl Listed {
    fn apply(&mut self, change: &Change) {
        self.list.apply(change);
        self.version += 1;
        self.encoded = None;
    }
}

impl Request {
    fn refuse(self, error: Error) {
        match self {
            Self::Add(_, reply) => reply.send(Err(error)),
            Self::Complete(_, reply) => reply.send(Err(error)),
            Self::Try(_) => {}
        }
    }
}

impl Shared {
    /// The answer of GetTasks. Encoding is not done under the lock, which
    /// publishing waits for.
    fn answer(&self, budget: &Budget) -> Result<handler::Shared, Error> {
        let listed = lock(&self.list);
        if let Some(encoded) = &listed.encoded {
            return Ok(encoded.clone());
        }
        let (list, version) = (listed.list.clone(), listed.version);
        drop(listed);
        let encoded = wire::list_response(list.tasks()).encode(budget)?;
        let mut listed = lock(&self.list);
        if listed.version == version {
            listed.encoded = Some(encoded.clone());
        }
        Ok(encoded)
    }

    /// The list changes within the broadcast's critical section, so every change
    /// is either in the list that a watcher fetches, or on its stream, or both.
    fn publish(&self, change: &Change) {
        let encoded = wire::encode(change);
        let published = self.changes.publish(Timestamp::now(), |_| {
            lock(&self.list).apply(change);
            let bytes = encoded.len();
            (encoded, bytes)
        });
        if published.is_err() {
            // Closed: nobody watches any more, but the change is stored.
            lock(&self.list).apply(change);
        }
    }
}

/// The owner's side; everything here runs on its thread.
struct Owner {
    /// As far as requests were taken; ahead of the shared list only while a
    /// transaction runs.
    draft: TaskList,
    limits: Limits,
    store: Option<TodoStore>,
    shared: Arc<Shared>,
    ready: Readiness,
}

/// Who waits for the transaction.
enum Waiting {
    Added(Task, Reply<wire::AddTaskResponse>),
    Completed(Reply<wire::CompleteTaskResponse>),
}

impl Owner {
    fn run(&mut self, queue: &Receiver<Request>, stopped: &Receiver<()>) {
        // It may begin again, after a panic in the middle of a transaction.
        self.draft = lock(&self.shared.list).list.clone();
        loop {
            select_biased! {
                recv(queue) -> request => match request {
                    Ok(first) => {
                        let batch = std::iter::once(first).chain(queue.try_iter()).take(BATCH);
                        self.make(batch);
                    }
                    Err(_) => return,
                },
                recv(stopped) -> _ => return,
            }
        }
    }

    fn make(&mut self, batch: impl Iterator<Item = Request>) {
        let (mut changes, mut waiting) = (Vec::new(), Vec::new());
        for request in batch {
            match request {
                Request::Add(title, reply) => match self.draft.add(&title, &self.limits) {
                    Ok(change) => {
                        waiting.push(Waiting::Added(change.task.clone(), reply));
                        changes.push(change);
                    }
                    Err(error) => reply.send(Err(error)),
                },
                Request::Complete(id, reply) => match self.draft.complete(id) {
                    Ok(change) => {
                        changes.extend(change);
                        waiting.push(Waiting::Completed(reply));
                    }
                    Err(error) => reply.send(Err(error)),
                },
                Request::Try(reply) => {
                    let store = self.store.as_mut();
                    let _ = reply.send(store.is_none_or(|store| store.try_write().is_ok()));
                }
            }
        }
        let stored = self.commit(&changes);
        for waiting in waiting {
            match waiting {
                Waiting::Added(task, reply) => {
                    reply.send(stored.clone().map(|()| wire::add_response(&task)));
                }
                Waiting::Completed(reply) => {
                    reply.send(stored.clone().map(|()| wire::complete_response()));
                }
            }
        }
    }

    /// Stores and publishes the changes, or undoes them.
    fn commit(&mut self, changes: &[Change]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        if let Some(store) = &mut self.store
            && let Err(error) = metrics::committing("todo", || store.commit(changes))
        {
            self.ready.wrote(Err("tasks cannot be stored".into()));
            tracing::error!(%error, "changes to the to-do list are refused");
            self.draft = lock(&self.shared.list).list.clone();
            return Err(Error::unavailable("the to-do list cannot be stored"));
        }
        self.ready.wrote(Ok(()));
        for change in changes {
            self.shared.publish(change);
            let (id, title) = (change.task.id, &*change.task.title);
            tracing::debug!(id, ?title, action = ?change.action, "task changed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_ended_is_not_a_full_queue() {
        let todo = Todo::start(Config::default()).unwrap();
        let (requests, queue) = bounded(1);
        drop(queue);
        let inbox = Inbox {
            requests,
            ..todo.inbox.clone()
        };
        let (reply, mut answer) = Reply::later();
        inbox.submit(Request::Complete(1, reply));
        let answer = answer.try_recv().unwrap().expect("an answer");
        let error = answer.unwrap_err();
        assert_eq!(error.code, Code::Unavailable, "{error}");
    }
}
