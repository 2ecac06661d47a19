//! One gRPC server for several services: what they share, and graceful shutdown.
//!
//! It must not know any service: its caller passes those to host.

use std::time::Duration;

use super::environment::environment;
use super::gate::Gate;
use super::handler::Methods;
use super::health::Health;
use super::reflection;
use super::request::Unfinished;
use super::server::{BindError, Config, Server};
use super::stream::Streams;
use crate::metrics;

/// A service that can be hosted.
pub trait Hosted: Send {
    /// The names under which health checks know it.
    fn names(&self) -> &'static [&'static str];

    /// Registers its methods; server streams are served on `streams`.
    fn register(&self, methods: Methods, streams: &Streams) -> Methods;

    /// Ends its streams with UNAVAILABLE "shutting down", and refuses later calls
    /// likewise. Calls that were accepted before are still answered.
    fn close(&self);
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A server that serves.
pub struct Handle {
    server: Server,
    health: Health,
    hosted: Vec<Box<dyn Hosted>>,
    streams: Streams,
}

/// Listens and serves; returns at once.
///
/// # Errors
/// [`StartError`] for a port that is taken, or no thread to be had.
pub fn start(config: &Config, hosted: Vec<Box<dyn Hosted>>) -> Result<Handle, StartError> {
    let environment = environment("grpc", config.threads.into());
    let streams = Streams::new(config.streams, config.stream_age, &environment)?;
    let names: Vec<_> = hosted
        .iter()
        .flat_map(|service| service.names())
        .copied()
        .collect();
    let health = Health::new(&names);
    let unfinished = Unfinished::start()?;
    let (memory, open) = (config.memory.part(4), streams.clone());
    metrics::memory("grpc", &memory);
    metrics::at_scrape(move || metrics::set(&metrics::STREAMS, &[], open.open()));
    let (receive_bytes, gate) = (config.receive_bytes, Gate(config.admission.clone()));
    let mut methods = Methods::new(unfinished, memory, receive_bytes, gate);
    for service in &hosted {
        methods = service.register(methods, &streams);
    }
    let methods = health.register(methods, &streams.to_the_end());
    let methods = reflection::register(methods, &streams, &names);
    let server = Server::start(config, environment, streams.clone(), methods.build())?;
    Ok(Handle {
        server,
        health,
        hosted,
        streams,
    })
}

impl Handle {
    pub fn ports(&self) -> &[u16] {
        self.server.ports()
    }

    /// The time before a shutdown: health reports NOT_SERVING, new streams are refused,
    /// and open ones end in random order, evenly over this time; calls are answered.
    /// Blocks for all of it.
    pub fn drain(&self, over: Duration) {
        self.health.not_serving();
        self.streams.drain(over);
    }

    /// Graceful shutdown: health reports NOT_SERVING, every stream ends with
    /// UNAVAILABLE "shutting down", then the server stops. Takes less than five
    /// seconds.
    pub fn shut_down(self) {
        self.health.shut_down();
        for service in &self.hosted {
            service.close();
        }
        self.streams.drain(Duration::ZERO);
        self.server.shut_down();
    }
}
