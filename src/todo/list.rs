//! The to-do list's rules: what a task is, which changes there are, and when a
//! request is none.

use std::sync::Arc;

use crate::error::{Code, Error};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// From 1, rising, never used again.
    pub id: i32,
    pub title: Arc<str>,
    pub completed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Added,
    Completed,
}

/// One change to the list, with the task as it is after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub task: Task,
    pub action: Action,
}

/// What the list takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest title, in bytes of UTF-8.
    pub title_bytes: usize,
    pub tasks: usize,
    /// All titles together, in bytes of UTF-8, so that a client with gRPC's
    /// default limit of 4 MiB can receive the whole list.
    pub list_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            title_bytes: 1024,
            tasks: 100_000,
            list_bytes: 2 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// # Errors
    /// `InvalidArgument` that names the field and the limit.
    pub fn check(&self, title: &str) -> Result<(), Error> {
        if title.trim().is_empty() {
            return Err(Error::invalid("title: must not be empty"));
        }
        if title.len() > self.title_bytes {
            return Err(Error::invalid(format!(
                "title: {} bytes are more than the limit of {}",
                title.len(),
                self.title_bytes
            )));
        }
        Ok(())
    }
}

/// All tasks, in the order of their ids, which is the order of adding.
///
/// Cloning copies nothing; a change copies the list only while a clone lives.
#[derive(Clone, Debug, Default)]
pub struct TaskList {
    tasks: Arc<Vec<Task>>,
    title_bytes: usize,
}

impl TaskList {
    /// The list that was stored: ids rise, gaps are allowed.
    pub fn new(tasks: Vec<Task>) -> Self {
        let title_bytes = tasks.iter().map(|task| task.title.len()).sum();
        Self {
            tasks: Arc::new(tasks),
            title_bytes,
        }
    }

    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Adds a task, whose id is one above the last.
    ///
    /// # Errors
    /// As [`Limits::check`], and `ResourceExhausted` when the list is full; the
    /// list is as before then.
    pub fn add(&mut self, title: &str, limits: &Limits) -> Result<Change, Error> {
        limits.check(title)?;
        let full = |what: String| Err(Error::new(Code::ResourceExhausted, what));
        if self.tasks.len() >= limits.tasks {
            return full(format!("tasks: the limit is {}", limits.tasks));
        }
        if self.title_bytes + title.len() > limits.list_bytes {
            return full(format!(
                "tasks: all titles together may have {} bytes",
                limits.list_bytes
            ));
        }
        let last = self.tasks.last().map_or(0, |task| task.id);
        let Some(id) = last.checked_add(1) else {
            return full("tasks: there are no more ids".into());
        };
        let task = Task {
            id,
            title: title.into(),
            completed: false,
        };
        self.title_bytes += title.len();
        Arc::make_mut(&mut self.tasks).push(task.clone());
        Ok(Change {
            task,
            action: Action::Added,
        })
    }

    /// Completes a task. `None` if it was completed before: then there is
    /// nothing to tell.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn complete(&mut self, id: i32) -> Result<Option<Change>, Error> {
        let found = self.tasks.binary_search_by_key(&id, |task| task.id);
        let at = found.map_err(|_| Error::new(Code::NotFound, "Task not found"))?;
        if self.tasks[at].completed {
            return Ok(None);
        }
        let task = &mut Arc::make_mut(&mut self.tasks)[at];
        task.completed = true;
        Ok(Some(Change {
            task: task.clone(),
            action: Action::Completed,
        }))
    }

    /// Makes a change that was accepted elsewhere; one that is in the list
    /// already changes nothing, so a list may be fetched after the changes to
    /// it are watched.
    pub fn apply(&mut self, change: &Change) {
        let task = &change.task;
        match self.tasks.binary_search_by_key(&task.id, |task| task.id) {
            Ok(at) if self.tasks[at].completed || !task.completed => {}
            Ok(at) => Arc::make_mut(&mut self.tasks)[at].completed = true,
            Err(at) => {
                self.title_bytes += task.title.len();
                Arc::make_mut(&mut self.tasks).insert(at, task.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(titles: &[&str]) -> TaskList {
        let mut list = TaskList::default();
        for title in titles {
            list.add(title, &Limits::default()).unwrap();
        }
        list
    }

    #[test]
    fn ids_rise_from_one_and_go_on_behind_what_was_stored() {
        let mut tasks = list(&["a", "b"]).tasks().to_vec();
        assert_eq!(tasks.iter().map(|t| t.id).collect::<Vec<_>>(), [1, 2]);
        tasks.remove(0);
        let mut stored = TaskList::new(tasks);
        let change = stored.add("c", &Limits::default()).unwrap();
        assert_eq!((change.task.id, change.action), (3, Action::Added));
    }

    #[test]
    fn completing_twice_is_one_change_and_an_unknown_task_is_not_found() {
        let mut list = list(&["a"]);
        let change = list.complete(1).unwrap().unwrap();
        assert!(change.task.completed && change.action == Action::Completed);
        assert_eq!(list.complete(1), Ok(None));
        for id in [0, -1, 2, i32::MAX] {
            let error = list.complete(id).unwrap_err();
            assert_eq!(error, Error::new(Code::NotFound, "Task not found"));
        }
    }

    #[test]
    fn a_refused_task_names_the_field_and_leaves_the_list() {
        let limits = Limits {
            title_bytes: 4,
            tasks: 2,
            list_bytes: 6,
        };
        let mut list = TaskList::default();
        let code = |result: Result<Change, Error>| result.unwrap_err().code;
        assert_eq!(code(list.add("", &limits)), Code::InvalidArgument);
        assert_eq!(code(list.add(" ", &limits)), Code::InvalidArgument);
        assert_eq!(code(list.add("дом", &limits)), Code::InvalidArgument);
        list.add("abcd", &limits).unwrap();
        assert_eq!(code(list.add("abc", &limits)), Code::ResourceExhausted);
        assert_eq!(list.add("ab", &limits).unwrap().task.id, 2);
        assert_eq!(code(list.add("", &limits)), Code::InvalidArgument);
        assert_eq!(list.tasks().len(), 2);
        assert_eq!(code(list.add("a", &limits)), Code::ResourceExhausted);
    }

    #[test]
    fn the_same_changes_give_the_same_list_however_often_they_are_made() {
        let mut original = list(&["a", "b"]);
        let added = |task: &Task| Change {
            task: task.clone(),
            action: Action::Added,
        };
        let mut changes: Vec<_> = original.tasks().iter().map(added).collect();
        changes.push(original.complete(1).unwrap().unwrap());
        let mut copy = TaskList::default();
        for change in changes.iter().chain(&changes) {
            copy.apply(change);
        }
        assert_eq!(copy.tasks(), original.tasks());
    }

    #[test]
    fn a_clone_keeps_what_it_was() {
        let mut list = list(&["a"]);
        let before = list.clone();
        list.complete(1).unwrap();
        assert!(!before.tasks()[0].completed && list.tasks()[0].completed);
    }
}
