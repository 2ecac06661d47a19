//! The queue in RabbitMQ, on the thread "amqp": it holds the connection, waits
//! for whatever comes first (a command, a delivery, a confirmation, a deadline),
//! and reconnects. lapin's interface is futures; this thread blocks on them, each
//! time with a timeout.

mod batch;
mod broker;
mod exchange;
mod link;
pub mod message;
mod unreadable;
mod visit;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;
use smol::Timer;

use super::{Command, Owned, Publication, Reply, Subscription};
use crate::error::Error;
use crate::metrics;
use crate::retry::Retry;
use batch::Content;
pub use broker::Broker;
use broker::dead_name;
use exchange::{FIRST_WAIT, GOODBYE, LONGEST_WAIT, Over};
use link::{Arrival, Link};

pub struct Owner {
    broker: Broker,
    owned: Owned,
    /// The last try to connect has failed.
    failed: bool,
    /// What it connects for.
    first: Option<Command>,
    /// The consumer, kept across connections.
    consumer: Option<Subscription>,
    /// Unconfirmed publications, kept across connections.
    publications: VecDeque<Publication>,
}

/// What the owner waits for.
enum Event {
    Command(Command),
    Arrival(Result<Arrival, Over>),
    Deadline,
    Closed,
}

impl Owner {
    pub fn new(broker: Broker, owned: Owned) -> Self {
        Self {
            broker,
            owned,
            failed: false,
            first: None,
            consumer: None,
            publications: VecDeque::new(),
        }
    }

    pub fn run(mut self) {
        if self.wait_for_work().is_err() {
            return;
        }
        let mut retry = Retry::new(FIRST_WAIT, LONGEST_WAIT);
        let mut unreadable = 0;
        loop {
            let (mut over, remedy) = match self.connect() {
                Ok(mut link) => {
                    tracing::info!(broker = self.broker.address(), "connected to RabbitMQ");
                    let over = self.serve(&mut link);
                    // Not by connecting alone: what ends a connection may end each.
                    if link.worked {
                        retry.succeeded();
                    }
                    self.publications.extend(link.rest(&over.to_string()));
                    self.take_back();
                    link.close();
                    (over, None)
                }
                Err(over) => {
                    let remedy = over.remedy();
                    (over, remedy)
                }
            };
            if let Over::Closed = over {
                return;
            }
            // A worker has another look: somebody else may take it away.
            unreadable = if over.is_unreadable() {
                unreadable + 1
            } else {
                0
            };
            let patience = u32::from(self.consumer.is_some());
            if unreadable > patience && self.bury_unreadable(&mut over) {
                retry.succeeded();
            }
            let mut reason = format!("RabbitMQ at {}: {over}", self.broker.address());
            if let Some(remedy) = remedy {
                reason += &format!("; {remedy}");
                if retry.is_news(&reason) {
                    tracing::error!("{reason}");
                }
                self.give_up(&reason);
            } else if retry.is_news(&reason) {
                tracing::warn!("{reason}; trying again");
            } else {
                tracing::debug!("again: {reason}");
            }
            if self.stand_by(retry.next_wait(), &reason).is_err() || self.wait_for_work().is_err() {
                return;
            }
        }
    }

    /// Writes what lapin cannot read to the dead letters as it can, among as many messages
    /// as the broker delivers at a time; returns whether there was any. Who has no consumer
    /// has found it among the dead letters.
    fn bury_unreadable(&self, over: &mut Over) -> bool {
        let (queue, most) = match &self.consumer {
            Some(consumer) => (self.broker.queue.clone(), consumer.prefetch.into()),
            None => (dead_name(&self.broker.queue), usize::MAX),
        };
        let (mut buried, until) = (0, Instant::now() + GOODBYE);
        let mut looked = unreadable::bury(&self.broker, &queue, most, &mut buried);
        // The broker may not have noticed yet that the connection is over which has it.
        while looked.is_ok() && buried == 0 && Instant::now() < until {
            thread::sleep(FIRST_WAIT);
            looked = unreadable::bury(&self.broker, &queue, most, &mut buried);
        }
        if buried > 0 {
            metrics::add(&metrics::UNREADABLE, &[], buried);
            tracing::warn!(buried, "messages that cannot be read are dead letters now");
        }
        if let Err(error) = looked {
            *over = Over::Lost(format!("{over}; looking for the message: {error}"));
        }
        buried > 0
    }

    /// Refuses all that waits for a connection; the workers see their channel end.
    fn give_up(&mut self, reason: &str) {
        let publications = self.publications.drain(..).map(Command::Publish);
        for command in self.first.take().into_iter().chain(publications) {
            command.refuse(reason);
        }
        self.consumer = None;
    }

    /// Blocks for a command that needs a connection. `Err` is the end.
    fn wait_for_work(&mut self) -> Result<(), ()> {
        let idle = self.publications.is_empty() && self.consumer.is_none();
        while idle && self.first.is_none() {
            match self.owned.commands.recv().map_err(drop)? {
                Command::Waiting(_, reply) => drop(reply.send(Ok(Vec::new()))),
                command => self.first = Some(command),
            }
        }
        Ok(())
    }

    /// Without a connection, until it is time to try again. `Err` is the end.
    fn stand_by(&mut self, wait: Duration, reason: &str) -> Result<(), ()> {
        let until = Instant::now() + wait;
        if let Some(command) = self.first.take() {
            self.postpone(command, reason);
        }
        loop {
            self.expire(reason);
            let deadline = self.publications.iter().map(|p| p.deadline).min();
            let next = deadline.map_or(until, |deadline| deadline.min(until));
            match self.owned.commands.recv_deadline(next) {
                Ok(command) => self.postpone(command, reason),
                Err(error) if error.is_disconnected() => return Err(()),
                Err(_) => {}
            }
            if Instant::now() >= until {
                return Ok(());
            }
        }
    }

    /// Keeps commands that can wait for the next connection, refuses others.
    fn postpone(&mut self, command: Command, reason: &str) {
        match command {
            Command::Publish(publication) => self.publications.push_back(publication),
            Command::Consume(consumer) => self.consumer = Some(consumer),
            Command::Waiting(_, reply) => drop(reply.send(Ok(Vec::new()))),
            command => command.refuse(reason),
        }
    }

    /// Refuses the publications that have waited too long.
    fn expire(&mut self, reason: &str) {
        let now = Instant::now();
        let (late, waiting) = std::mem::take(&mut self.publications)
            .into_iter()
            .partition(|publication| publication.deadline <= now);
        self.publications = waiting;
        let late: VecDeque<_> = late;
        for publication in late {
            Command::Publish(publication).refuse(reason);
        }
    }

    /// Drops what was delivered over a lost connection and not taken yet: it will
    /// be redelivered.
    fn take_back(&mut self) {
        self.owned.epoch.fetch_add(1, Ordering::AcqRel);
        if let Some(consumer) = &self.consumer {
            while consumer.undelivered.try_recv().is_ok() {}
        }
    }

    fn connect(&mut self) -> Result<Link, Over> {
        if self.failed {
            broker::probe(&self.broker)?;
        }
        // Until it is there.
        self.failed = true;
        let epoch = self.owned.epoch.load(Ordering::Acquire);
        let mut link = Link::connect(&self.broker, epoch)?;
        if let Some(consumer) = &self.consumer {
            link.consume(consumer.prefetch)?;
        }
        self.failed = false;
        Ok(link)
    }

    fn serve(&mut self, link: &mut Link) -> Over {
        while let Some(publication) = self.publications.pop_front() {
            if let Err(over) = link.begin(Content::Tasks(publication)) {
                return over;
            }
        }
        loop {
            let event = match self.first.take() {
                Some(command) => Event::Command(command),
                None => self.wait(link),
            };
            if let Err(over) = self.handle(link, event) {
                return over;
            }
        }
    }

    fn handle(&mut self, link: &mut Link, event: Event) -> Result<(), Over> {
        match event {
            Event::Command(command) => self.obey(link, command)?,
            Event::Arrival(arrival) => match arrival? {
                Arrival::Delivery(delivery) => {
                    if let Some(consumer) = &self.consumer {
                        // The broker keeps to the prefetch: the room that there is.
                        let room = consumer.deliveries.try_send(delivery);
                        room.map_err(|_| Over::lost("nobody takes the deliveries"))?;
                    }
                }
                Arrival::Written(content) => link.finish(content)?,
                Arrival::Refused => {}
            },
            Event::Deadline => link.look()?,
            Event::Closed => {
                link.drain()?;
                return Err(Over::Closed);
            }
        }
        Ok(())
    }

    fn obey(&mut self, link: &mut Link, command: Command) -> Result<(), Over> {
        // Replies are ignored when the caller has stopped waiting.
        match command {
            Command::Publish(publication) => link.begin(Content::Tasks(publication))?,
            Command::Consume(consumer) => {
                let prefetch = consumer.prefetch;
                self.consumer = Some(consumer);
                link.consume(prefetch)?;
            }
            Command::Ack(tokens) => link.ack(&tokens)?,
            Command::DeadLetter(token, dead) => link.dead_letter(token, dead)?,
            Command::Depth(reply) => answer(&reply, link.depth())?,
            Command::Waiting(_, reply) => drop(reply.send(Ok(Vec::new()))),
            Command::LookAtDead(look, reply) => answer(&reply, link.look_at_dead(&look))?,
            Command::PutBack(deadline, reply) => link.put_back(deadline, reply)?,
        }
        Ok(())
    }

    /// Blocks until something is to be done.
    fn wait(&mut self, link: &mut Link) -> Event {
        let mut deadline = link.deadline().map(Timer::at);
        smol::block_on(poll_fn(|cx| {
            if let Some(timer) = &mut deadline
                && Pin::new(timer).poll(cx).is_ready()
            {
                return Poll::Ready(Event::Deadline);
            }
            if let Poll::Ready(arrival) = link.poll(cx) {
                return Poll::Ready(Event::Arrival(arrival));
            }
            self.owned.waker.register(cx.waker());
            match self.owned.commands.try_recv() {
                Ok(command) => Poll::Ready(Event::Command(command)),
                Err(TryRecvError::Disconnected) => Poll::Ready(Event::Closed),
                Err(TryRecvError::Empty) => Poll::Pending,
            }
        }))
    }
}

/// Tells who has asked, also why there is no answer.
fn answer<T>(reply: &Reply<T>, result: Result<T, Over>) -> Result<(), Over> {
    let (told, over) = match result {
        Ok(value) => (Ok(value), Ok(())),
        Err(over) => {
            let mut reason = over.to_string();
            if over.is_unreadable() {
                reason += "; it is written again without what cannot be read: try again";
            }
            (Err(Error::unavailable(reason)), Err(over))
        }
    };
    let _ = reply.send(told);
    over
}
