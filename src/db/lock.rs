//! One owner for a file: a lock that the kernel gives back when its process
//! ends, however it ends.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::Error;

/// How often [`Lock::wait`] tries. The kernel has no wait with a time limit.
const TRY: Duration = Duration::from_millis(5);

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
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let failed = |reason| Error::File {
            file: PathBuf::from(&name),
            reason,
        };
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&name)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _file: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse {
                file: file.to_owned(),
            }),
            Err(TryLockError::Error(reason)) => Err(failed(reason)),
        }
    }

    /// Takes the lock when the others have let it go, within this time.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn wait(file: &Path, within: Duration) -> Result<Self, Error> {
        let deadline = Instant::now() + within;
        loop {
            match Self::take(file) {
                Err(Error::InUse { .. }) if Instant::now() < deadline => thread::sleep(TRY),
                taken => return taken,
            }
        }
    }
}
