//! Clients that add, complete and list tasks, and that watch.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::FutureExt as _;
use messenger::error::{Code, Error};
use messenger::grpc::blocking;
use messenger::todo::client::{TaskList, TodoClient};
use messenger::todo::list::Action;
use messenger::todo::wire::{self, TaskUpdate, WatchTasksRequest};

use super::event::{Answer, Ask, Listed, TodoEvent};
use crate::chaos::record::Pen;
use crate::chaos::run::Stop;
use crate::support::SOON;
use crate::support::rpc::{Stream, connection, raw};

/// Long enough for a busy server, short enough for one that is gone.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often a watcher that gets nothing looks at what else there is to do.
const LOOK: Duration = Duration::from_millis(100);

/// The id of the last task of a run, for which all watchers wait.
pub type Last = OnceLock<i32>;

/// One client, with a connection of its own.
pub struct Client {
    rng: Rng,
    address: String,
    todo: TodoClient,
    pen: Pen<TodoEvent>,
    /// Of its next call or stream.
    next: u64,
    titles: HashMap<i32, u64>,
}

impl Client {
    pub fn new(seed: u64, number: usize, port: u16, pen: Pen<TodoEvent>) -> Self {
        let next = 1_000_000 * (number as u64 + 1);
        let address = format!("127.0.0.1:{port}");
        Self {
            rng: Rng::with_seed(seed ^ (next << 32)),
            todo: TodoClient::over(connection(&address), TIMEOUT),
            address,
            pen,
            next,
            titles: HashMap::new(),
        }
    }

    /// Adds tasks and completes them, some twice, and some that are not there.
    pub fn write(&mut self, stop: &Stop) {
        let mut open = Vec::new();
        loop {
            let pause = Duration::from_millis(self.rng.u64(..40));
            if stop.wait(pause) {
                return;
            }
            match self.rng.u8(..100) {
                0..55 => open.extend(self.add()),
                // Nobody knows yet whether that is there.
                55..58 => drop(self.complete(open.last().map_or(1, |id| id + 1))),
                58..62 if !open.is_empty() => {
                    let id = open[self.rng.usize(..open.len())];
                    self.complete(id);
                }
                _ => {
                    let from = open.len().saturating_sub(3);
                    if !open.is_empty() {
                        let id = open.remove(self.rng.usize(from..open.len()));
                        if self.complete(id) && self.rng.bool() {
                            self.complete(id);
                        }
                    }
                }
            }
        }
    }

    pub fn look(&mut self, stop: &Stop) {
        while !stop.wait(Duration::from_millis(self.rng.u64(..120))) {
            self.list();
        }
    }

    /// Adds the last task and lists all, when everything is whole again.
    pub fn end(&mut self, last: &Last) {
        let id = (0..60).find_map(|_| self.add());
        let id = id.expect("a server that takes tasks when all is whole again");
        self.pen.note(TodoEvent::Last { id });
        let _ = last.set(id);
        let listed = (0..60).any(|_| self.list());
        assert!(listed, "a server that lists when all is whole again");
    }

    fn call<T>(
        &mut self,
        ask: Ask,
        run: impl FnOnce(&TodoClient, u64, u8) -> Result<T, Error>,
        answer: impl FnOnce(&T, &mut HashMap<i32, u64>) -> Answer,
    ) -> Option<T> {
        let (call, chance) = (self.next, self.rng.u8(..));
        self.next += 1;
        self.pen.note(TodoEvent::Asked { call, ask });
        let result = run(&self.todo, call, chance);
        let answer = match &result {
            Ok(done) => answer(done, &mut self.titles),
            Err(error) => failure(error),
        };
        self.pen.note(TodoEvent::Done { call, answer });
        result.ok()
    }

    fn add(&mut self) -> Option<i32> {
        let add = |todo: &TodoClient, call: u64, chance: u8| {
            let title = match chance {
                // Too long: it has to be refused.
                0..4 => format!("{call} {}", "x".repeat(2_000)),
                _ => format!("{call} {}", "x".repeat(usize::from(chance) / 2)),
            };
            let task = todo.add(&title)?;
            assert_eq!(*task.title, title, "the answer has another title");
            Ok(task.id)
        };
        self.call(Ask::Add, add, |id, _| Answer::Added(*id))
    }

    fn complete(&mut self, id: i32) -> bool {
        let complete = |todo: &TodoClient, _, _| todo.complete(id);
        let done = self.call(Ask::Complete(id), complete, |(), _| Answer::Completed);
        done.is_some()
    }

    fn list(&mut self) -> bool {
        let list = |todo: &TodoClient, _, _| todo.list();
        let listed = |list: &TaskList, titles: &mut HashMap<i32, u64>| {
            let tasks = list.tasks().iter();
            let new = tasks.clone().filter_map(|task| {
                let title = number(&task.title);
                let known = titles.insert(task.id, title);
                (known != Some(title)).then_some((task.id, title))
            });
            let titles = new.collect();
            let done = tasks.clone().filter(|task| task.completed);
            Answer::Listed(Listed {
                there: Listed::ranges(tasks.map(|task| task.id)),
                done: Listed::ranges(done.map(|task| task.id)),
                titles,
            })
        };
        self.call(Ask::List, list, listed).is_some()
    }

    /// One stream after the other, each on a connection of its own, until the last
    /// task is told.
    pub fn watch(&mut self, stop: &Stop, last: &Last) {
        while !stop.is_stopped() {
            let stream = self.next;
            self.next += 1;
            let client = raw(&self.address);
            self.pen.note(TodoEvent::Opens { stream });
            let request = WatchTasksRequest {
                confirm: true,
                ..Default::default()
            };
            let mut changes = Stream::open(&client, &wire::WATCH_TASKS, &request);
            if self.follow(stream, &mut changes, stop, last) {
                return;
            }
            drop(changes);
            stop.wait(Duration::from_millis(self.rng.u64(..200)));
        }
    }

    /// Reads to an end; whether that was the end of the run.
    fn follow(
        &mut self,
        stream: u64,
        changes: &mut Stream<TaskUpdate>,
        stop: &Stop,
        last: &Last,
    ) -> bool {
        let leaves = self.rng.u8(..3) == 0;
        let (mut left, mut deadline) = (self.rng.u64(..300), None);
        // The last one may be told before it is answered.
        let mut newest = 0;
        while last.get().is_none_or(|last| newest < *last) {
            match blocking::wait(changes.next().fuse(), Some(LOOK)) {
                Some(Ok(first)) if first == TaskUpdate::default() => {
                    self.pen.note(TodoEvent::Registered { stream });
                    // Perhaps too late for the last one.
                    if last.get().is_some() {
                        break;
                    }
                }
                Some(Ok(update)) => {
                    let change = wire::change(&update).expect("a change");
                    self.pen.note(TodoEvent::Told {
                        stream,
                        change: (change.task.id, change.action == Action::Completed),
                        title: number(&change.task.title),
                    });
                    newest = newest.max(change.task.id);
                    left = left.saturating_sub(1);
                }
                Some(Err(status)) => {
                    let status = format!("{} {}", status.code(), status.message());
                    self.pen.note(TodoEvent::Ended { stream, status });
                    return false;
                }
                None => {}
            }
            if stop.is_stopped() {
                // The last one comes soon, or never.
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + 2 * SOON);
                if Instant::now() > deadline {
                    break;
                }
            } else if left == 0 && leaves {
                self.pen.note(TodoEvent::Left { stream });
                return false;
            } else if left == 0 {
                left = self.rng.u64(100..1_000);
                stop.wait(Duration::from_millis(self.rng.u64(..2_500)));
            }
        }
        self.pen.note(TodoEvent::Left { stream });
        true
    }
}

/// The number in a title.
fn number(title: &str) -> u64 {
    let (number, rest) = title.split_once(' ').unwrap_or_default();
    assert!(rest.bytes().all(|x| x == b'x'), "no title of ours: {title}");
    number.parse().expect("a number")
}

/// What a call that failed says of its change. UNAVAILABLE may also be the
/// transport's.
fn failure(error: &Error) -> Answer {
    match error.code {
        Code::NotFound => Answer::NotFound,
        Code::InvalidArgument | Code::ResourceExhausted => Answer::Refused(error.to_string()),
        Code::Unavailable if error.message == "the to-do list cannot be stored" => {
            Answer::Refused(error.to_string())
        }
        _ => Answer::Unknown(error.to_string()),
    }
}
