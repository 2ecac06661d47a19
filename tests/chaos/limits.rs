//! A program that may have no more descriptors, or no more threads, than it has.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::cases::setting;
use super::stage::Stage;

/// How the faults of one program are called.
pub struct Names {
    pub descriptors: &'static str,
    pub threads: &'static str,
}

/// The limits of a program. It has to be told each time that the program starts.
#[derive(Default)]
pub struct Limits {
    process: AtomicU32,
    /// Its limit on descriptors before it was lowered.
    before: Mutex<Option<Rlimit>>,
    group: Option<Group>,
}

impl Limits {
    /// With a fault for each limit; for threads only if the run is asked for it, where a
    /// cgroup may be made. A C core that gets no thread for its executor counts it
    /// nevertheless, and what it queues there is never run: connections hang for good.
    /// Source: grpc 1.56.2, src/core/lib/iomgr/executor.cc, Executor::Enqueue.
    pub fn add_to(stage: &mut Stage, names: &Names) -> Arc<Self> {
        let is_asked_for = setting::<u8>("THREADS").is_some();
        let group = is_asked_for.then(Group::new).flatten();
        let limits = Arc::new(Self {
            group,
            ..Self::default()
        });
        let of = limits.clone();
        stage.own(names.descriptors, 1, move |begins| of.descriptors(begins));
        if limits.group.is_some() {
            let of = limits.clone();
            stage.own(names.threads, 1, move |begins| of.threads(begins));
        }
        limits
    }

    /// It has this number now, and no limits.
    pub fn started(&self, process: u32) {
        self.process.store(process, Ordering::SeqCst);
        *lock(&self.before) = None;
        if let Some(group) = &self.group {
            group.set(false);
            group.write("cgroup.procs", &process.to_string());
        }
    }

    fn descriptors(&self, begins: bool) {
        let process = self.process.load(Ordering::SeqCst);
        let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else {
            return; // It is down.
        };
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
        let mut before = lock(&self.before);
        let set = |limit| prlimit(pid, Resource::Nofile, limit).ok();
        if begins {
            let numbers = open.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
            let used: HashSet<u64> = numbers.collect();
            // A new descriptor gets the lowest number that is free, below the limit.
            let lowered = Rlimit {
                current: (0..).find(|number| !used.contains(number)),
                ..getrlimit(Resource::Nofile)
            };
            *before = set(lowered);
        } else if let Some(limit) = before.take() {
            set(limit);
        }
    }

    fn threads(&self, begins: bool) {
        if let Some(group) = &self.group {
            group.set(begins);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cgroup with the controller of processes. A user's own limit on threads would not do:
/// it does not count for root, and the tests of other users have threads, too.
struct Group {
    folder: PathBuf,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Group {
    /// In a hierarchy of its own, as of version 1, or in the one of version 2.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("messenger-chaos-{}-{number}", std::process::id());
        for parent in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
            let folder = PathBuf::from(parent).join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let changing = Mutex::default();
            // Removed again if it has no such controller, or takes no process.
            let group = Self { folder, changing };
            if group.folder.join("pids.max").exists() && group.takes_processes() {
                return Some(group);
            }
        }
        println!("no cgroup may be made: nothing runs out of threads in this run");
        None
    }

    fn takes_processes(&self) -> bool {
        let mut waits = Command::new("cat");
        let Ok(mut process) = waits.stdin(Stdio::piped()).spawn() else {
            return false;
        };
        let file = self.folder.join("cgroup.procs");
        let taken = fs::write(file, process.id().to_string());
        // Its input ends here.
        taken.is_ok() & process.wait().is_ok()
    }

    fn set(&self, is_full: bool) {
        let _one = lock(&self.changing);
        let used = fs::read_to_string(self.folder.join("pids.current"));
        let limit = match is_full {
            true => used.expect("a number of threads"),
            false => "max".into(),
        };
        self.write("pids.max", limit.trim());
    }

    fn write(&self, file: &str, value: &str) {
        fs::write(self.folder.join(file), value).expect(file);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is empty when its program is gone.
        let _ = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use messenger::chat::client::{ChatClient, ChatStream};
    use messenger::error::Code;

    use super::*;
    use crate::support::programs::{Program, Server};
    use crate::support::rpc::{client, send, subscribe};

    /// A server with these limits, and a client with a stream.
    struct Limited {
        // First, so that the group is empty when it goes.
        server: Program,
        limits: Limits,
        reader: ChatClient,
        stream: ChatStream,
    }

    impl Limited {
        fn start(group: Option<Group>) -> Self {
            let server = Server::start(&[]);
            let limits = Limits {
                group,
                ..Limits::default()
            };
            limits.started(server.pid());
            let reader = client(&server.address());
            let stream = subscribe(&reader).unwrap();
            Self {
                server,
                limits,
                reader,
                stream,
            }
        }

        fn sends(&mut self, text: &str) {
            send(&self.reader, "a", text);
            assert_eq!(self.stream.recv().unwrap().text, text);
        }
    }

    #[test]
    fn without_threads_new_streams_are_refused_clearly_and_those_that_there_are_go_on() {
        let Some(group) = Group::new() else {
            return; // It has said so.
        };
        let mut it = Limited::start(Some(group));
        it.limits.threads(true);
        let refused = subscribe(&it.reader).err().expect("no thread for it");
        assert_eq!(refused.code, Code::ResourceExhausted, "{refused}");
        assert!(refused.message.contains("no thread left"), "{refused}");
        it.sends("no threads");
        it.limits.threads(false);
        subscribe(&it.reader).unwrap();
    }

    #[test]
    fn without_descriptors_streams_go_on_and_new_clients_are_served_afterwards() {
        let mut it = Limited::start(None);
        it.limits.descriptors(true);
        let late = client(&it.server.address());
        it.sends("no descriptors");
        late.send("a", "late", Duration::from_millis(300))
            .unwrap_err();
        it.limits.descriptors(false);
        send(&client(&it.server.address()), "a", "afterwards");
    }
}
