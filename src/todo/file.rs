//! The to-do list in a file: `todo.sqlite3` in the data folder, for one server.

use std::path::Path;

use rusqlite::{Row, params};

use super::list::{Action, Change, Task};
use crate::db::lock::Lock;
use crate::db::sqlite::File;
use crate::db::{Error, make_folder};

mod migrations {
    refinery::embed_migrations!("src/todo/migrations/sqlite");
}

/// An open to-do file, locked against other processes. For one thread.
pub struct TodoStore {
    file: File,
    /// Released last.
    _lock: Lock,
}

impl TodoStore {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`Error::InUse`] while another process has it, or what SQLite says.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        make_folder(folder)?;
        let file = folder.join("todo.sqlite3");
        let lock = Lock::take(&file)?;
        Ok(Self {
            file: File::open(file, migrations::migrations::runner())?,
            _lock: lock,
        })
    }

    /// All tasks, in the order of their ids.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn load(&mut self) -> Result<Vec<Task>, Error> {
        let select = "SELECT id, title, completed FROM tasks ORDER BY id";
        let task = |row: &Row<'_>| {
            Ok(Task {
                id: row.get(0)?,
                title: row.get::<_, String>(1)?.into(),
                completed: row.get(2)?,
            })
        };
        self.file.select(select, [], task)
    }

    /// Writes the changes as one transaction. When this returns, they are on
    /// the disk (fsync).
    ///
    /// # Errors
    /// What SQLite says; then none of them is stored.
    pub fn commit(&mut self, changes: &[Change]) -> Result<(), Error> {
        self.file.transaction(|transaction| {
            for Change { task, action } in changes {
                match action {
                    Action::Added => transaction
                        .prepare_cached("INSERT INTO tasks (id, title) VALUES (?1, ?2)")?
                        .execute(params![task.id, &*task.title])?,
                    Action::Completed => transaction
                        .prepare_cached("UPDATE tasks SET completed = 1 WHERE id = ?1")?
                        .execute(params![task.id])?,
                };
            }
            Ok(())
        })
    }

    /// Writes, and changes nothing.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn try_write(&mut self) -> Result<(), Error> {
        self.file
            .run(|it| it.pragma_update(None, "user_version", 0))
    }
}
