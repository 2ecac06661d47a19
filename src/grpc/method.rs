//! Descriptions of gRPC methods, written by hand: a name, a kind and two pairs
//! of functions. Generated stubs would say the same with more words, and could
//! not say [`Encoded`].

use std::io::Read as _;

use grpcio::{GrpcSlice, Marshaller, MessageReader, Method, MethodType};
use protobuf::Message;

use crate::error::{Code, Error};

/// A message that was encoded once and is sent many times: cloning it counts a
/// reference.
#[derive(Clone, Debug)]
pub struct Encoded(GrpcSlice);

impl Encoded {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(GrpcSlice::from(bytes))
    }

    /// Encodes a message.
    ///
    /// # Errors
    /// INTERNAL for one that is larger than gRPC allows.
    pub fn message(message: &impl Message) -> Result<Self, Error> {
        let mut slice = GrpcSlice::default();
        let encoded = grpcio::pb_ser(message, &mut slice);
        encoded.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        Ok(Self(slice))
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub const fn unary<Q: Message, A: Message>(name: &'static str) -> Method<Q, A> {
    Method {
        ty: MethodType::Unary,
        name,
        req_mar: protobuf(),
        resp_mar: protobuf(),
    }
}

/// A server stream as its client sees it.
pub const fn server_stream<Q: Message, A: Message>(name: &'static str) -> Method<Q, A> {
    Method {
        ty: MethodType::ServerStreaming,
        ..unary(name)
    }
}

/// A bidirectional stream as its client sees it.
pub const fn duplex<Q: Message, A: Message>(name: &'static str) -> Method<Q, A> {
    Method {
        ty: MethodType::Duplex,
        ..unary(name)
    }
}

/// A server stream as its server sees it: the messages are encoded already.
pub const fn encoded_stream<Q: Message>(name: &'static str) -> Method<Q, Encoded> {
    encoded(MethodType::ServerStreaming, name)
}

/// A bidirectional stream as its server sees it.
pub const fn encoded_duplex<Q: Message>(name: &'static str) -> Method<Q, Encoded> {
    encoded(MethodType::Duplex, name)
}

const fn encoded<Q: Message>(ty: MethodType, name: &'static str) -> Method<Q, Encoded> {
    Method {
        ty,
        name,
        req_mar: protobuf(),
        resp_mar: encoded_only(),
    }
}

/// A method whose messages pass as the bytes that they are, in both directions: what a
/// proxy has at either end.
pub const fn as_bytes(name: &'static str) -> Method<Encoded, Encoded> {
    const BYTES: Marshaller<Encoded> = Marshaller {
        ser: share,
        de: copy,
    };
    Method {
        ty: MethodType::Duplex,
        name,
        req_mar: BYTES,
        resp_mar: BYTES,
    }
}

/// A method as a server registers it that reads its request itself; see
/// [`request`](super::request).
pub(super) const fn as_registered<Q, A>(method: &Method<Q, A>) -> Method<MessageReader, Encoded> {
    Method {
        ty: MethodType::Duplex,
        name: method.name,
        req_mar: Marshaller {
            ser: send_nothing,
            de: Ok,
        },
        resp_mar: encoded_only(),
    }
}

fn send_nothing(_: &MessageReader, _: &mut GrpcSlice) -> grpcio::Result<()> {
    Err(grpcio::Error::Codec(
        "this description of the method is for servers only".into(),
    ))
}

const fn encoded_only() -> Marshaller<Encoded> {
    Marshaller {
        ser: share,
        de: refuse,
    }
}

const fn protobuf<T: Message>() -> Marshaller<T> {
    Marshaller {
        ser: grpcio::pb_ser,
        de: grpcio::pb_de,
    }
}

fn share(message: &Encoded, slot: &mut GrpcSlice) -> grpcio::Result<()> {
    *slot = message.0.clone();
    Ok(())
}

fn copy(mut message: MessageReader) -> grpcio::Result<Encoded> {
    let mut bytes = Vec::with_capacity(message.len());
    let read = message.read_to_end(&mut bytes);
    read.map_err(|error| grpcio::Error::Codec(Box::new(error)))?;
    Ok(Encoded::new(bytes))
}

fn refuse(_: MessageReader) -> grpcio::Result<Encoded> {
    Err(grpcio::Error::Codec(
        "this description of the method is for servers only".into(),
    ))
}
