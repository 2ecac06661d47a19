//! The server that a client command connects to.

use super::{Error, access, tls};
use crate::grpc::client::{Connection, Settings, environment};

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    pub address: Address,
    #[command(flatten)]
    pub tls: tls::Connect,
}

#[derive(clap::Args, Debug)]
pub struct Address {
    /// The gRPC server
    #[arg(
        long,
        global = true,
        env = "MESSENGER_SERVER_ADDR",
        default_value = "localhost:51075",
        value_name = "HOST:PORT"
    )]
    pub server: String,
    #[command(flatten)]
    pub token: access::Client,
}

impl Args {
    /// A connection to it, which is made when it is first used.
    pub fn connect(&self) -> Result<Connection, Error> {
        let settings = Settings {
            tls: self.tls.read()?,
            token: self.address.token.read()?,
            ..Settings::default()
        };
        Ok(Connection::new(
            environment(),
            &self.address.server,
            &settings,
        ))
    }
}
