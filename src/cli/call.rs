//! `messenger call`: the message service from a terminal.

use std::time::Duration;

use super::{Error, duration, target};
use crate::jobs::client::MessageClient;
use crate::jobs::task::Task;

/// Call the message service, and print its answer
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    method: Method,
}

#[derive(clap::Args, Debug)]
struct Server {
    #[command(flatten)]
    target: target::Args,
    /// Deadline
    #[arg(long, env = "MESSENGER_CALL_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
}

#[derive(clap::Subcommand, Debug)]
enum Method {
    /// A text as the server processes it: in upper case
    #[command(after_help = "Examples:\n  messenger call process 'Hello, world'")]
    Process {
        text: String,
        #[command(flatten)]
        server: Server,
    },
    /// The A/B group of a user
    #[command(after_help = "Examples:\n  messenger call ab user42")]
    Ab {
        user: String,
        #[command(flatten)]
        server: Server,
    },
    /// The factorial of a number
    #[command(
        after_help = "Examples:\n  messenger call fact 1000\n  messenger call fact --server localhost:50051 20"
    )]
    Fact {
        #[arg(allow_negative_numbers = true)]
        n: i64,
        #[command(flatten)]
        server: Server,
    },
    /// The most frequent letter of a text, and how often it occurs
    #[command(after_help = "Examples:\n  messenger call freq abracadabra")]
    Freq {
        text: String,
        #[command(flatten)]
        server: Server,
    },
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let answer = match &self.method {
            Method::Process { text, server } => server.client().process(text),
            Method::Ab { user, server } => {
                let task = Task::AssignGroup(user.clone());
                server.client().answer(&task)
            }
            Method::Fact { n, server } => server.client().answer(&Task::Factorial(*n)),
            Method::Freq { text, server } => {
                let task = Task::MostFrequentLetter(text.clone());
                server.client().answer(&task)
            }
        };
        println!("{}", answer?);
        Ok(())
    }
}

impl Server {
    fn client(&self) -> MessageClient {
        MessageClient::over(self.target.connect(), self.timeout)
    }
}
