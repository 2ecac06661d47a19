//! Which chat server a client command talks to.

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The chat server
    #[arg(
        long,
        env = "MESSENGER_SERVER_ADDR",
        default_value = "localhost:51075",
        value_name = "HOST:PORT"
    )]
    pub server: String,
}
