//! The gRPC server: set-up, limits that the C core enforces, graceful shutdown.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use grpcio::{ChannelBuilder, Environment, ResourceQuota, ServerBuilder, Service};

use super::stream::Streams;
use super::{blocking, credentials};
use crate::sync::spawn;

pub use super::config::{Config, PORT};

/// Graceful shutdown in three steps, each at most so long: streams send their
/// final status, the C core finishes open calls, what is left is cancelled.
const FINAL_STATUS: Duration = Duration::from_millis(2500);
const FINISHING: Duration = Duration::from_millis(500);
const CANCELLING: Duration = Duration::from_millis(1000);

/// Time for a new connection to say that it speaks HTTP/2, and TLS before.
const HANDSHAKE_MS: i32 = 10_000;

/// A server that listens.
pub struct Server {
    server: grpcio::Server,
    ports: Vec<u16>,
    streams: Streams,
}

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    pub address: String,
    pub reason: String,
}

impl Server {
    /// Listens on all ports and serves at once.
    ///
    /// # Errors
    /// [`BindError`] for the first port that is taken or not allowed.
    pub fn start(
        config: &Config,
        environment: Arc<Environment>,
        streams: Streams,
        service: Service,
    ) -> Result<Self, BindError> {
        let builder = ServerBuilder::new(environment.clone())
            .channel_args(channel(config, environment).build_args())
            .register_service(service);
        let failed = |address: String, reason: &dyn std::fmt::Display| BindError {
            address,
            reason: reason.to_string(),
        };
        let mut server = builder
            .build()
            .map_err(|e| failed(config.host.clone(), &e))?;
        let mut ports = Vec::new();
        for port in &config.ports {
            let address = address(&config.host, *port);
            let credentials = credentials::server(config.tls.as_ref());
            let bound = server.add_listening_port(address.clone(), credentials);
            ports.push(bound.map_err(|_| failed(address.clone(), &why_not(&address)))?);
        }
        server.start();
        Ok(Self {
            server,
            ports,
            streams,
        })
    }

    /// The ports that are listened on, in the order of the configuration.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Graceful shutdown within `FINAL_STATUS` + `FINISHING` + `CANCELLING`. The
    /// broadcasts have to be closed before: that is what ends the streams.
    pub fn shut_down(mut self) {
        let left = self.streams.wait_until_over(FINAL_STATUS);
        if left > 0 {
            tracing::warn!(
                streams = left,
                "peers do not read; their streams are cancelled"
            );
        }
        let (over_sender, over) = bounded(1);
        let ended = self.server.shutdown();
        let waiting = spawn("grpc-shutdown", move || {
            blocking::wait(ended, Some(FINISHING + CANCELLING));
            let _ = over_sender.send(());
        });
        let wait = if left == 0 { FINISHING } else { Duration::ZERO };
        let mut clean = waiting.is_ok() && over.recv_timeout(wait).is_ok();
        if !clean {
            self.server.cancel_all_calls();
            clean = over.recv_timeout(CANCELLING).is_ok();
        }
        if !clean {
            // The C core aborts the process when a server is destroyed that has
            // not shut down completely, so this one is left to the exit.
            tracing::warn!("the C core did not finish all calls in time");
            std::mem::forget(self.server);
        }
    }
}

fn channel(config: &Config, environment: Arc<Environment>) -> ChannelBuilder {
    let int = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    let quota = ResourceQuota::new(Some("server")).resize_memory(config.memory.part(2).limit());
    ChannelBuilder::new(environment)
        // The C core shares ports by default: a second server would take half
        // of the calls instead of failing.
        .reuse_port(false)
        .set_resource_quota(quota)
        .max_concurrent_stream(int(config.streams.saturating_add(1024)))
        .raw_cfg_int(key("grpc.max_metadata_size"), int(config.metadata_bytes))
        // Without the filter for the size of messages, which costs each call as
        // much as `request` does, where the size is looked at too.
        .raw_cfg_int(key("grpc.minimal_stack"), 1)
        .raw_cfg_int(key("grpc.enable_deadline_checking"), 1)
        // Identity alone (bit 0): the C core would inflate a message whole, and
        // only then look at its size.
        .raw_cfg_int(key("grpc.compression_enabled_algorithms_bitset"), 1)
        // Two minutes otherwise.
        .raw_cfg_int(key("grpc.server_handshake_timeout_ms"), HANDSHAKE_MS)
        .keepalive_time(config.keepalive)
        .keepalive_timeout(config.keepalive_timeout)
        .keepalive_permit_without_calls(true)
        .http2_max_pings_without_data(0)
        .http2_min_recv_ping_interval_without_data(Duration::from_secs(5))
}

/// A name for one of the C core's channel arguments.
pub(super) fn key(name: &'static str) -> CString {
    CString::new(name).unwrap_or_default()
}

/// Host and port; an IPv6 address gets its brackets.
pub fn address(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        return format!("[{host}]:{port}");
    }
    format!("{host}:{port}")
}

/// The C core does not say why, so the operating system is asked again.
fn why_not(address: &str) -> String {
    match std::net::TcpListener::bind(address) {
        Err(error) => error.to_string(),
        Ok(_) => "the C core refused it".into(),
    }
}
