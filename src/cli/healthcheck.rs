//! `messenger healthcheck`: for containers and scripts.

use std::time::Duration;

use super::{Error, duration, target};

/// Exit with 0 if a server or a bridge is well, else with 1 and a reason
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// The gRPC service to ask about; the whole server if empty
    #[arg(long, env = "MESSENGER_HEALTH_SERVICE", default_value = "")]
    service: String,
    /// Ask a bridge or a log over HTTP instead
    #[arg(long, env = "MESSENGER_HTTP_ADDR", value_name = "HOST:PORT[/PATH]")]
    http: Option<String>,
    /// How long an answer may take
    #[arg(long, env = "MESSENGER_HEALTH_TIMEOUT", default_value = "3s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
}

const EXAMPLES: &str = "\
Examples:
  messenger healthcheck
  messenger healthcheck --service mes_grpc.MessengerServer
  messenger healthcheck --http localhost:8080
  messenger healthcheck --http localhost:8070/healthz";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        if let Some(address) = &self.http {
            let agent = ureq::Agent::config_builder()
                .timeout_global(Some(self.timeout))
                .build()
                .new_agent();
            agent.get(format!("http://{address}")).call()?;
        } else {
            let server = self.target.connect();
            server.check_health(&self.service, self.timeout)?;
        }
        println!("ok");
        Ok(())
    }
}
