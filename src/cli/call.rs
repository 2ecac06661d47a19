//! `messenger call`: the message service from a terminal.

use std::time::Duration;

use super::{Error, duration, target};
use crate::jobs::client::MessageClient;
use crate::jobs::task::Task;

/// Call the message service, which answers tasks at once, and print the answer
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    method: Method,
}

#[derive(clap::Args, Debug)]
struct Server {
    #[command(flatten)]
    target: target::Args,
    /// Deadline of the call
    #[arg(long, env = "MESSENGER_CALL_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
}

#[derive(clap::Subcommand, Debug)]
enum Method {
    /// Convert a text to upper case
    #[command(after_help = "Examples:\n  messenger call process 'Hello, world'")]
    Process {
        /// Any text
        text: String,
        #[command(flatten)]
        server: Server,
    },
    /// Print the A/B test group of a user
    #[command(after_help = "Examples:\n  messenger call ab user42")]
    Ab {
        /// The user's name or id
        user: String,
        #[command(flatten)]
        server: Server,
    },
    /// Compute the factorial of a number
    #[command(
        after_help = "Examples:\n  messenger call fact 1000\n  messenger call fact --server localhost:50051 20"
    )]
    Fact {
        /// From 0 to 20,000
        #[arg(allow_negative_numbers = true)]
        n: i64,
        #[command(flatten)]
        server: Server,
    },
    /// Find the most frequent letter of a text, and how often it occurs
    #[command(after_help = "Examples:\n  messenger call freq abracadabra")]
    Freq {
        /// Any text with a letter in it
        text: String,
        #[command(flatten)]
        server: Server,
    },
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let (task, server) = match &self.method {
            Method::Process { text, server } => (Task::Process(text.clone()), server),
            Method::Ab { user, server } => (Task::AssignGroup(user.clone()), server),
            Method::Fact { n, server } => (Task::Factorial(*n), server),
            Method::Freq { text, server } => (Task::MostFrequentLetter(text.clone()), server),
        };
        let client = MessageClient::over(server.target.connect()?, server.timeout);
        println!("{}", client.answer(&task)?);
        Ok(())
    }
}
