//! `messenger healthcheck`: for containers and scripts.

use std::time::Duration;

use super::{Error, duration, target};

/// Exit with 0 if a server or a bridge is well, else with 1 and a reason
///
/// It asks what --server or --http names; without them the server on localhost,
/// at the port that MESSENGER_SERVER_PORT gives to the server itself. The
/// addresses that clients connect to, MESSENGER_SERVER_ADDR for one, do not count:
/// a container's check is about what runs in it.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The server to ask; no variable moves it
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "http")]
    server: Option<String>,
    /// Ask a bridge, a console or a log over HTTP instead; without a value the one
    /// on localhost; no variable moves it
    #[arg(long, value_name = "HOST:PORT[/PATH]")]
    http: Option<Option<String>>,
    /// Port of the server on localhost
    #[arg(long, env = "MESSENGER_SERVER_PORT", default_value_t = 51075)]
    port: u16,
    /// Port on localhost for --http without a value
    #[arg(
        long,
        env = "MESSENGER_HTTP_PORT",
        default_value_t = 8080,
        value_name = "PORT"
    )]
    http_port: u16,
    /// The gRPC service to ask about; the whole server if empty
    #[arg(long, env = "MESSENGER_HEALTH_SERVICE", default_value = "")]
    service: String,
    /// How long an answer may take
    #[arg(long, env = "MESSENGER_HEALTH_TIMEOUT", default_value = "3s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
}

const EXAMPLES: &str = "\
Examples:
  messenger healthcheck                                the server on localhost
  messenger healthcheck --service mes_grpc.MessengerServer
  messenger healthcheck --server chat.example:51075
  messenger healthcheck --http                         the bridge on localhost
  messenger healthcheck --http localhost:8070/healthz  a replica of the log
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
        let address = match address {
            Some(address) => address.to_owned(),
            None => localhost(self.http_port, "--http-port")?,
        };
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(self.timeout))
            // The check is of the program, not of the way through a proxy.
            .proxy(None)
            .build()
            .new_agent();
        agent.get(format!("http://{address}")).call()?;
        Ok(())
    }

    fn ask_server(&self) -> Result<(), Error> {
        let server = match &self.server {
            Some(server) => server.clone(),
            None => localhost(self.port, "--port")?,
        };
        let server = target::Args { server }.connect();
        Ok(server.check_health(&self.service, self.timeout)?)
    }
}

fn localhost(port: u16, flag: &str) -> Result<String, Error> {
    if port == 0 {
        return Err(format!("{flag}: 0 is any free port, so nobody knows which to ask").into());
    }
    Ok(format!("localhost:{port}"))
}
