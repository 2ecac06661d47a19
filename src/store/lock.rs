//! One owner for a file: a lock that the kernel gives back when its process
//! ends, however it ends.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::Error;

/// Held as long as it lives.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock for `file` by a second file beside it, named `file.lock`:
    /// SQLite loses its own locks when somebody else closes the database's file.
    /// Source: <https://www.sqlite.org/howtocorrupt.html>, section 2.2
    ///
    /// # Errors
    /// [`Error::InUse`], or what the system says.
    pub fn take(file: &Path) -> Result<Self, Error> {
        let (lock, failed) = open(file)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _file: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse {
                file: file.to_owned(),
            }),
            Err(TryLockError::Error(reason)) => Err(failed(reason)),
        }
    }

    /// Waits for it; for locks that nobody holds for long.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(file: &Path) -> Result<Self, Error> {
        let (lock, failed) = open(file)?;
        lock.lock().map_err(failed)?;
        Ok(Self { _file: lock })
    }
}

fn open(file: &Path) -> Result<(File, impl Fn(std::io::Error) -> Error + use<>), Error> {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let mut options = File::options();
    let opened = options.create(true).truncate(false).write(true).open(&name);
    let failed = move |reason| Error::File {
        file: name.clone(),
        reason,
    };
    Ok((opened.map_err(&failed)?, failed))
}
