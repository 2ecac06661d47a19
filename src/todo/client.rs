//! The client of the to-do list.

use std::time::Duration;

use futures_util::stream::AbortHandle;

use super::wire::{self, TaskUpdate};
use crate::error::Error;
use crate::grpc::client::{Connection, Proof, Stream};

pub use super::list::{Change, Task, TaskList};

/// A client of a to-do server. May be shared between threads.
#[derive(Clone)]
pub struct TodoClient {
    connection: Connection,
    timeout: Duration,
}

impl TodoClient {
    /// `timeout` is for each call.
    pub fn over(connection: Connection, timeout: Duration) -> Self {
        Self {
            connection,
            timeout,
        }
    }

    /// Adds a task and returns it with the id that it was given.
    ///
    /// # Errors
    /// As [`Connection::call`], as all of these.
    pub fn add(&self, title: &str) -> Result<Task, Error> {
        let request = wire::AddTaskRequest {
            title: title.into(),
            ..Default::default()
        };
        let response = self
            .connection
            .call(&wire::ADD_TASK, &request, self.timeout)?;
        Ok(wire::task(&response.task))
    }

    /// All tasks.
    ///
    /// # Errors
    /// The status of a call that failed.
    pub fn list(&self) -> Result<TaskList, Error> {
        let request = wire::GetTasksRequest::default();
        let response = self
            .connection
            .call(&wire::GET_TASKS, &request, self.timeout)?;
        let mut tasks: Vec<Task> = response.tasks.iter().map(wire::task).collect();
        // A Python server may keep them in any order.
        tasks.sort_by_key(|task| task.id);
        Ok(TaskList::new(tasks))
    }

    /// Completes a task.
    ///
    /// # Errors
    /// NOT_FOUND if there is none with this id, or the status of a call that failed.
    pub fn complete(&self, id: i32) -> Result<(), Error> {
        let request = wire::CompleteTaskRequest {
            task_id: id,
            ..Default::default()
        };
        let response = self
            .connection
            .call(&wire::COMPLETE_TASK, &request, self.timeout)?;
        if response.success {
            return Ok(());
        }
        Err(Error::new(crate::error::Code::NotFound, "Task not found"))
    }

    /// Watches all changes from now on; see [`Connection::settle`].
    ///
    /// # Errors
    /// The status of a call that failed.
    pub fn watch(&self, settle: Duration) -> Result<(TodoStream, Proof), Error> {
        let request = wire::WatchTasksRequest {
            confirm: true,
            ..Default::default()
        };
        let connection = &self.connection;
        let mut stream = connection.stream(&wire::WATCH_TASKS, &request)?;
        let confirms = |first: &TaskUpdate| *first == TaskUpdate::default();
        let proof = connection.settle(&mut stream, self.timeout, settle, confirms)?;
        Ok((TodoStream { stream }, proof))
    }
}

/// A live WatchTasks stream; dropping it cancels the call.
pub struct TodoStream {
    stream: Stream<TaskUpdate>,
}

impl TodoStream {
    /// Blocks until there is a change. Unknown kinds of changes are skipped.
    ///
    /// # Errors
    /// Why the stream ended; CANCELLED after [`AbortHandle::abort`].
    pub fn recv(&mut self) -> Result<Change, Error> {
        loop {
            let ended = || Error::unavailable("the server ended the stream");
            let update = self.stream.recv()?.ok_or_else(ended)?;
            match wire::change(&update) {
                Some(change) => return Ok(change),
                None => tracing::debug!(
                    action = update.action,
                    "an unknown kind of change is skipped"
                ),
            }
        }
    }

    /// Ends the stream from another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        self.stream.abort_handle()
    }
}
