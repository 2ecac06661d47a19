//! Consumers: each process has a file in `consumers`, locked as long as it lives. A
//! file that is not locked belongs to a process that has died.

use std::fs;
use std::path::{Path, PathBuf};

use crate::db::lock::Lock;
use crate::db::{Error, OPENING, make_folder};
use crate::key;

const FOLDER: &str = "consumers";
const ENDING: &str = ".lock";

/// This process as a consumer, or one that has died. Dropping this removes its file.
pub struct Consumer {
    pub name: String,
    file: PathBuf,
    _lock: Lock,
}

impl Consumer {
    /// # Errors
    /// A folder that cannot be written.
    pub fn start(folder: &Path) -> Result<Self, Error> {
        make_folder(&folder.join(FOLDER))?;
        let take = |file: &Path| Lock::wait(file, OPENING);
        Self::locked(folder, key::random(), take)
    }

    fn locked(
        folder: &Path,
        name: String,
        take: impl FnOnce(&Path) -> Result<Lock, Error>,
    ) -> Result<Self, Error> {
        let folder = folder.join(FOLDER);
        Ok(Self {
            _lock: take(&folder.join(&name))?,
            file: folder.join(format!("{name}{ENDING}")),
            name,
        })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // If the file stays, the next process finds it unlocked.
        let _ = fs::remove_file(&self.file);
    }
}

/// The consumers of these whose processes have died.
pub fn dead(folder: &Path, names: Vec<String>) -> Vec<Consumer> {
    let locked = names.into_iter();
    let locked = locked.map(|name| Consumer::locked(folder, name, Lock::take));
    locked.flatten().collect()
}

/// How many consumers are alive.
pub fn count(folder: &Path) -> u64 {
    let live = names(folder).into_iter().filter(|name| {
        match Lock::take(&folder.join(FOLDER).join(name)) {
            Err(Error::InUse { .. }) => true,
            Ok(_) | Err(_) => false,
        }
    });
    live.count() as u64
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join(FOLDER)).into_iter().flatten();
    let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    files
        .filter_map(|file| file.strip_suffix(ENDING).map(str::to_owned))
        .collect()
}
