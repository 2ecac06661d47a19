//! The server that a client command connects to.

use super::{Error, access};
use crate::grpc::client::{Connection, Keepalive, environment};

#[derive(clap::Args, Debug)]
pub struct Args {
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
        let connection = Connection::new(environment(), &self.server, Keepalive::default());
        Ok(connection.with_bearer(self.token.bearer()?))
    }
}
