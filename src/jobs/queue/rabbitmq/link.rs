//! One connection to the broker, with one channel, and what is under way on it.
//! For the thread "amqp" alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{Future, pending, poll_fn, ready};
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::try_join_all;
use futures_util::stream::{self, FuturesUnordered, Stream as _, StreamExt as _};
use lapin::message::Delivery as Message;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::runtime::default_runtime;
use lapin::tcp::AMQPUriTcpExt;
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, Queue,
};

use smol::future::or;

use super::batch::{Batch, Content, Due};
use super::message::{dead_letter, id, queued_at};
use super::{Broker, CONFIRM, EXCHANGE, GOODBYE, Over, within};
use crate::jobs::queue::failpoint::{self, Point};
use crate::jobs::queue::{DeadLetter, Delivery, Depth, Publication, Reply, Taken, Token, Which};

/// Messages that are written, or asked for, before waiting for the first answer.
const CHUNK: usize = 256;

/// The answer to one message of a batch.
type Confirming = Pin<Box<dyn Future<Output = (u64, usize, lapin::Result<Confirmation>)> + Send>>;

pub struct Link {
    connection: Connection,
    channel: Channel,
    events: Pin<Box<dyn stream::Stream<Item = lapin::Event> + Send>>,
    queue: String,
    consumer: Option<Consumer>,
    epoch: u64,
    /// As their producers set them, of what was delivered and not settled.
    unsettled: HashMap<u64, BasicProperties>,
    /// What is not all confirmed, by numbers, which are the order.
    batches: BTreeMap<u64, Batch>,
    confirming: FuturesUnordered<Confirming>,
    last_batch: u64,
    /// Where dead letters are looked at: those that are not acknowledged go back to their
    /// places when it is closed.
    visit: Option<Channel>,
    /// Those on it that are to be requeued.
    taken: Vec<Message>,
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
    Lost(Over),
}

/// Checks that the broker answers at all: lapin leaks a thread for each connection
/// to one that accepts and stays silent, until that one closes it.
pub fn probe(broker: &Broker) -> Result<(), Over> {
    let probe = || {
        let mut stream = dial(broker)?;
        stream.write_all(b"AMQP\0\0\x09\x01")?;
        stream.read_exact(&mut [0])
    };
    probe().map_err(|error: io::Error| Over::Lost(error.to_string()))
}

/// A connection that blocks.
pub trait Stream: io::Read + io::Write {}

impl<T: io::Read + io::Write> Stream for T {}

/// Connects for who speaks AMQP by itself; each read and write has a timeout.
pub fn dial(broker: &Broker) -> io::Result<Box<dyn Stream>> {
    let authority = &broker.uri.authority;
    let mut addresses = (&*authority.host, authority.port).to_socket_addrs()?;
    let address = addresses.next().ok_or(io::ErrorKind::NotFound)?;
    let stream = TcpStream::connect_timeout(&address, EXCHANGE)?;
    stream.set_read_timeout(Some(EXCHANGE))?;
    stream.set_write_timeout(Some(EXCHANGE))?;
    let Some(tls) = &broker.tls else {
        return Ok(Box::new(stream));
    };
    let stream = tls.connector()?.connect(&tls.name, stream);
    let stream = stream.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Box::new(stream))
}

/// lapin's own way to TLS trusts the system's authorities too, and knows no names but
/// the host's.
async fn connect(broker: &Broker, options: ConnectionProperties) -> lapin::Result<Connection> {
    let tls = match &broker.tls {
        Some(tls) => Some((tls.connector()?, tls.name.clone())),
        None => None,
    };
    let connect = async move |uri: AMQPUri, runtime| {
        let plain = AMQPUriTcpExt::connect_async(&uri, &runtime).await?;
        let Some((connector, name)) = &tls else {
            return Ok(plain);
        };
        Ok(plain.into_openssl(connector, name).await?)
    };
    Connection::connector(broker.uri.clone(), default_runtime()?, connect, options).await
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
            visit: None,
            taken: Vec::new(),
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
        for chunk in places.chunks(CHUNK) {
            batch.written(chunk.len());
            let writing = chunk.iter().map(|place| {
                let (body, properties) = batch.content.message(*place);
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
                let count = messages.len() as u64;
                if let Some(visit) = &self.visit {
                    let tags = messages.iter().map(|message| message.delivery_tag);
                    let acks = tags.map(|tag| visit.basic_ack(tag, BasicAckOptions::default()));
                    within(EXCHANGE, try_join_all(acks))??;
                }
                let _ = reply.send(Ok(count));
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
            match within(left, poll_fn(|cx| self.poll(cx)))? {
                Arrival::Written(content) => self.finish(content)?,
                Arrival::Lost(over) => return Err(over),
                Arrival::Delivery(_) | Arrival::Refused => {}
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

    /// Looks at the oldest dead letters or the next ones; they go back to their places when
    /// nothing is [`put_back`](Link::put_back).
    pub fn list_dead(&mut self, oldest: bool, limit: usize) -> Result<Vec<DeadLetter>, Over> {
        if oldest {
            self.end_visit()?;
        } else if self.visit.is_none() {
            return Err(Over::lost("the connection was lost meanwhile"));
        }
        Ok(self.next_dead(limit)?.iter().map(dead_letter).collect())
    }

    /// Looks at the next dead letters, and keeps those of them that [`Link::put_back`]
    /// is to requeue. A requeue that was given up is forgotten.
    pub fn take_dead(&mut self, which: &Which, limit: usize) -> Result<Taken, Over> {
        if !self.taken.is_empty() {
            self.end_visit()?;
        }
        let mut messages = self.next_dead(limit)?;
        let looked = messages.len();
        if let Which::Ids(ids) = which {
            let ids: HashSet<_> = ids.iter().collect();
            messages.retain(|message| id(&message.properties).is_some_and(|id| ids.contains(&id)));
        }
        let ids = messages
            .iter()
            .filter_map(|message| id(&message.properties));
        let (ids, taken) = (ids.collect(), messages.len());
        self.taken = messages;
        Ok(Taken { looked, taken, ids })
    }

    /// Moves what was taken back to the queue that it comes from. If nothing was, the
    /// requeue is over.
    pub fn put_back(&mut self, deadline: Instant, reply: Reply<u64>) -> Result<(), Over> {
        let messages = std::mem::take(&mut self.taken);
        if messages.is_empty() {
            self.end_visit()?;
        }
        self.begin(Content::Requeued {
            messages,
            deadline,
            reply,
        })
    }

    fn next_dead(&mut self, limit: usize) -> Result<Vec<Message>, Over> {
        let channel = match self.visit.take() {
            Some(channel) => channel,
            None => within(EXCHANGE, self.connection.create_channel())??,
        };
        let channel = self.visit.insert(channel);
        let queue = dead_name(&self.queue);
        let gets = (0..limit.min(CHUNK)).map(|_| {
            let queue = queue.as_str().into();
            channel.basic_get(queue, BasicGetOptions::default())
        });
        // These futures do not hear of it when the connection ends.
        let mut errors = self.events.as_mut().filter_map(|event| {
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
        Ok(messages
            .into_iter()
            .flatten()
            .map(|it| it.delivery)
            .collect())
    }

    fn end_visit(&mut self) -> Result<(), Over> {
        self.taken.clear();
        if let Some(channel) = self.visit.take() {
            within(EXCHANGE, channel.close(200, "done".into()))??;
        }
        Ok(())
    }

    /// When to [`look`](Link::look).
    pub fn deadline(&self) -> Option<Instant> {
        self.batches.values().map(Batch::next).min()
    }

    /// The next arrival.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        self.poll_broker(cx).map(|arrival| match arrival {
            Ok(arrival) => arrival,
            Err(over) => Arrival::Lost(over),
        })
    }

    fn poll_broker(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arrival, Over>> {
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

/// The dead-letter queue of this queue.
pub fn dead_name(queue: &str) -> String {
    format!("{queue}.dead")
}
