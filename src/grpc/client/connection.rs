//! A connection to a server: calls, subscriptions and health.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};
use std::time::Duration;

use grpcio::{CallOption, Environment, MetadataBuilder, Method};
use protobuf::Message;

use super::link::{Link, Settings};
use super::stream::{Proof, Requests, Stream, from_grpcio};
use crate::access::Bearer;
use crate::access_log;
use crate::error::{Code, Error};
use crate::grpc::environment;
use crate::grpc::gate::AUTHORIZATION;
use crate::grpc::health::wire;

/// The completion queue of a process's clients, with its thread "grpc-client-0".
pub fn environment() -> Arc<Environment> {
    environment::environment("grpc-client", 1)
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs what may panic over what a peer sends. Such a panic is `None`, and is not
/// printed: a peer could cause one with every call.
fn quietly<R>(work: impl FnOnce() -> R) -> Option<R> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let printed = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                printed(info);
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    result.ok()
}

/// A connection, made when it is first used and again when it was lost, or when
/// certificates have changed. Clones share it, between threads too.
#[derive(Clone)]
pub struct Connection {
    link: Arc<Link>,
}

impl Connection {
    /// `environment` is [`environment()`]'s, one for all clients of a process.
    pub fn new(environment: Arc<Environment>, server: &str, settings: &Settings) -> Self {
        let link = Arc::new(Link::new(environment, server, settings));
        Self { link }
    }

    /// The options of a call with this metadata, and the token.
    fn options(&self, metadata: &[(&str, &str)]) -> Result<CallOption, Error> {
        let token = self.link.settings.token.as_ref().map(Bearer::header);
        let token = token.as_ref().map(|token| (AUTHORIZATION, token.as_str()));
        let mut all = MetadataBuilder::new();
        let id = access_log::current();
        let id = id.as_ref().map(|id| (access_log::HEADER, id.as_str()));
        for (key, value) in metadata.iter().copied().chain(token).chain(id) {
            all.add_str(key, value).map_err(|e| from_grpcio(&e))?;
        }
        Ok(CallOption::default().headers(all.build()))
    }

    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    /// The server's or the transport's error; DEADLINE_EXCEEDED after `timeout`,
    /// when the call may have had its effect or not; INTERNAL for an OK without
    /// an answer.
    pub fn call<Q, A: Unpin>(
        &self,
        method: &Method<Q, A>,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, Error> {
        self.call_with(&[], method, request, timeout)
    }

    /// As [`Connection::call`], with this metadata.
    ///
    /// # Errors
    /// The same.
    pub fn call_with<Q, A: Unpin>(
        &self,
        metadata: &[(&str, &str)],
        method: &Method<Q, A>,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, Error> {
        let none = || Error::new(Code::Internal, "the server answered OK without a message");
        let answer = self.answer(metadata, method, request, timeout)?;
        answer.ok_or_else(none)
    }

    /// The answer, if there is one with the OK.
    fn answer<Q, A: Unpin>(
        &self,
        metadata: &[(&str, &str)],
        method: &Method<Q, A>,
        request: &Q,
        timeout: Duration,
    ) -> Result<Option<A>, Error> {
        let options = self.options(metadata)?.timeout(timeout);
        // grpcio panics when the message is missing. Making the call as a stream of
        // answers avoids that, and costs a call a tenth more.
        let client = self.link.client();
        let answer = quietly(|| client.unary_call(method, request, options));
        answer
            .transpose()
            .map_err(|error| match from_grpcio(&error) {
                // Nobody here cancels a unary call: the C core does so with calls
                // that reach a server in the moment of its end.
                error if error.code == Code::Cancelled => {
                    Error::unavailable("the server has ended")
                }
                error => error,
            })
    }

    /// Opens a server stream.
    ///
    /// # Errors
    /// An immediate error of the transport; a server that cannot be reached ends
    /// the stream.
    pub fn stream<Q, A: Message>(
        &self,
        method: &Method<Q, A>,
        request: &Q,
    ) -> Result<Stream<A>, Error> {
        let client = self.link.client();
        let receiver = client.server_streaming(method, request, self.options(&[])?);
        let receiver = receiver.map_err(|e| from_grpcio(&e))?;
        Ok(Stream::new(receiver, client))
    }

    /// Gives the server `settle` to register this stream, from when it has the request:
    /// a call over the same connection comes behind that, and every server answers this
    /// one, if only with UNIMPLEMENTED. A first message that `confirms` the
    /// subscription is the proof; any other one is kept.
    ///
    /// # Errors
    /// The server's or the transport's error; DEADLINE_EXCEEDED after `timeout`.
    pub fn settle<A>(
        &self,
        stream: &mut Stream<A>,
        timeout: Duration,
        settle: Duration,
        confirms: impl FnOnce(&A) -> bool,
    ) -> Result<Proof, Error> {
        let request = wire::HealthCheckRequest::default();
        if let Err(error) = self.answer(&[], &wire::CHECK, &request, timeout)
            && matches!(error.code, Code::Unavailable | Code::DeadlineExceeded)
        {
            return Err(error);
        }
        match stream.recv_within(settle)? {
            Some(first) if confirms(&first) => return Ok(Proof::Confirmed),
            first => stream.early = first,
        }
        Ok(Proof::Settled)
    }

    /// Opens a bidirectional stream.
    ///
    /// # Errors
    /// An immediate error of the transport; a server that cannot be reached ends
    /// the stream.
    pub fn duplex<Q, A: Message>(
        &self,
        method: &Method<Q, A>,
    ) -> Result<(Requests<Q>, Stream<A>), Error> {
        let client = self.link.client();
        let opened = client.duplex_streaming(method, self.options(&[])?);
        let (sender, receiver) = opened.map_err(|e| from_grpcio(&e))?;
        let requests = Requests::new(sender, client.clone());
        Ok((requests, Stream::new(receiver, client)))
    }

    /// Whether the server serves; one without the health service does if it answers.
    ///
    /// # Errors
    /// As [`Connection::check_health`].
    pub fn serves(&self, timeout: Duration) -> Result<(), Error> {
        match self.check_health("", timeout) {
            Err(error) if error.code == Code::Unimplemented => Ok(()),
            checked => checked,
        }
    }

    /// Asks the standard health service about `service` ("" is the whole server).
    ///
    /// # Errors
    /// UNAVAILABLE when it does not serve, or the transport's error.
    pub fn check_health(&self, service: &str, timeout: Duration) -> Result<(), Error> {
        let request = wire::HealthCheckRequest {
            service: service.into(),
            ..Default::default()
        };
        let response = self.call(&wire::CHECK, &request, timeout)?;
        match response.status.enum_value() {
            Ok(wire::Status::SERVING) => Ok(()),
            Ok(other) => Err(Error::unavailable(format!("the server says {other:?}"))),
            Err(number) => Err(Error::unavailable(format!("unknown status {number}"))),
        }
    }
}
