//! `messenger bench floor-server`: the yardstick for our stream threads. The same C
//! core with the same channel arguments, but each stream is a task on its completion
//! queue and no thread at all, written as an expert of grpcio would. It keeps order
//! and times, and has no limits, no health service and no ordered end: it is here to
//! be measured.

use std::sync::{Arc, Mutex};

use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::{SinkExt as _, StreamExt as _};
use grpcio::{Service, ServiceBuilder, WriteFlags};

use crate::chat::wire::{self, Draft};
use crate::cli::{Error, signals};
use crate::fanout::clock::{Clock, Timestamp};
use crate::grpc::environment::environment;
use crate::grpc::method::Encoded;
use crate::grpc::server::{self, Server};
use crate::grpc::stream::Streams;
use crate::sync::lock;

/// Run the baseline: a chat server without stream threads and without limits
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Port of the loopback interface, 0 for any
    #[arg(
        long,
        env = "MESSENGER_BENCH_FLOOR_PORT",
        default_value_t = 0,
        value_name = "PORT"
    )]
    port: u16,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench floor-server --port 50999
  messenger bench fanout --server localhost:50999";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop()?;
        let config = server::Config {
            host: "127.0.0.1".into(),
            ports: vec![self.port],
            ..server::Config::default()
        };
        let environment = environment("grpc", config.threads.into());
        // Its streams are not used, but a server wants to wait for some at its end.
        let streams = Streams::new(0, None, &environment)?;
        let server = Server::start(&config, environment, streams, service())?;
        for port in server.ports() {
            println!("baseline server listening on 127.0.0.1:{port}");
        }
        stop.recv()?;
        // It has no graceful shutdown.
        server.shut_down();
        Ok(())
    }
}

type Readers = Vec<UnboundedSender<Encoded>>;

fn service() -> Service {
    let room = Arc::new(Mutex::new((Clock::default(), Readers::new())));
    let joined = room.clone();
    ServiceBuilder::new()
        .add_unary_handler(&wire::SEND_MESSAGE, move |ctx, request, sink| {
            let draft = Draft::new(request.author, request.text);
            let mut locked = lock(&room);
            let (clock, readers) = &mut *locked;
            let time = clock.tick(Timestamp::now());
            let (message, _) = draft.stamp(time);
            // Whose peer has gone is forgotten.
            readers.retain(|reader| reader.unbounded_send(message.clone()).is_ok());
            drop(locked);
            let answered = sink.success(wire::response(time));
            ctx.spawn(async move { drop(answered.await) });
        })
        .add_server_streaming_handler(&wire::READ_MESSAGES_ENCODED, move |ctx, _, mut sink| {
            let (reader, messages) = unbounded();
            lock(&joined).1.push(reader);
            sink.enhance_batch(true);
            ctx.spawn(async move {
                let mut messages = messages.map(|message| Ok((message, WriteFlags::default())));
                let _ = sink.send_all(&mut messages).await;
            });
        })
        .build()
}
