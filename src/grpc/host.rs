//! One gRPC server for several services: what they share, and the ordered end.
//!
//! It knows no service; whoever starts it brings those that it is to host.

use grpcio::{Service, ServiceBuilder};
use protobuf::well_known_types::empty::Empty;

use super::handler;
use super::health::Health;
use super::server::{self, BindError, Config, Server};
use super::stream::Streams;
use super::subscription;

/// A service that can be hosted.
pub trait Hosted: Send {
    /// The name under which health checks know it.
    fn name(&self) -> &'static str;

    /// Its methods; server streams are served on `streams`.
    fn service(&self, streams: &Streams) -> Service;

    /// Ends its streams with UNAVAILABLE "shutting down", and refuses so what
    /// comes later. Calls that were accepted before are still answered.
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
}

/// Listens and serves; returns at once.
///
/// # Errors
/// [`StartError`] for a port that is taken, or no thread to be had.
pub fn start(config: &Config, hosted: Vec<Box<dyn Hosted>>) -> Result<Handle, StartError> {
    let environment = server::environment(config);
    let streams = Streams::new(config.streams, &environment)?;
    let names: Vec<_> = hosted.iter().map(|service| service.name()).collect();
    let health = Health::new(&names);
    let mut services: Vec<_> = hosted.iter().map(|one| one.service(&streams)).collect();
    services.push(health.service(&streams));
    services.push(probe());
    let server = Server::start(config, environment, streams, services)?;
    Ok(Handle {
        server,
        health,
        hosted,
    })
}

impl Handle {
    pub fn ports(&self) -> &[u16] {
        self.server.ports()
    }

    /// NOT_SERVING, then every stream ends with UNAVAILABLE "shutting down",
    /// then the server lets go. Takes less than five seconds.
    pub fn shut_down(self) {
        self.health.shut_down();
        for service in &self.hosted {
            service.close();
        }
        self.server.shut_down();
    }
}

fn probe() -> Service {
    let answer = |ctx: grpcio::RpcContext<'_>, _, sink| {
        handler::unary(&ctx, sink, || Ok(Empty::new()));
    };
    ServiceBuilder::new()
        .add_unary_handler(&subscription::PROBE, answer)
        .build()
}
