//! `grpc.reflection.v1` and `v1alpha`: a server that describes its own services, so
//! that tools need no .proto. Errors are those of grpc-go.

mod wire;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use grpcio::RpcStatusCode;
use protobuf::Message as _;
use protobuf::reflect::{EnumDescriptor, FileDescriptor};

use super::duplex::{Bell, Conversation, Turn};
use super::handler::Methods;
use super::method::Encoded;
use super::stream::Streams;
use crate::access::Need;
use crate::error::{Code, Error};
use crate::sync::lock;

use wire::{Answer, Asked, Request};

/// Requests of one stream that wait for their answer.
const WAITING: usize = 64;
/// One request, in bytes; each answer repeats it.
const REQUEST_BYTES: u64 = 4096;

/// What every server has, beside what it hosts.
const OWN: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Registers the reflection of the services that are `hosted`, and of `OWN`.
pub fn register(methods: Methods, streams: &Streams, hosted: &[&'static str]) -> Methods {
    let catalog = Arc::new(Catalog::new([hosted, &OWN].concat()));
    let versions = [&wire::INFO_ENCODED, &wire::INFO_V1ALPHA_ENCODED];
    versions.into_iter().fold(methods, |methods, method| {
        let (streams, catalog) = (streams.clone(), catalog.clone());
        methods.duplex(method, Need::Token, move |ctx, requests, sink| {
            streams.serve_duplex(ctx, requests, sink, "reflection", |bell, _| {
                Ok(Arc::new(Session {
                    catalog: catalog.clone(),
                    bell,
                    waiting: Mutex::default(),
                }))
            });
        })
    })
}

/// The services, the files that declare them, and those that these import.
struct Catalog {
    services: Vec<&'static str>,
    files: BTreeMap<String, FileDescriptor>,
    /// The file of each symbol, by its full name.
    symbols: HashMap<String, FileDescriptor>,
}

impl Catalog {
    fn new(mut services: Vec<&'static str>) -> Self {
        services.sort_unstable();
        let mut files = BTreeMap::new();
        for file in wire::files() {
            if symbols(file).iter().any(|it| services.contains(&&**it)) {
                files.extend(with_imports(file));
            }
        }
        let of = |file: &FileDescriptor| {
            symbols(file)
                .into_iter()
                .map(|it| (it, file.clone()))
                .collect::<Vec<_>>()
        };
        let symbols = files.values().flat_map(of).collect();
        Self {
            services,
            files,
            symbols,
        }
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let missing = |what: &str, name: &str| {
            Answer::ErrorResponse(wire::ErrorResponse {
                error_code: RpcStatusCode::NOT_FOUND.into(),
                error_message: format!("there is no {what} {name}"),
                ..Default::default()
            })
        };
        match asked {
            Asked::ListServices(_) => list(&self.services),
            Asked::FileByFilename(name) => self
                .files
                .get(name)
                .map_or_else(|| missing("file", name), files),
            Asked::FileContainingSymbol(name) => self
                .symbols
                .get(name)
                .map_or_else(|| missing("symbol", name), files),
            // No file of ours extends any type.
            Asked::FileContainingExtension(asked) => {
                let what = format!("extension {} of", asked.extension_number);
                missing(&what, &asked.containing_type)
            }
            Asked::AllExtensionNumbersOfType(name) if self.symbols.contains_key(name) => {
                Answer::AllExtensionNumbersResponse(wire::ExtensionNumberResponse {
                    base_type_name: name.clone(),
                    ..Default::default()
                })
            }
            Asked::AllExtensionNumbersOfType(name) => missing("type", name),
        }
    }
}

/// A file and all that it imports, by name.
fn with_imports(file: &FileDescriptor) -> BTreeMap<String, FileDescriptor> {
    let mut all: BTreeMap<_, _> = file.deps().iter().flat_map(with_imports).collect();
    all.insert(file.proto().name().into(), file.clone());
    all
}

/// The full names of all that a file declares.
fn symbols(file: &FileDescriptor) -> Vec<String> {
    let mut found = Vec::new();
    let (mut enums, mut messages): (Vec<EnumDescriptor>, Vec<_>) =
        (file.enums().collect(), file.messages().collect());
    while let Some(message) = messages.pop() {
        found.push(message.full_name().to_owned());
        found.extend(message.fields().map(|it| it.full_name()));
        found.extend(message.all_oneofs().map(|it| it.full_name()));
        enums.extend(message.nested_enums());
        messages.extend(message.nested_messages());
    }
    for declared in enums {
        // Its values stand beside it, as in C++.
        let name = declared.full_name();
        let scope = &name[..name.len() - declared.name().len()];
        found.extend(declared.values().map(|it| format!("{scope}{}", it.name())));
        found.push(name.to_owned());
    }
    let package = file.proto().package();
    for service in &file.proto().service {
        let name = format!("{package}.{}", service.name());
        let name = name.trim_start_matches('.');
        found.extend(
            service
                .method
                .iter()
                .map(|it| format!("{name}.{}", it.name())),
        );
        found.push(name.to_owned());
    }
    found
}

fn files(file: &FileDescriptor) -> Answer {
    let all = with_imports(file);
    let encode = |file: &FileDescriptor| file.proto().write_to_bytes().expect("no required fields");
    Answer::FileDescriptorResponse(wire::FileDescriptorResponse {
        file_descriptor_proto: all.values().map(encode).collect(),
        ..Default::default()
    })
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

/// One stream.
struct Session {
    catalog: Arc<Catalog>,
    bell: Arc<Bell>,
    /// `None` is that the client has half-closed the stream.
    waiting: Mutex<VecDeque<Result<Option<Request>, Error>>>,
}

impl Session {
    fn answer(&self, request: Request) -> Result<Encoded, Error> {
        let size = request.compute_size();
        if size > REQUEST_BYTES {
            let limit = format!("over the limit of {REQUEST_BYTES}");
            return Err(Error::invalid(format!("request: {size} bytes are {limit}")));
        }
        let nothing = || Error::invalid("message_request: nothing is asked");
        let asked = request.message_request.as_ref().ok_or_else(nothing)?;
        let answer = self.catalog.answer(asked);
        wire::response(request, answer)
    }
}

impl Conversation<Request> for Session {
    fn request(&self, request: Result<Option<Request>, Error>) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= WAITING && request.is_ok() {
            waiting.clear();
            let full = format!("requests: {WAITING} wait for their answer, which is the limit");
            waiting.push_back(Err(Error::new(Code::ResourceExhausted, full)));
        } else {
            waiting.push_back(request);
        }
        drop(waiting);
        self.bell.ring();
    }

    fn turn(&self) -> Turn {
        let next = lock(&self.waiting).pop_front();
        match next {
            None => Turn::Wait,
            Some(Ok(None)) => Turn::End(Ok(())),
            Some(Ok(Some(request))) => match self.answer(request) {
                Ok(answer) => Turn::Send(vec![answer]),
                Err(error) => Turn::End(Err(error)),
            },
            Some(Err(error)) => Turn::End(Err(error)),
        }
    }

    fn failure(&self) -> Option<Error> {
        let waiting = lock(&self.waiting);
        waiting.iter().find_map(|it| it.as_ref().err().cloned())
    }
}
