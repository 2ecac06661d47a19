//! `grpc.reflection.v1` and `v1alpha`: a server that describes its own services, so
//! that tools need no .proto. Answers are those of grpc-go.

mod catalog;
mod wire;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use grpcio::RpcStatusCode;
use protobuf::reflect::FileDescriptor;

use super::duplex::{Bell, Conversation, Turn};
use super::handler::Methods;
use super::method::Encoded;
use super::stream::Streams;
use crate::access::Need;
use crate::error::{Code, Error};
use crate::sync::lock;

use catalog::Catalog;
use wire::{Answer, Asked, Request};

/// Requests of one stream that wait for their answer.
const WAITING: usize = 64;
/// One request, in bytes; each answer repeats it.
const REQUEST_BYTES: usize = 4096;

/// A service, and the file that declares it.
pub struct Described {
    pub name: &'static str,
    pub file: &'static FileDescriptor,
}

/// Registers the reflection of these services, and of itself.
pub fn register(
    methods: Methods,
    streams: &Streams,
    services: impl IntoIterator<Item = Described>,
) -> Methods {
    let services = services.into_iter().chain(wire::services());
    let catalog = Arc::new(Catalog::new(services));
    [&wire::INFO_ENCODED, &wire::INFO_V1ALPHA_ENCODED]
        .into_iter()
        .fold(methods, |methods, method| {
            let (streams, catalog) = (streams.clone(), catalog.clone());
            methods.duplex(method, Need::Token, move |ctx, requests, sink| {
                streams.serve_duplex(ctx, requests, sink, "reflection", |bell, _| {
                    Ok(Arc::new(Session {
                        catalog: catalog.clone(),
                        bell,
                        state: Mutex::default(),
                    }))
                });
            })
        })
}

/// One stream.
struct Session {
    catalog: Arc<Catalog>,
    bell: Arc<Bell>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    half_closed: bool,
    refused: Option<Error>,
    /// Files that this stream has sent.
    sent: HashSet<usize>,
}

impl Session {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn answer(&self, request: Request, sent: &mut HashSet<usize>) -> Result<Encoded, Error> {
        let catalog = &*self.catalog;
        let mut file = |file: Option<usize>, what: &dyn Fn() -> String| match file {
            Some(file) => Answer::FileDescriptorResponse(wire::FileDescriptorResponse {
                file_descriptor_proto: catalog.with_imports(file, sent),
                ..Default::default()
            }),
            None => not_found(what()),
        };
        let answer = match &request.message_request {
            Some(Asked::ListServices(_)) => list(catalog.services()),
            Some(Asked::FileByFilename(name)) => {
                file(catalog.file(name), &|| format!("there is no file {name}"))
            }
            Some(Asked::FileContainingSymbol(symbol)) => file(catalog.file_with(symbol), &|| {
                format!("there is no symbol {symbol}")
            }),
            // No file of ours extends any type.
            Some(Asked::FileContainingExtension(extension)) => {
                let (name, number) = (&extension.containing_type, extension.extension_number);
                not_found(format!("there is no extension {number} of {name}"))
            }
            Some(Asked::AllExtensionNumbersOfType(name)) => match catalog.file_with(name) {
                Some(_) => Answer::AllExtensionNumbersResponse(wire::ExtensionNumberResponse {
                    base_type_name: name.clone(),
                    ..Default::default()
                }),
                None => not_found(format!("there is no type {name}")),
            },
            _ => {
                let what = "message_request: nothing is asked, or something newer";
                return Err(Error::new(Code::InvalidArgument, what));
            }
        };
        wire::response(request, answer)
    }
}

impl State {
    fn note(&mut self, request: Request) -> Result<(), Error> {
        let size = wire::size(&request);
        if size > REQUEST_BYTES {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("request: {size} bytes are over the limit of {REQUEST_BYTES}"),
            ));
        }
        if self.waiting.len() >= WAITING {
            return Err(Error::new(
                Code::ResourceExhausted,
                format!("requests: {WAITING} wait for their answer, which is the limit"),
            ));
        }
        self.waiting.push_back(request);
        Ok(())
    }
}

impl Conversation<Request> for Session {
    fn request(&self, request: Result<Option<Request>, Error>) {
        let mut state = self.lock();
        let noted = match request {
            Ok(Some(request)) => state.note(request),
            Ok(None) => {
                state.half_closed = true;
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            state.refused.get_or_insert(error);
        }
        drop(state);
        self.bell.ring();
    }

    fn turn(&self) -> Turn {
        let mut state = self.lock();
        if let Some(error) = &state.refused {
            return Turn::End(Err(error.clone()));
        }
        let Some(request) = state.waiting.pop_front() else {
            let half_closed = state.half_closed;
            return if half_closed {
                Turn::End(Ok(()))
            } else {
                Turn::Wait
            };
        };
        match self.answer(request, &mut state.sent) {
            Ok(answer) => Turn::Send(vec![answer]),
            Err(error) => Turn::End(Err(error)),
        }
    }

    fn failure(&self) -> Option<Error> {
        self.lock().refused.clone()
    }
}

fn list(services: &[&str]) -> Answer {
    let service = services.iter().map(|name| wire::ServiceResponse {
        name: (*name).into(),
        ..Default::default()
    });
    Answer::ListServicesResponse(wire::ListServiceResponse {
        service: service.collect(),
        ..Default::default()
    })
}

/// As in grpc-go the stream goes on: it is the answer that says so.
fn not_found(error_message: String) -> Answer {
    Answer::ErrorResponse(wire::ErrorResponse {
        error_code: RpcStatusCode::NOT_FOUND.into(),
        error_message,
        ..Default::default()
    })
}
