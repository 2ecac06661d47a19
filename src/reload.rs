//! What is read from files, and read again when they change or SIGHUP comes:
//! certificates, tokens.

use std::fmt::Display;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use crate::retry::supervised;
use crate::sync::{lock, spawn, unpoisoned};

/// How often it is looked whether files have changed.
const LOOK: Duration = Duration::from_millis(250);

static ALL: Mutex<All> = Mutex::new(All {
    watched: Vec::new(),
    asked: false,
});
static ASKED: Condvar = Condvar::new();

/// For the thread "reload", which runs once something is watched.
struct All {
    watched: Vec<Watched>,
    /// To read all files again, changed or not.
    asked: bool,
}

struct Watched {
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
    read: Box<dyn FnMut() + Send>,
}

/// What shows that a file is another one, or has other content; `None` without a file.
type Stamp = Option<(u64, u64, u64, SystemTime)>;

fn stamp(file: &Path) -> Stamp {
    let found = file.metadata().ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.len(),
        found.modified().ok()?,
    ))
}

/// All that is watched is read again, changed or not. False if nothing is watched.
pub fn read_again() -> bool {
    let mut all = lock(&ALL);
    all.asked = true;
    ASKED.notify_one();
    !all.watched.is_empty()
}

fn run() {
    let mut all = lock(&ALL);
    loop {
        let wait = ASKED.wait_timeout_while(all, LOOK, |all| !all.asked);
        all = unpoisoned(wait).0;
        let asked = std::mem::take(&mut all.asked);
        for watched in &mut all.watched {
            let now = watched.files.iter().map(|file| stamp(file)).collect();
            if asked || watched.seen != now {
                watched.seen = now;
                (watched.read)();
            }
        }
    }
}

/// What was read from files last. When they change and cannot be read, what was read
/// before stays, and the log says so once.
#[derive(Debug)]
pub struct Live<T> {
    now: Mutex<Arc<T>>,
    version: AtomicU64,
}

impl<T: Send + Sync + 'static> Live<T> {
    /// Reads now. Reads again, for as long as the process runs, within half a second
    /// whenever one of the files is replaced, written, removed or comes back, and at each
    /// [`read_again`]: on the thread "reload", which serves all, so `read` must not wait
    /// for anything. What comes from a pipe is read now only. `what` names it in the
    /// log: "the certificate".
    ///
    /// # Errors
    /// Why it cannot be read now, or no thread.
    pub fn read<E: Display + From<io::Error>>(
        what: &'static str,
        files: impl IntoIterator<Item = impl AsRef<Path>>,
        mut read: impl FnMut() -> Result<T, E> + Send + 'static,
    ) -> Result<Arc<Self>, E> {
        let files = files.into_iter().map(|file| file.as_ref().to_owned());
        let files: Vec<_> = files.collect();
        // Before it is read, so that no change falls in between.
        let seen = files.iter().map(|file| stamp(file)).collect();
        let live = Arc::new(Self {
            now: Mutex::new(Arc::new(read()?)),
            version: AtomicU64::new(1),
        });
        let changed = live.clone();
        let read = Box::new(move || match read() {
            Ok(new) => {
                *lock(&changed.now) = Arc::new(new);
                changed.version.fetch_add(1, Ordering::Release);
                tracing::info!("{what} was read again");
            }
            Err(error) => tracing::error!(%error, "{what} cannot be read again; the old one stays"),
        });
        // A pipe can be read only once, and a second time would wait for ever.
        if !files.iter().all(|file| file.is_file()) {
            return Ok(live);
        }
        let mut all = lock(&ALL);
        if all.watched.is_empty() {
            spawn("reload", || supervised(run))?;
        }
        all.watched.push(Watched { files, seen, read });
        Ok(live)
    }

    pub fn get(&self) -> Arc<T> {
        lock(&self.now).clone()
    }

    /// Grows by one with each change, from 1; to be asked for before [`Live::get`].
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_change_is_noticed_whichever_way_and_what_cannot_be_read_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "first").unwrap();
        fs::write(path("b"), "other").unwrap();
        symlink(path("a"), path("link")).unwrap();
        let (sender, reads) = crossbeam_channel::unbounded();
        let link = path("link");
        let live = Live::read("the text", [path("link")], move || {
            let read = fs::read_to_string(&link);
            let _ = sender.send(read.as_ref().ok().cloned());
            read
        });
        let live = live.unwrap();
        // Another test may have all files read again at any time.
        let is_read = |text: Option<&str>| {
            while reads
                .recv_timeout(Duration::from_secs(10))
                .unwrap()
                .as_deref()
                != text
            {}
        };
        let mut file = fs::File::options().append(true).open(path("a")).unwrap();
        file.write_all(b" more").unwrap();
        is_read(Some("first more"));
        symlink(path("b"), path("new")).unwrap();
        fs::rename(path("new"), path("link")).unwrap();
        is_read(Some("other"));
        fs::remove_file(path("b")).unwrap();
        is_read(None);
        assert!(read_again());
        is_read(None);
        assert_eq!(live.get().as_str(), "other");
        let version = live.version();
        fs::rename(path("a"), path("b")).unwrap();
        is_read(Some("first more"));
        assert!(read_again());
        is_read(Some("first more"));
        assert_eq!(live.get().as_str(), "first more");
        assert!(live.version() > version);
    }
}
