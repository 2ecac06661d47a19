//! `grpc.health.v1.Health`: Check, and Watch as a stream of its own.

pub mod wire;

use std::sync::{Arc, Mutex};

use super::handler::Methods;
use super::method::Encoded;
use super::stream::{Opening, Pair, Streams};
use crate::access::Need;
use crate::error::{Code, Error};
use crate::fanout::broadcast::{Broadcast, Capacity, Closed};
use crate::fanout::clock::Timestamp;
use crate::sync::lock;
use wire::Status;

/// The state of all services of a server, which start and stop together.
#[derive(Clone)]
pub struct Health {
    services: Arc<[&'static str]>,
    status: Arc<Mutex<Status>>,
    changes: Broadcast<Encoded>,
    /// Only closed: what those watch who ask for a service that is not known.
    ends: Broadcast<Encoded>,
}

impl Health {
    /// SERVING for these services and for the server as a whole ("").
    pub fn new(services: &[&'static str]) -> Self {
        let all = services.iter().copied().chain([""]);
        Self {
            services: all.collect(),
            status: Arc::new(Mutex::new(Status::SERVING)),
            changes: Broadcast::new(Capacity::default()),
            ends: Broadcast::new(Capacity::default()),
        }
    }

    /// Reports NOT_SERVING from now on.
    pub fn not_serving(&self) {
        let mut status = lock(&self.status);
        if std::mem::replace(&mut *status, Status::NOT_SERVING) == Status::NOT_SERVING {
            return;
        }
        let publish = |_| {
            let encoded = wire::encode(Status::NOT_SERVING);
            let bytes = encoded.len();
            (encoded, bytes)
        };
        // Closed already: nobody watches.
        let _ = self.changes.publish(Timestamp::now(), publish);
    }

    /// Reports NOT_SERVING and ends the Watch streams.
    pub fn shut_down(&self) {
        self.not_serving();
        self.changes.close();
        self.ends.close();
    }

    pub fn register(&self, methods: Methods, streams: &Streams) -> Methods {
        let (check, watch, streams) = (self.clone(), self.clone(), streams.clone());
        methods
            .unary(&wire::CHECK, Need::Nothing, move |request, reply| {
                let status = check.knows(&request.service).then(|| *lock(&check.status));
                let unknown = || Error::new(Code::NotFound, "unknown service");
                reply.send(status.map(wire::response).ok_or_else(unknown));
            })
            .stream(
                &wire::WATCH_ENCODED,
                Need::Nothing,
                move |caller, request, sink| {
                    let (first, pair) = watch.watch(&request.service);
                    streams.serve(caller, sink, "health", || {
                        Opening::one_by_one(pair, Some(wire::encode(first)))
                    });
                },
            )
    }

    fn knows(&self, service: &str) -> bool {
        self.services.contains(&service)
    }

    /// The status now, and the changes from then on: none falls in between, and
    /// none is told twice. A service that is not known has no changes.
    fn watch(&self, service: &str) -> (Status, Result<Pair, Closed>) {
        let status = lock(&self.status);
        if self.knows(service) {
            (*status, self.changes.subscribe())
        } else {
            let pair = self.ends.subscribe();
            (Status::SERVICE_UNKNOWN, pair)
        }
    }
}
