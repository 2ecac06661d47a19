//! ureq's agents, with our TLS below them: ureq's own has other rules and more crates.

use std::fmt;
use std::io::{self, Read as _, Write as _};

use openssl::ssl::SslStream;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, TcpConnector, Transport,
    TransportAdapter,
};
use ureq::{Agent, Error};

use crate::tls::Client;

/// An agent for what listens at `address`, and how the URLs begin there. It speaks
/// TLS with `tls`, or if the address begins with `https://`; the certificate has to be
/// for the host, or for the name that `tls` has.
pub fn agent(
    address: &str,
    tls: Option<&Client>,
    config: ConfigBuilder<AgentScope>,
) -> (Agent, String) {
    let encrypted = tls.is_some() || address.starts_with("https://");
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let config = config.build();
    if !encrypted {
        return (config.into(), format!("http://{address}"));
    }
    let tls = Tls(tls.cloned().unwrap_or_default());
    let connector = TcpConnector::default().chain(tls);
    let agent = Agent::with_parts(config, connector, DefaultResolver::default());
    (agent, format!("https://{address}"))
}

/// Begins a session on each connection.
#[derive(Debug)]
struct Tls(Client);

impl<T: Transport> Connector<T> for Tls {
    type Out = Session;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        below: Option<T>,
    ) -> Result<Option<Session>, Error> {
        let Some(below) = below else { return Ok(None) };
        let mut below = TransportAdapter::new(below.boxed(), details.current_time.clone());
        below.set_timeout(details.timeout);
        let host = details
            .uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']']);
        let name = self.0.name.as_deref().unwrap_or(host);
        let begin = || -> io::Result<SslStream<TransportAdapter>> {
            let connection = self.0.connector()?.build().configure()?;
            let mut stream = SslStream::new(connection.into_ssl(name)?, below)?;
            stream.connect().map_err(|error| {
                let reason = stream.ssl().verify_result();
                let other = |error| io::Error::other(format!("{error}: {reason}"));
                error.into_io_error().unwrap_or_else(other)
            })?;
            Ok(stream)
        };
        let stream = begin()?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Session { buffers, stream }))
    }
}

struct Session {
    buffers: LazyBuffers,
    stream: SslStream<TransportAdapter>,
}

impl Transport for Session {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}
