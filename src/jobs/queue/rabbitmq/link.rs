//! One connection to the broker, with one channel, and what is under way on it.
//! For the thread "amqp" alone.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::Stream;
use futures_util::future::try_join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::runtime::default_runtime;
use lapin::tcp::AMQPUriTcpExt;
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    PublisherConfirm,
};

use super::message::{
    dead_letter, dead_letter_properties, id, properties, queued_at, requeue_properties,
};
use super::{Broker, CONFIRM, EXCHANGE, GOODBYE, Over, within};
use crate::jobs::queue::failpoint::{self, Point};
use crate::jobs::queue::{DeadLetter, Delivery, Depth, Publication, Token, Which};

/// Messages that are written before waiting for the first confirmation.
const CHUNK: usize = 256;

type Confirming = Pin<Box<dyn Future<Output = lapin::Result<Vec<Confirmation>>> + Send>>;

pub struct Link {
    connection: Connection,
    channel: Channel,
    events: Pin<Box<dyn Stream<Item = lapin::Event> + Send>>,
    queue: String,
    consumer: Option<Consumer>,
    epoch: u64,
    /// As their producers set them, of what was delivered and not settled.
    unsettled: HashMap<u64, BasicProperties>,
    /// Of the publications, in their order.
    confirming: VecDeque<(Confirming, Instant)>,
    /// Of tasks on their way to the dead-letter queue.
    dead_lettering: Vec<(Confirming, Instant, Token)>,
}

/// What the broker has brought.
pub enum Arrival {
    Delivery(Delivery),
    /// The oldest publication that was not confirmed yet.
    Confirmed,
    /// In the dead-letter queue, and not acknowledged yet.
    DeadLettered(Token),
    Lost(String),
}

/// Checks that the broker answers at all: lapin leaks a thread for each connection
/// to one that accepts and stays silent, until that one closes it.
pub fn probe(broker: &Broker) -> Result<(), Over> {
    let authority = &broker.uri.authority;
    let probe = || -> io::Result<()> {
        let mut addresses = (&*authority.host, authority.port).to_socket_addrs()?;
        let address = addresses.next().ok_or(io::ErrorKind::NotFound)?;
        let stream = TcpStream::connect_timeout(&address, EXCHANGE)?;
        stream.set_read_timeout(Some(EXCHANGE))?;
        stream.set_write_timeout(Some(EXCHANGE))?;
        let Some(tls) = &broker.tls else {
            return speaks(stream);
        };
        let connector = tls.connector()?;
        let stream = connector.connect(&tls.name, stream);
        speaks(stream.map_err(|error| io::Error::other(error.to_string()))?)
    };
    probe().map_err(|error| Over::Lost(error.to_string()))
}

fn speaks(mut stream: impl io::Read + io::Write) -> io::Result<()> {
    stream.write_all(b"AMQP\0\0\x09\x01")?;
    stream.read_exact(&mut [0])
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
        let link = Self {
            events: Box::pin(connection.events_listener()),
            connection,
            channel,
            queue: broker.queue.clone(),
            consumer: None,
            epoch,
            unsettled: HashMap::new(),
            confirming: VecDeque::new(),
            dead_lettering: Vec::new(),
        };
        link.depth()?;
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

    /// Writes the tasks; the confirmation arrives later.
    pub fn publish(&mut self, publication: &Publication) -> Result<(), Over> {
        failpoint::reach(Point::BeforePublish);
        let mut confirms = Vec::with_capacity(publication.tasks.len());
        for chunk in publication.tasks.chunks(CHUNK) {
            let tasks = chunk.iter().map(|task| (&*task.body, properties(task)));
            confirms.extend(write(&self.channel, &self.queue, tasks)?);
        }
        failpoint::reach(Point::BeforeConfirm);
        let deadline = publication.deadline.min(Instant::now() + CONFIRM);
        let confirming = Box::pin(try_join_all(confirms));
        self.confirming.push_back((confirming, deadline));
        Ok(())
    }

    /// Acknowledges those that came over this connection.
    pub fn ack(&mut self, tokens: &[Token]) -> Result<(), Over> {
        failpoint::reach(Point::BeforeAck);
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
    pub fn dead_letter(&mut self, token: Token, dead: &[DeadLetter]) -> Result<(), Over> {
        let Some(properties) = self.unsettled.get(&token.tag) else {
            return Ok(());
        };
        if token.epoch == self.epoch {
            let tasks = dead
                .iter()
                .map(|dead| (&*dead.body, dead_letter_properties(properties, dead)));
            let confirms = write(&self.channel, &dead_name(&self.queue), tasks)?;
            let confirming = Box::pin(try_join_all(confirms));
            let deadline = Instant::now() + CONFIRM;
            self.dead_lettering.push((confirming, deadline, token));
        }
        Ok(())
    }

    /// Declares both queues, as the Python programs declare theirs: durable, and
    /// no arguments. The answer says what is in them.
    pub fn depth(&self) -> Result<Depth, Over> {
        let declare = |queue: &str| {
            let options = QueueDeclareOptions::durable();
            let declaring =
                self.channel
                    .queue_declare(queue.into(), options, FieldTable::default());
            within(EXCHANGE, declaring)
        };
        let tasks = declare(&self.queue)??;
        let dead = declare(&dead_name(&self.queue))??;
        Ok(Depth {
            waiting: tasks.message_count().into(),
            consumers: tasks.consumer_count().into(),
            dead: dead.message_count().into(),
        })
    }

    /// Looks at the oldest messages, which go back to their places.
    pub fn list_dead(&self, limit: usize) -> Result<Vec<DeadLetter>, Over> {
        let mut found = Vec::new();
        self.visit_dead(limit, |_, message| {
            found.push(dead_letter(message));
            Ok(())
        })?;
        Ok(found)
    }

    /// Moves these back to the queue that they come from.
    pub fn requeue(&self, which: &Which) -> Result<u64, Over> {
        let mut count = 0;
        // Not more than there are now, or those that die again would come twice.
        let there = usize::try_from(self.depth()?.dead).unwrap_or(usize::MAX);
        self.visit_dead(there, |channel, message| {
            if let Which::Ids(ids) = which
                && !id(&message.properties).is_some_and(|id| ids.contains(&id))
            {
                return Ok(());
            }
            let properties = requeue_properties(&message.properties);
            let task = (&*message.data, properties);
            let confirms = write(&self.channel, &self.queue, [task])?;
            within(CONFIRM, try_join_all(confirms))??
                .iter()
                .try_for_each(accepted)?;
            let ack = channel.basic_ack(message.delivery_tag, BasicAckOptions::default());
            within(EXCHANGE, ack)??;
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Shows messages of the dead-letter queue, on a channel of its own: when that
    /// is closed, what was not acknowledged on it goes back.
    fn visit_dead(
        &self,
        limit: usize,
        mut visit: impl FnMut(&Channel, &lapin::message::Delivery) -> Result<(), Over>,
    ) -> Result<(), Over> {
        let channel = within(EXCHANGE, self.connection.create_channel())??;
        let queue = dead_name(&self.queue);
        for _ in 0..limit {
            let getting = channel.basic_get(queue.as_str().into(), BasicGetOptions::default());
            let Some(message) = within(EXCHANGE, getting)?? else {
                break;
            };
            visit(&channel, &message)?;
        }
        within(EXCHANGE, channel.close(200, "done".into()))??;
        Ok(())
    }

    /// When the broker has to have confirmed.
    pub fn deadline(&self) -> Option<Instant> {
        let publications = self.confirming.iter().map(|(_, deadline)| *deadline);
        let dead = self.dead_lettering.iter().map(|(_, deadline, _)| *deadline);
        publications.chain(dead).min()
    }

    /// The next arrival.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        self.poll_broker(cx).map(|arrival| match arrival {
            Ok(arrival) => arrival,
            Err(over) => Arrival::Lost(over.to_string()),
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
        if let Some((confirming, _)) = self.confirming.front_mut()
            && let Poll::Ready(confirmations) = confirming.as_mut().poll(cx)
        {
            self.confirming.pop_front();
            confirmations?.iter().try_for_each(accepted)?;
            return Poll::Ready(Ok(Arrival::Confirmed));
        }
        for index in 0..self.dead_lettering.len() {
            let (confirming, _, token) = &mut self.dead_lettering[index];
            if let Poll::Ready(confirmations) = confirming.as_mut().poll(cx) {
                let token = *token;
                drop(self.dead_lettering.swap_remove(index));
                confirmations?.iter().try_for_each(accepted)?;
                return Poll::Ready(Ok(Arrival::DeadLettered(token)));
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
fn dead_name(queue: &str) -> String {
    format!("{queue}.dead")
}

/// Writes messages to a queue by way of the default exchange. A message that has
/// no queue to go to is sent back by the broker, and is not accepted.
fn write<'a>(
    channel: &Channel,
    queue: &str,
    messages: impl IntoIterator<Item = (&'a [u8], BasicProperties)>,
) -> Result<Vec<PublisherConfirm>, Over> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let writing = messages.into_iter().map(|(body, properties)| {
        channel.basic_publish("".into(), queue.into(), options, body, properties)
    });
    Ok(within(CONFIRM, try_join_all(writing))??)
}

/// Checks that the broker has confirmed the message.
fn accepted(confirmation: &Confirmation) -> Result<(), Over> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        _ => Err(Over::lost("the broker did not take a task")),
    }
}
