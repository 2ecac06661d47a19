//! Notifies other processes of new tasks: one writes to `queue.wake`, the others
//! watch it with inotify. Nobody polls.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rustix::fs::inotify;

use crate::db::Error;
use crate::sync::spawn;

pub struct Wake {
    path: PathBuf,
    file: File,
    /// Room for one is enough: a notified process looks for all tasks.
    sender: Sender<()>,
    nudges: Receiver<()>,
    over: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Wake {
    /// # Errors
    /// A folder that cannot be written.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("queue.wake");
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        let file = options.open(&path).map_err(failed(&path))?;
        let (sender, nudges) = bounded(1);
        Ok(Self {
            path,
            file,
            sender,
            nudges,
            over: Arc::default(),
            watcher: None,
        })
    }

    /// Notifies all watchers, in this process and in others.
    pub fn nudge(&self) {
        // A process that was not notified finds out at its next check.
        let _ = self.file.write_at(b"!", 0);
    }

    /// Receives when any process has nudged.
    pub fn nudges(&self) -> &Receiver<()> {
        &self.nudges
    }

    /// Starts to watch, on a thread of its own: "queue-watch".
    ///
    /// # Errors
    /// When the kernel allows no more watches, or the thread cannot be started.
    pub fn watch(&mut self) -> Result<(), Error> {
        let watch = || -> io::Result<_> {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
            inotify::add_watch(&watch, &self.path, inotify::WatchFlags::MODIFY)?;
            let (sender, over) = (self.sender.clone(), self.over.clone());
            spawn("queue-watch", move || forward(&watch, &sender, &over))
        };
        self.watcher = Some(watch().map_err(failed(&self.path))?);
        Ok(())
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(watcher) = self.watcher.take() {
            self.nudge();
            let _ = watcher.join();
        }
    }
}

fn forward(watch: &OwnedFd, nudges: &Sender<()>, over: &AtomicBool) {
    let mut events = [0; 1024];
    while rustix::io::read(watch, &mut events).is_ok() && !over.load(Ordering::Acquire) {
        if let Err(TrySendError::Disconnected(())) = nudges.try_send(()) {
            return;
        }
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let folder = path.to_owned();
    move |reason| Error::Folder {
        folder: folder.clone(),
        reason,
    }
}
