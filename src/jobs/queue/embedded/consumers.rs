//! Who consumes: each process has a file in `consumers`, locked as long as it
//! lives. A file that nobody holds is of a process that has died, however it did.

use std::fs;
use std::path::{Path, PathBuf};

use crate::db::lock::Lock;
use crate::db::{Error, OPENING, make_folder};
use crate::jobs::queue::new_id;

/// This process as a consumer, until it is dropped.
pub struct Consumer {
    name: String,
    file: PathBuf,
    _lock: Lock,
}

impl Consumer {
    /// # Errors
    /// A folder that cannot be written.
    pub fn start(folder: &Path) -> Result<Self, Error> {
        let folder = folder.join(FOLDER);
        make_folder(&folder)?;
        let name = new_id();
        let lock = Lock::wait(&folder.join(&name), OPENING)?;
        let file = folder.join(format!("{name}{ENDING}"));
        Ok(Self {
            name,
            file,
            _lock: lock,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // One that stays is found to be nobody's.
        let _ = fs::remove_file(&self.file);
    }
}

const FOLDER: &str = "consumers";
const ENDING: &str = ".lock";

/// A consumer that has died. Its file goes when this does; whether it had tasks,
/// `tasks` knows.
pub struct Left {
    pub name: String,
    file: PathBuf,
    _lock: Lock,
}

impl Drop for Left {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Those of these whose processes have died.
pub fn dead(folder: &Path, names: Vec<String>) -> Vec<Left> {
    let locked = names.into_iter().map(|name| lock(folder, name));
    locked.flatten().collect()
}

/// How many live.
pub fn count(folder: &Path) -> u64 {
    let live = names(folder).into_iter().filter(|name| {
        match Lock::take(&folder.join(FOLDER).join(name)) {
            Err(Error::InUse { .. }) => true,
            Ok(_) | Err(_) => false,
        }
    });
    live.count() as u64
}

fn lock(folder: &Path, name: String) -> Option<Left> {
    let file = folder.join(FOLDER).join(&name);
    let lock = Lock::take(&file).ok()?;
    Some(Left {
        file: folder.join(FOLDER).join(format!("{name}{ENDING}")),
        name,
        _lock: lock,
    })
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join(FOLDER)).into_iter().flatten();
    let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    files
        .filter_map(|file| file.strip_suffix(ENDING).map(str::to_owned))
        .collect()
}
