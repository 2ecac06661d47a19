//! What is read from files, and read again when they change or SIGHUP comes:
//! certificates, tokens.

use std::fmt::Display;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::retry::supervised;
use crate::sync::lock;

/// How often it is looked whether files have changed.
const LOOK: Duration = Duration::from_millis(250);

/// The thread "reload", once something is watched.
static THREAD: OnceLock<Sender<Event>> = OnceLock::new();

enum Event {
    Watch(Watched),
    ReadAgain,
}

/// What shows that a file is another one, or has other content; `None` without a file.
type Stamp = Option<(u64, u64, u64, SystemTime)>;

struct Watched {
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
    on_change: Box<dyn FnMut() + Send>,
}

/// Calls `on_change` within half a second whenever one of the files is replaced,
/// written, removed or comes back, and at each [`read_again`]: on the thread "reload",
/// which serves all watchers, so it must not wait for anything. For as long as the
/// process runs.
///
/// # Errors
/// When the thread cannot be started.
pub fn watch(files: &[&Path], on_change: impl FnMut() + Send + 'static) -> io::Result<()> {
    let files: Vec<_> = files.iter().map(|file| file.to_path_buf()).collect();
    let seen = files.iter().map(|file| stamp(file)).collect();
    start(Watched {
        files,
        seen,
        on_change: Box::new(on_change),
    })
}

fn start(watched: Watched) -> io::Result<()> {
    static STARTING: Mutex<()> = Mutex::new(());
    let starting = lock(&STARTING);
    let thread = match THREAD.get() {
        Some(thread) => thread,
        None => {
            // Over it, a watcher waits, and a SIGHUP is one of those that wait already.
            let (sender, events) = bounded(16);
            let mut all = Vec::new();
            let thread = std::thread::Builder::new().name("reload".into());
            thread.spawn(move || supervised(|| run(&mut all, &events)))?;
            THREAD.get_or_init(|| sender)
        }
    };
    drop(starting);
    thread
        .send(Event::Watch(watched))
        .map_err(|_| io::Error::other("the thread has ended"))
}

/// All that is watched is read again, changed or not. False if nothing is watched.
pub fn read_again() -> bool {
    // Without room there are such events in the queue already.
    THREAD.get().is_some_and(|thread| {
        let _ = thread.try_send(Event::ReadAgain);
        true
    })
}

fn run(all: &mut Vec<Watched>, events: &Receiver<Event>) {
    loop {
        let asked = match events.recv_timeout(LOOK) {
            Ok(Event::Watch(watched)) => {
                all.push(watched);
                continue;
            }
            Ok(Event::ReadAgain) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        for watched in &mut *all {
            let now = watched.files.iter().map(|file| stamp(file)).collect();
            if asked || watched.seen != now {
                watched.seen = now;
                (watched.on_change)();
            }
        }
    }
}

fn stamp(file: &Path) -> Stamp {
    let found = file.metadata().ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.len(),
        found.modified().ok()?,
    ))
}

/// What was read from files last. When they change and cannot be read, what was read
/// before stays, and the log says so once.
#[derive(Debug)]
pub struct Live<T> {
    now: Mutex<Arc<T>>,
    version: AtomicU64,
}

impl<T: Send + Sync + 'static> Live<T> {
    /// Reads now, and again as [`watch`] does, on its thread. `what` names it in the
    /// log: "the certificate".
    ///
    /// # Errors
    /// Why it cannot be read now.
    pub fn read<E: Display + From<io::Error>>(
        what: &'static str,
        files: &[&Path],
        mut read: impl FnMut() -> Result<T, E> + Send + 'static,
    ) -> Result<Arc<Self>, E> {
        // Before it is read, so that no change falls in between.
        let seen = files.iter().map(|file| stamp(file)).collect();
        let live = Arc::new(Self {
            now: Mutex::new(Arc::new(read()?)),
            version: AtomicU64::new(1),
        });
        let changed = live.clone();
        let on_change = move || match read() {
            Ok(new) => {
                *lock(&changed.now) = Arc::new(new);
                changed.version.fetch_add(1, Ordering::Release);
                tracing::info!("{what} was read again");
            }
            Err(error) => tracing::error!(%error, "{what} cannot be read again; the old one stays"),
        };
        start(Watched {
            files: files.iter().map(|file| file.to_path_buf()).collect(),
            seen,
            on_change: Box::new(on_change),
        })?;
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
    fn a_file_that_changes_is_noticed_whichever_way_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "first").unwrap();
        fs::write(path("b"), "other").unwrap();
        symlink(path("a"), path("link")).unwrap();
        let (sender, changes) = bounded(1);
        watch(&[&path("link")], move || sender.send(()).unwrap()).unwrap();
        let noticed = || changes.recv_timeout(Duration::from_secs(10)).unwrap();
        let mut file = fs::File::options().append(true).open(path("a")).unwrap();
        file.write_all(b"more").unwrap();
        noticed();
        symlink(path("b"), path("new")).unwrap();
        fs::rename(path("new"), path("link")).unwrap();
        noticed();
        fs::remove_file(path("b")).unwrap();
        noticed();
        fs::rename(path("a"), path("b")).unwrap();
        noticed();
        assert!(read_again());
        noticed();
        assert!(changes.recv_timeout(2 * LOOK).is_err());
    }
}
