//! The channel below a connection; with TLS another one whenever certificates change.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use grpcio::{ChannelBuilder, Client, Environment};

use crate::access::Bearer;
use crate::grpc::credentials;
use crate::reload::Live;
use crate::sync::lock;
use crate::tls;

/// Larger messages than any server of ours sends; a Python server has no limit
/// of its own below gRPC's 4 MiB.
const RECEIVE_BYTES: i32 = 16 * 1024 * 1024;

/// Keepalive of a client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// Keepalive interval. grpcio servers close connections that ping more often
    /// than every 5 minutes without data, so the default is above that.
    pub interval: Duration,
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(310),
            timeout: Duration::from_secs(10),
        }
    }
}

/// How a client connects.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub keepalive: Keepalive,
    /// Plain text without it.
    pub tls: Option<Arc<Live<tls::Client>>>,
    /// The token that goes with each call and stream.
    pub token: Option<Bearer>,
}

/// For all clones of a connection.
pub(super) struct Link {
    environment: Arc<Environment>,
    server: String,
    pub settings: Settings,
    /// With the version of the certificates that it was made with.
    now: Mutex<(u64, Client)>,
}

impl Link {
    pub fn new(environment: Arc<Environment>, server: &str, settings: &Settings) -> Self {
        let version = settings.version();
        let client = connect(environment.clone(), server, settings);
        Self {
            environment,
            server: server.into(),
            settings: settings.clone(),
            now: Mutex::new((version, client)),
        }
    }

    /// For one call or stream, which keeps its channel when there is a new one.
    pub fn client(&self) -> Client {
        let version = self.settings.version();
        let mut now = lock(&self.now);
        if now.0 != version {
            let client = connect(self.environment.clone(), &self.server, &self.settings);
            *now = (version, client);
        }
        now.1.clone()
    }
}

impl Settings {
    fn version(&self) -> u64 {
        self.tls.as_ref().map_or(0, |tls| tls.version())
    }
}

fn connect(environment: Arc<Environment>, server: &str, settings: &Settings) -> Client {
    let mut channel = ChannelBuilder::new(environment)
        // The C core never sends a call again that may have reached the server.
        .enable_retry(false)
        // Each client has a connection of its own, as each process would.
        .use_local_subchannel_pool(true)
        .initial_reconnect_backoff(Duration::from_millis(100))
        .max_reconnect_backoff(Duration::from_secs(1))
        .max_receive_message_len(RECEIVE_BYTES)
        .keepalive_time(settings.keepalive.interval)
        .keepalive_timeout(settings.keepalive.timeout)
        .http2_max_pings_without_data(0);
    if let Some(tls) = &settings.tls {
        let tls = tls.get();
        channel = channel.set_credentials(credentials::client(&tls));
        if let Some(name) = &tls.name {
            channel = channel.override_ssl_target(name.clone());
        }
    }
    Client::new(channel.connect(server))
}
