//! gRPC in front of two servers: each method of `proto/`, its messages as bytes. The first
//! side's call goes on on the completion queue that it came on, the second side's on a
//! thread of its own. A client's connection leads to one of its own to either server.

mod call;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grpcio::{
    Channel, ChannelBuilder, Client, Environment, Metadata, MetadataBuilder, Method, RpcContext,
    ServiceBuilder,
};

use protobuf::reflect::MessageDescriptor;

use super::{Place, Side, Watch};
use crate::generated::files;
use crate::grpc::environment::environment;
use crate::grpc::host::StartError;
use crate::grpc::method::{self, Encoded};
use crate::grpc::server::{Config, Server};
use crate::grpc::stream::Streams;
use crate::sync::lock;

/// The largest message, in bytes: either server refuses what it finds too large.
const MESSAGE: usize = 16 * 1024 * 1024;
/// The metadata of a call, in bytes.
const METADATA: usize = 128 * 1024;
/// Connections to a server; without calls they may be closed when there are more.
const CONNECTIONS: usize = 1024;

struct Shared {
    watch: Arc<Watch>,
    servers: [(String, Arc<Environment>); 2],
    /// By the client's address.
    connections: Mutex<HashMap<String, Arc<[Client; 2]>>>,
}

/// Where a call goes.
struct Call {
    watch: Arc<Watch>,
    method: Method<Encoded, Encoded>,
    /// What its answers are.
    kind: MessageDescriptor,
    /// It is no unary call.
    streams: bool,
    metadata: Metadata,
    connections: Arc<[Client; 2]>,
}

/// Listens there.
///
/// # Errors
/// [`StartError`] for a port that is taken, or no thread to be had.
pub fn start(
    host: &str,
    (port, servers): &Place,
    watch: &Arc<Watch>,
) -> Result<Server, StartError> {
    let [left, right] = servers.clone();
    // A side that is slow does not hold up the other one's completion queue.
    let servers = [
        (left, environment("grpc-left", 1)),
        (right, environment("grpc-right", 1)),
    ];
    let shared = Arc::new(Shared {
        watch: watch.clone(),
        servers,
        connections: Mutex::default(),
    });
    let mut builder = ServiceBuilder::new();
    for (file, service) in files()
        .iter()
        .flat_map(|f| f.services().map(move |s| (f, s)))
    {
        let package = file.proto().package();
        let dot = if package.is_empty() { "" } else { "." };
        for rpc in service.methods() {
            let proto = rpc.proto();
            let name = format!("/{package}{dot}{}/{}", service.proto().name(), proto.name());
            // As often as there are methods, once a process.
            let name: &'static str = Box::leak(name.into_boxed_str());
            let streams = proto.server_streaming() || proto.client_streaming();
            let kind = rpc.output_type();
            let shared = shared.clone();
            let handler = move |ctx: RpcContext<'_>, requests, sink| {
                let call = Call {
                    watch: shared.watch.clone(),
                    method: method::as_bytes(name),
                    kind: kind.clone(),
                    streams,
                    metadata: passed_on(ctx.request_headers()),
                    connections: shared.connections(ctx.peer()),
                };
                ctx.spawn(call.forward(requests, sink));
            };
            builder = builder.add_duplex_streaming_handler(&method::as_bytes(name), handler);
        }
    }
    let config = Config {
        host: host.into(),
        ports: vec![*port],
        metadata_bytes: METADATA,
        ..Config::default()
    };
    let environment = environment("grpc", 1);
    let streams = Streams::new(config.streams, None, &environment)?;
    let service = builder.build();
    Ok(Server::start(&config, environment, streams, service)?)
}

impl Shared {
    fn connections(&self, peer: String) -> Arc<[Client; 2]> {
        let mut all = lock(&self.connections);
        if all.len() >= CONNECTIONS {
            all.retain(|_, pair| Arc::strong_count(pair) > 1);
        }
        // Where all have calls, further clients have one connection in common.
        let peer = Some(peer).filter(|it| all.len() < CONNECTIONS || all.contains_key(it));
        let pair = all.entry(peer.unwrap_or_default()).or_insert_with(|| {
            let [left, right] = [Side::Left, Side::Right].map(|side| {
                let (server, queue) = &self.servers[side as usize];
                Client::new(connect(server, queue, side != self.watch.first))
            });
            Arc::new([left, right])
        });
        pair.clone()
    }
}

/// The second side's is `narrow`: it holds little that nobody reads, as a client would.
fn connect(server: &str, queue: &Arc<Environment>, narrow: bool) -> Channel {
    let int = |bytes| i32::try_from(bytes).unwrap_or(i32::MAX);
    ChannelBuilder::new(queue.clone())
        .enable_retry(false)
        .use_local_subchannel_pool(true)
        .initial_reconnect_backoff(Duration::from_millis(100))
        .max_reconnect_backoff(Duration::from_secs(1))
        .max_receive_message_len(int(MESSAGE))
        .max_send_message_len(-1)
        .http2_bdp_probe(!narrow)
        .raw_cfg_int(c"grpc.max_metadata_size".into(), int(METADATA))
        .connect(server)
}

/// Metadata without what belongs to a connection, and is made anew.
fn passed_on(metadata: &Metadata) -> Metadata {
    let mut passed = MetadataBuilder::new();
    for (key, value) in metadata {
        let own = ["user-agent", "te", "content-type"].contains(&key);
        let own = own || key.starts_with("grpc-") || key.starts_with(':');
        // It has come over the wire, so it can go there.
        let _ = match std::str::from_utf8(value) {
            _ if own => Ok(&mut passed),
            Ok(text) if !key.ends_with("-bin") => passed.add_str(key, text),
            _ => passed.add_bytes(key, value),
        };
    }
    passed.build()
}
