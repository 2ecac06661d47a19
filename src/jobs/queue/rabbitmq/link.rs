//! One connection to the broker, with one channel, and what is under way on it.
//! For the thread "amqp" alone.

use std::collections::{BTreeMap, HashMap};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::try_join_all;
use futures_util::stream::{self, FuturesUnordered, Stream as _};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, Queue,
};

use super::batch::{Batch, Content, Due};
use super::broker::{Broker, connect, dead_name};
use super::exchange::{CONFIRM, EXCHANGE, GOODBYE, Over, within};
use super::message::{id, queued_at};
use super::visit::{CHUNK, Events, Visit};
use crate::jobs::queue::failpoint::{self, Point};
use crate::jobs::queue::{DeadLetter, Delivery, Depth, Look, Looked, Publication, Reply, Token};

/// The answer to one message of a batch.
type Confirming = Pin<Box<dyn Future<Output = (u64, usize, lapin::Result<Confirmation>)> + Send>>;

pub struct Link {
    connection: Connection,
    channel: Channel,
    events: Events,
    queue: String,
    consumer: Option<Consumer>,
    epoch: u64,
    /// As their producers set them, of what was delivered and not settled.
    unsettled: HashMap<u64, BasicProperties>,
    /// What is not all confirmed, by numbers, which are the order.
    batches: BTreeMap<u64, Batch>,
    confirming: FuturesUnordered<Confirming>,
    last_batch: u64,
    visit: Visit,
    /// Something was settled over this connection.
    pub worked: bool,
}

/// What the broker has brought.
pub enum Arrival {
    Delivery(Delivery),
    /// All of it is confirmed.
    Written(Content),
    /// Something is to be written again.
    Refused,
}

impl Link {
    /// Connects and declares the queues.
    pub fn connect(broker: &Broker, epoch: u64) -> Result<Self, Over> {
        let name = format!("messenger {}", std::process::id());
        let options = ConnectionProperties::default().with_connection_name(name.into());
        let connection = within(EXCHANGE, connect(broker, options))??;
        let channel = within(EXCHANGE, connection.create_channel())??;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        within(EXCHANGE, confirms)??;
        let mut link = Self {
            events: Box::pin(stream::pending()),
            connection,
            channel,
            queue: broker.queue.clone(),
            consumer: None,
            epoch,
            unsettled: HashMap::new(),
            batches: BTreeMap::new(),
            confirming: FuturesUnordered::new(),
            last_batch: 0,
            visit: Visit::default(),
            worked: false,
        };
        link.declare(&link.queue)?;
        link.declare(&dead_name(&link.queue))?;
        // Not before: that there is no such queue is an event too.
        link.events = Box::pin(link.connection.events_listener());
        Ok(link)
    }

    /// Closes the connection; a broker that does not answer is not waited for.
    pub fn close(self) {
        let goodbye = self.connection.close(200, "goodbye".into());
        drop(within(GOODBYE, goodbye));
    }

    pub fn consume(&mut self, prefetch: u16) -> Result<(), Over> {
        let qos = self.channel.basic_qos(prefetch, BasicQosOptions::default());
        within(EXCHANGE, qos)??;
        let consuming = self.channel.basic_consume(
            self.queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        self.consumer = Some(within(EXCHANGE, consuming)??);
        Ok(())
    }

    /// Uses the queue as it is, whoever has made it and with whatever arguments. If it is
    /// not there, makes it as the Python programs make theirs: durable, no arguments.
    fn declare(&self, queue: &str) -> Result<(), Over> {
        match self.declare_alone(queue, QueueDeclareOptions::durable().passive()) {
            Err(over) if over.code() == Some(404) => {
                self.declare_alone(queue, QueueDeclareOptions::durable())
            }
            declared => declared,
        }
    }

    /// On a channel of its own, since an error closes it.
    fn declare_alone(&self, queue: &str, options: QueueDeclareOptions) -> Result<(), Over> {
        let channel = within(EXCHANGE, self.connection.create_channel())??;
        let declaring = channel.queue_declare(queue.into(), options, FieldTable::default());
        within(EXCHANGE, declaring)??;
        within(EXCHANGE, channel.close(200, "done".into()))??;
        Ok(())
    }

    /// Writes the messages; their confirmations arrive later.
    pub fn begin(&mut self, content: Content) -> Result<(), Over> {
        let new = matches!(content, Content::Tasks(_));
        if new {
            failpoint::reach(Point::BeforePublish);
        }
        let all: Vec<_> = (0..content.len()).collect();
        if all.is_empty() {
            return self.finish(content);
        }
        self.last_batch += 1;
        self.batches.insert(self.last_batch, Batch::new(content));
        self.write(self.last_batch, &all)?;
        if new {
            failpoint::reach(Point::BeforeConfirm);
        }
        Ok(())
    }

    /// Writes messages of a batch by way of the default exchange. A message that has no
    /// queue to go to is sent back by the broker.
    fn write(&mut self, number: u64, places: &[usize]) -> Result<(), Over> {
        let Some(batch) = self.batches.get_mut(&number) else {
            return Ok(());
        };
        let queue = match &batch.content {
            Content::DeadLetters(..) => dead_name(&self.queue),
            Content::Tasks(_) | Content::Requeued { .. } => self.queue.clone(),
        };
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let frame = self.connection.configuration().frame_max();
        for chunk in places.chunks(CHUNK) {
            batch.written(chunk.len());
            let writing = chunk.iter().map(|place| {
                let (body, properties) = batch.content.message(*place, frame);
                let queue = queue.as_str().into();
                self.channel
                    .basic_publish("".into(), queue, options, body, properties)
            });
            let confirms = within(CONFIRM, try_join_all(writing))??;
            for (confirm, place) in confirms.into_iter().zip(chunk) {
                let place = *place;
                let confirming = async move { (number, place, confirm.await) };
                self.confirming.push(Box::pin(confirming));
            }
        }
        Ok(())
    }

    /// What follows when all of it is confirmed.
    pub fn finish(&mut self, content: Content) -> Result<(), Over> {
        self.worked = true;
        // Who has asked may have stopped waiting.
        match content {
            Content::Tasks(publication) => drop(publication.reply.send(Ok(()))),
            Content::DeadLetters(token, ..) => self.ack(&[token])?,
            Content::Requeued {
                messages, reply, ..
            } => {
                self.visit.requeued(&messages)?;
                let _ = reply.send(Ok(messages.len() as u64));
            }
        }
        Ok(())
    }

    /// Waits for the dead letters that are under way, and acknowledges their deliveries:
    /// others would get these, and bury them once more.
    pub fn drain(&mut self) -> Result<(), Over> {
        let until = Instant::now() + EXCHANGE;
        while self.batches.values().any(Batch::is_burying) {
            let left = until.saturating_duration_since(Instant::now());
            let arrival = within(left, poll_fn(|cx| self.poll(cx)))??;
            if let Arrival::Written(content) = arrival {
                self.finish(content)?;
            }
        }
        Ok(())
    }

    /// To be called at [`Link::deadline`]: gives up what nobody waits for any more, and
    /// writes again what was refused.
    pub fn look(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        let numbers: Vec<_> = self.batches.keys().copied().collect();
        for number in numbers {
            let due = self.batches.get_mut(&number).map(|batch| batch.due(now));
            match due.unwrap_or(Due::Nothing) {
                Due::Nothing => {}
                Due::Write(places) => self.write(number, &places)?,
                Due::Silent => return Err(Over::lost("no confirmation in time")),
                Due::Late(reason) => {
                    if let Some(batch) = self.batches.remove(&number) {
                        batch.content.fail(&reason);
                    }
                }
            }
        }
        Ok(())
    }

    /// The publications that are left when the connection is over for this reason, each
    /// with the tasks that are not confirmed.
    pub fn rest(&mut self, reason: &str) -> Vec<Publication> {
        let batches = std::mem::take(&mut self.batches).into_values();
        batches.filter_map(|batch| batch.rest(reason)).collect()
    }

    /// Acknowledges those that came over this connection.
    pub fn ack(&mut self, tokens: &[Token]) -> Result<(), Over> {
        failpoint::reach(Point::BeforeAck);
        self.worked = true;
        let ours = tokens.iter().filter(|token| token.epoch == self.epoch);
        let acks = ours.map(|token| {
            self.unsettled.remove(&token.tag);
            self.channel
                .basic_ack(token.tag, BasicAckOptions::default())
        });
        within(EXCHANGE, try_join_all(acks))??;
        Ok(())
    }

    /// Writes tasks to the dead-letter queue. Their delivery is acknowledged when
    /// that is confirmed: until then they are in one queue at least.
    pub fn dead_letter(&mut self, token: Token, dead: Vec<DeadLetter>) -> Result<(), Over> {
        match self.unsettled.get(&token.tag) {
            Some(properties) if token.epoch == self.epoch => self.begin(Content::DeadLetters(
                token,
                Box::new(properties.clone()),
                dead,
            )),
            _ => Ok(()),
        }
    }

    /// How much is in the queues.
    pub fn depth(&self) -> Result<Depth, Over> {
        let look = |queue: &str| -> Result<Queue, Over> {
            let options = QueueDeclareOptions::durable().passive();
            let looking = self
                .channel
                .queue_declare(queue.into(), options, FieldTable::default());
            Ok(within(EXCHANGE, looking)??)
        };
        let (tasks, dead) = (look(&self.queue)?, look(&dead_name(&self.queue))?);
        Ok(Depth {
            waiting: tasks.message_count().into(),
            consumers: tasks.consumer_count().into(),
            dead: dead.message_count().into(),
        })
    }

    /// Looks at dead letters; they go back to their places when nothing of them is
    /// [`put_back`](Link::put_back).
    pub fn look_at_dead(&mut self, look: &Look) -> Result<Looked, Over> {
        if look.oldest {
            self.visit.end()?;
        } else if look.take.is_none() && !self.visit.has_begun() {
            return Err(Over::lost("the connection was lost meanwhile"));
        }
        let queue = dead_name(&self.queue);
        self.visit
            .next(&self.connection, &mut self.events, &queue, look)
    }

    /// Moves what was taken back to the queue that it comes from. If nothing was, the
    /// requeue is over.
    pub fn put_back(&mut self, deadline: Instant, reply: Reply<u64>) -> Result<(), Over> {
        let messages = self.visit.take();
        if messages.is_empty() {
            self.visit.end()?;
        }
        self.begin(Content::Requeued {
            messages,
            deadline,
            reply,
        })
    }

    /// When to [`look`](Link::look).
    pub fn deadline(&self) -> Option<Instant> {
        self.batches.values().map(Batch::next).min()
    }

    /// The next arrival, or how the connection ended.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arrival, Over>> {
        while let Poll::Ready(event) = self.events.as_mut().poll_next(cx) {
            match event {
                Some(lapin::Event::Error(error)) => return Poll::Ready(Err(error.into())),
                Some(lapin::Event::ConnectionBlocked(reason)) => {
                    tracing::warn!("RabbitMQ takes no messages now: {reason}");
                }
                Some(_) => {}
                None => return Poll::Ready(Err(Over::lost("the connection has ended"))),
            }
        }
        while let Poll::Ready(Some((number, place, answer))) =
            Pin::new(&mut self.confirming).poll_next(cx)
        {
            let answer = answer?;
            // None if nobody waits for it any more.
            let Some(batch) = self.batches.get_mut(&number) else {
                continue;
            };
            if batch.answered(place, &answer) {
                let batch = self.batches.remove(&number);
                let content = batch.map(|batch| Arrival::Written(batch.content));
                return Poll::Ready(content.ok_or_else(|| Over::lost("no such batch")));
            }
            if !matches!(answer, Confirmation::Ack(None)) {
                return Poll::Ready(Ok(Arrival::Refused));
            }
        }
        let Some(consumer) = &mut self.consumer else {
            return Poll::Pending;
        };
        match Pin::new(consumer).poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(message)) => {
                let delivery = self.deliver(message?);
                Poll::Ready(Ok(Arrival::Delivery(delivery)))
            }
            // The queue was deleted, for instance.
            Poll::Ready(None) => Poll::Ready(Err(Over::lost("the broker has ended the consumer"))),
        }
    }

    fn deliver(&mut self, message: lapin::message::Delivery) -> Delivery {
        let token = Token {
            epoch: self.epoch,
            tag: message.delivery_tag,
        };
        let delivery = Delivery {
            id: id(&message.properties),
            queued_at: queued_at(&message.properties),
            redelivered: message.redelivered,
            body: message.data,
            token,
        };
        self.unsettled.insert(token.tag, message.properties);
        delivery
    }
}
