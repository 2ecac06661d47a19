//! The queue in a file of the data folder, `queue.sqlite3`, for one process or
//! several on one machine. The thread "queue" owns this process's connection: it
//! takes all commands that wait, carries them out as one transaction, and answers
//! when that is on the disk.
//!
//! A task that was delivered belongs to its consumer as long as that process
//! lives, which a file lock shows (`consumers`); there is no timeout, so a slow
//! worker keeps its task. `wake` notifies other processes of new tasks.

mod consumers;
mod file;
mod wake;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, select};

use super::failpoint::{self, Point};
use super::{
    Command, DeadLetter, Delivery, Look, Looked, Outgoing, Owned, Publication, Subscription, Token,
    Which,
};
use crate::db;
use crate::error::Error;
use consumers::Consumer;
use file::File;
use wake::Wake;

/// How often a consumer looks for tasks of processes that have died.
const RECOVERY: Duration = Duration::from_millis(500);

/// Commands that are carried out as one transaction.
const BATCH: usize = 1024;

/// The file is never lost as a connection is, so there is only one epoch.
const EPOCH: u64 = 0;

pub struct Owner {
    folder: PathBuf,
    file: File,
    wake: Wake,
    owned: Owned,
    consuming: Option<Consuming>,
    /// Not carried out yet, since the file could not be written.
    settled: Vec<Settled>,
    /// Dead letters that are to be requeued, and the last that was looked at.
    taken: Vec<i64>,
    looked_at: i64,
}

struct Consuming {
    consumer: Consumer,
    deliveries: Sender<Delivery>,
    prefetch: usize,
    /// Delivered and not settled.
    unsettled: usize,
    /// When it last looked for processes that have died.
    recovered: Option<Instant>,
}

/// What a consumer may take.
struct Claim {
    name: String,
    room: usize,
    /// Whose tasks are free now. Their locks are held until that is written.
    left: Vec<Consumer>,
}

/// How a delivery was settled.
enum Settled {
    Done(i64),
    DeadLetter(i64, Vec<DeadLetter>),
}

impl Owner {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// A folder or a file that cannot be used.
    pub fn open(folder: &Path, owned: Owned) -> Result<Self, db::Error> {
        owned.epoch.store(EPOCH, Ordering::Release);
        Ok(Self {
            folder: folder.to_owned(),
            file: File::open(folder)?,
            wake: Wake::open(folder)?,
            owned,
            consuming: None,
            settled: Vec::new(),
            taken: Vec::new(),
            looked_at: 0,
        })
    }

    pub fn run(mut self) {
        loop {
            let Ok(first) = self.wait() else {
                break;
            };
            let mut publications = Vec::new();
            let more = self.owned.commands.clone();
            for command in first.into_iter().chain(more.try_iter().take(BATCH)) {
                self.obey(command, &mut publications);
            }
            self.carry_out(publications);
        }
        // What was delivered and is not settled is free for others.
        if let Some(consuming) = self.consuming.take() {
            let name = consuming.consumer.name.clone();
            if let Err(error) = self.file.release(&name) {
                tracing::warn!("{error}");
            }
            drop(consuming);
            self.wake.nudge();
        }
    }

    /// The next command, or none if there is something else to do. `Err` is the
    /// end.
    fn wait(&self) -> Result<Option<Command>, ()> {
        let commands = &self.owned.commands;
        if self.consuming.is_none() {
            return commands.recv().map(Some).map_err(drop);
        }
        select! {
            recv(commands) -> command => command.map(Some).map_err(drop),
            recv(self.wake.nudges()) -> _ => Ok(None),
            default(RECOVERY) => Ok(None),
        }
    }

    /// Replies are ignored when the caller has stopped waiting.
    fn obey(&mut self, command: Command, publications: &mut Vec<Publication>) {
        match command {
            Command::Publish(publication) => publications.push(publication),
            Command::Consume(wanted) => self.consume(wanted),
            Command::Ack(tokens) => {
                let done = tokens.into_iter().map(|token| Settled::Done(seq(token)));
                self.settled.extend(done);
            }
            Command::DeadLetter(token, dead) => {
                self.settled.push(Settled::DeadLetter(seq(token), dead));
            }
            Command::Depth(reply) => {
                let depth = self.file.depth().map(|depth| super::Depth {
                    consumers: consumers::count(&self.folder),
                    ..depth
                });
                let _ = reply.send(depth.map_err(unavailable));
            }
            Command::Waiting(limit, reply) => {
                let _ = reply.send(self.file.waiting(limit).map_err(unavailable));
            }
            Command::LookAtDead(look, reply) => {
                let _ = reply.send(self.look_at_dead(&look).map_err(unavailable));
            }
            Command::PutBack(_, reply) => {
                let taken = std::mem::take(&mut self.taken);
                if taken.is_empty() {
                    self.looked_at = 0;
                }
                let _ = reply.send(self.file.requeue(&taken).map_err(unavailable));
                self.wake.nudge();
            }
        }
    }

    fn look_at_dead(&mut self, look: &Look) -> Result<Looked, db::Error> {
        let behind = if look.oldest { 0 } else { self.looked_at };
        let mut dead = self.file.dead_after(behind, look.limit)?;
        let count = dead.len();
        self.looked_at = dead.last().map_or(behind, |(seq, _)| *seq);
        if let Some(Which::Ids(ids)) = &look.take {
            dead.retain(|(_, dead)| dead.id.as_ref().is_some_and(|id| ids.contains(id)));
        }
        let (taken, dead) = dead.into_iter().unzip();
        // A requeue that was given up is forgotten.
        self.taken = look.take.as_ref().map_or(Vec::new(), |_| taken);
        Ok(Looked { count, dead })
    }

    fn consume(&mut self, wanted: Subscription) {
        let consumer = Consumer::start(&self.folder);
        match consumer.and_then(|consumer| self.wake.watch().map(|()| consumer)) {
            Ok(consumer) => {
                self.consuming = Some(Consuming {
                    consumer,
                    deliveries: wanted.deliveries,
                    prefetch: usize::from(wanted.prefetch),
                    unsettled: 0,
                    recovered: None,
                });
            }
            // The workers see their channel end.
            Err(error) => tracing::error!("cannot consume: {error}"),
        }
    }

    /// Writes what was sent and settled, claims as many tasks as there is room
    /// for, and answers once that is committed.
    fn carry_out(&mut self, publications: Vec<Publication>) {
        if !publications.is_empty() {
            failpoint::reach(Point::BeforePublish);
        }
        if !self.settled.is_empty() {
            failpoint::reach(Point::BeforeAck);
        }
        let tasks: Vec<&Outgoing> = publications.iter().flat_map(|p| &p.tasks).collect();
        let sent = !tasks.is_empty();
        let claim = self.claim();
        let left = claim.as_ref().map_or(&[][..], |claim| &claim.left);
        let written = self.file.write(
            &tasks,
            &self.settled,
            claim.as_ref().map(|c| (&*c.name, c.room)),
            left,
        );
        let deliveries = match written {
            Ok(deliveries) => deliveries,
            Err(error) => {
                tracing::warn!("{error}");
                for publication in publications {
                    Command::Publish(publication).refuse(&error.to_string());
                }
                return;
            }
        };
        if sent {
            failpoint::reach(Point::BeforeConfirm);
        }
        if sent || !left.is_empty() {
            self.wake.nudge();
        }
        for publication in publications {
            let _ = publication.reply.send(Ok(()));
        }
        let settled = std::mem::take(&mut self.settled).len();
        if let Some(consuming) = &mut self.consuming {
            consuming.unsettled = consuming.unsettled.saturating_sub(settled) + deliveries.len();
            for delivery in deliveries {
                // There is room for the prefetch, unless the workers have ended.
                let _ = consuming.deliveries.try_send(delivery);
            }
        }
    }

    /// What this process may take now.
    fn claim(&mut self) -> Option<Claim> {
        let consuming = self.consuming.as_mut()?;
        let name = consuming.consumer.name.clone();
        let busy = consuming.unsettled.saturating_sub(self.settled.len());
        let room = consuming.prefetch.saturating_sub(busy);
        let due = consuming
            .recovered
            .is_none_or(|last| last.elapsed() >= RECOVERY);
        let left = if due {
            consuming.recovered = Some(Instant::now());
            // What cannot be read now is read the next time.
            let mut owners = self.file.owners().unwrap_or_default();
            owners.retain(|owner| *owner != name);
            consumers::dead(&self.folder, owners)
        } else {
            Vec::new()
        };
        Some(Claim { name, room, left })
    }
}

fn seq(token: Token) -> i64 {
    i64::try_from(token.tag).unwrap_or(i64::MAX)
}

fn unavailable(error: db::Error) -> Error {
    Error::unavailable(error.to_string())
}
