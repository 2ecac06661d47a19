//! `grpc.health.v1.Health`: Check, and Watch as a stream of its own.

pub mod wire;

use std::sync::{Arc, Mutex};

use grpcio::{Service, ServiceBuilder};

use super::handler;
use super::method::Encoded;
use super::stream::Streams;
use crate::error::{Code, Error};
use crate::fanout::broadcast::{Broadcast, Capacity};
use crate::fanout::clock::Timestamp;
use crate::sync::lock;
use wire::Status;

/// The state of all services of a server, which start and stop together.
#[derive(Clone)]
pub struct Health {
    services: Arc<[&'static str]>,
    status: Arc<Mutex<Status>>,
    changes: Broadcast<Encoded>,
}

impl Health {
    /// SERVING for these services and for the server as a whole ("").
    pub fn new(services: &[&'static str]) -> Self {
        let all = services.iter().copied().chain([""]);
        Self {
            services: all.collect(),
            status: Arc::new(Mutex::new(Status::SERVING)),
            changes: Broadcast::new(),
        }
    }

    /// Tells everyone NOT_SERVING and ends the watching streams.
    pub fn shut_down(&self) {
        let mut status = lock(&self.status);
        *status = Status::NOT_SERVING;
        let publish = |_| {
            let encoded = wire::encode(Status::NOT_SERVING);
            let bytes = encoded.len();
            (encoded, bytes)
        };
        // Closed already: then everyone was told.
        let _ = self.changes.publish(Timestamp::now(), publish);
        self.changes.close();
    }

    pub fn service(&self, streams: &Streams) -> Service {
        let (check, watch, streams) = (self.clone(), self.clone(), streams.clone());
        ServiceBuilder::new()
            .add_unary_handler(&wire::CHECK, move |ctx, request, sink| {
                handler::unary(&ctx, sink, || {
                    let unknown = || Error::new(Code::NotFound, "unknown service");
                    let status = check.status(&request.service).ok_or_else(unknown)?;
                    Ok(wire::response(status))
                });
            })
            .add_server_streaming_handler(&wire::WATCH_ENCODED, move |ctx, request, sink| {
                // The subscription is registered before the status is read, so
                // no change falls in between.
                let pair = watch.changes.subscribe(Capacity::default());
                let status = watch.status(&request.service);
                let first = wire::encode(status.unwrap_or(Status::SERVICE_UNKNOWN));
                streams.serve(&ctx, sink, "health", Some(first), || {
                    pair.map_err(|_| Error::shutting_down())
                });
            })
            .build()
    }

    fn status(&self, service: &str) -> Option<Status> {
        let known = self.services.contains(&service);
        known.then(|| *lock(&self.status))
    }
}
