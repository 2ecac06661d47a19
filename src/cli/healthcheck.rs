//! `messenger healthcheck`: for containers and scripts.

use std::time::Duration;

use super::{Error, access, duration, target, tls};
use crate::chat::bridge;
use crate::grpc::server;
use crate::http::agent::agent;

/// Exit with 0 if a server or a bridge is healthy, else with 1 and a reason
///
/// It checks what --server or --http names; without them the server on localhost,
/// at the port that MESSENGER_SERVER_PORT gives to the server itself. Addresses for
/// clients, such as MESSENGER_SERVER_ADDR, are ignored: a container's health check
/// is about what runs in it.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The gRPC server to check; has no environment variable
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "http")]
    server: Option<String>,
    /// Check a bridge, a console or a message log over HTTP instead, or a metrics port,
    /// at /readyz unless a path is given; without a value the one on localhost; has no
    /// environment variable
    #[arg(long, value_name = "HOST:PORT[/PATH]")]
    http: Option<Option<String>>,
    /// Port of the server on localhost
    #[arg(long, env = "MESSENGER_SERVER_PORT", default_value_t = server::PORT)]
    port: u16,
    /// Port on localhost for --http without a value
    #[arg(
        long,
        env = "MESSENGER_HTTP_PORT",
        default_value_t = bridge::Config::default().http_port,
        value_name = "PORT"
    )]
    http_port: u16,
    /// The gRPC service to check; the whole server if empty
    #[arg(long, env = "MESSENGER_HEALTH_SERVICE", default_value = "")]
    service: String,
    /// Maximum wait for the answer
    #[arg(long, env = "MESSENGER_HEALTH_TIMEOUT", default_value = "3s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    tls: tls::Connect,
}

const EXAMPLES: &str = "\
Examples:
  messenger healthcheck                                the server on localhost
  messenger healthcheck --service mes_grpc.MessengerServer
  messenger healthcheck --server chat.example:51075
  messenger healthcheck --http                         the bridge on localhost
  messenger healthcheck --http localhost:8070          a replica of the log
  messenger healthcheck --http https://chat.example    with a certificate of the system's authorities
  MESSENGER_SERVER_PORT=6000 messenger healthcheck";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.http {
            Some(address) => self.ask_http(address.as_deref())?,
            None => self.ask_server()?,
        }
        println!("ok");
        Ok(())
    }

    fn ask_http(&self, address: Option<&str>) -> Result<(), Error> {
        let mut address = match address {
            Some(address) => address.to_owned(),
            None => localhost(self.http_port, "--http-port")?,
        };
        let place = address
            .split_once("://")
            .map_or(&*address, |(_, place)| place);
        if !place.contains('/') {
            address += "/readyz";
        }
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(self.timeout))
            // Check the program itself, not through a proxy.
            .proxy(None);
        let tls = self.tls.read()?.map(|tls| tls.get());
        let (agent, url) = agent(&address, tls.as_deref(), config);
        agent.get(url).call()?;
        Ok(())
    }

    fn ask_server(&self) -> Result<(), Error> {
        let server = match &self.server {
            Some(server) => server.clone(),
            None => localhost(self.port, "--port")?,
        };
        let target = target::Args {
            address: target::Address {
                server,
                token: access::Client::default(),
            },
            tls: self.tls.clone(),
        };
        Ok(target
            .connect()?
            .check_health(&self.service, self.timeout)?)
    }
}

fn localhost(port: u16, flag: &str) -> Result<String, Error> {
    if port == 0 {
        return Err(format!("{flag}: 0 is any free port: give the real one").into());
    }
    Ok(format!("localhost:{port}"))
}
