//! Looking at dead letters, the oldest first, some at a time. Those that are not requeued
//! go back to their places when the visit ends.

use std::collections::HashSet;
use std::future::{pending, ready};
use std::pin::Pin;

use futures_util::future::try_join_all;
use futures_util::stream::{Stream, StreamExt as _};
use lapin::message::Delivery as Message;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::{Channel, Connection};
use smol::future::or;

use super::exchange::{EXCHANGE, Over, within};
use super::message::{dead_letter, id};
use crate::jobs::queue::{Look, Looked, Which};

/// Messages that are written, or asked for, before waiting for the first answer.
pub const CHUNK: usize = 256;

/// What a connection tells of itself.
pub type Events = Pin<Box<dyn Stream<Item = lapin::Event> + Send>>;

/// Messages that are not acknowledged go back when its channel is closed.
#[derive(Default)]
pub struct Visit {
    channel: Option<Channel>,
    /// Those that are to be requeued.
    taken: Vec<Message>,
}

impl Visit {
    pub fn has_begun(&self) -> bool {
        self.channel.is_some()
    }

    /// The next messages of this queue; keeps those of them that are to be requeued.
    pub fn next(
        &mut self,
        connection: &Connection,
        events: &mut Events,
        queue: &str,
        look: &Look,
    ) -> Result<Looked, Over> {
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => within(EXCHANGE, connection.create_channel())??,
        };
        let channel = self.channel.insert(channel);
        let gets = (0..look.limit.min(CHUNK)).map(|_| {
            let queue = queue.into();
            channel.basic_get(queue, BasicGetOptions::default())
        });
        // These futures do not hear of it when the connection ends.
        let mut errors = events.as_mut().filter_map(|event| {
            ready(match event {
                lapin::Event::Error(error) => Some(Err(error)),
                _ => None,
            })
        });
        let end = async {
            match errors.next().await {
                Some(error) => error,
                None => pending().await,
            }
        };
        let messages = within(EXCHANGE, or(try_join_all(gets), end))??;
        let found = messages.into_iter().flatten().map(|it| it.delivery);
        let mut messages: Vec<Message> = found.collect();
        let count = messages.len();
        if let Some(Which::Ids(ids)) = &look.take {
            let ids: HashSet<_> = ids.iter().collect();
            messages.retain(|message| id(&message.properties).is_some_and(|id| ids.contains(&id)));
        }
        let dead = messages.iter().map(dead_letter).collect();
        // A requeue that was given up is forgotten.
        self.taken = look.take.as_ref().map_or(Vec::new(), |_| messages);
        Ok(Looked { count, dead })
    }

    /// Those that were kept.
    pub fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.taken)
    }

    /// These are in their queue again.
    pub fn requeued(&self, messages: &[Message]) -> Result<(), Over> {
        let Some(channel) = &self.channel else {
            return Ok(());
        };
        let tags = messages.iter().map(|message| message.delivery_tag);
        let acks = tags.map(|tag| channel.basic_ack(tag, BasicAckOptions::default()));
        within(EXCHANGE, try_join_all(acks))??;
        Ok(())
    }

    pub fn end(&mut self) -> Result<(), Over> {
        self.taken.clear();
        if let Some(channel) = self.channel.take() {
            within(EXCHANGE, channel.close(200, "done".into()))??;
        }
        Ok(())
    }
}
