//! The command line: text in, typed configuration out, and one file for each
//! command. What a command does is in the services, `console` and `compare`.

/// As the standard library's, which panics when nobody reads any more:
/// `messenger server | true`.
macro_rules! println {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod access;
mod affinity;
#[cfg(feature = "compare")]
mod bench;
mod call;
mod client;
#[cfg(feature = "compare")]
mod compare;
mod data_dir;
mod demo;
mod descriptors;
mod drain;
mod duration;
mod healthcheck;
mod history;
mod jobs;
mod log;
mod memory;
mod metrics;
mod once;
mod rows;
mod send;
mod server;
mod services;
#[cfg(feature = "compare")]
mod shadow;
mod shared_chat;
mod signals;
mod step;
mod tail;
mod target;
mod terminal;
mod ticker;
mod tls;
mod todo;
mod token;
mod trace;
mod web;

use clap::{Parser, Subcommand};

/// Small messaging services on one ordered fan-out.
///
/// Every flag has an environment variable, except for the addresses of
/// `healthcheck` and the command of `demo --once`; the flag wins. Results go to standard output, the log to standard
/// error.
#[derive(Parser, Debug)]
#[command(name = "messenger", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    log: log::Args,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  messenger demo                         all services in one process, to try things
  messenger server --port 51075          chat, to-do list and stock ticker
  messenger client --http-port 8080      the bridge: an HTTP gateway to a chat server
  messenger web                          the console: all services in a browser
  messenger tail                         print the chat as it happens
  messenger send anna 'Hello, world'     send a message
  messenger todo                         the to-do list, with a menu
  messenger ticker AAPL GOOGL            stock quotes as they change
  messenger history serve                the message log over HTTP
  messenger jobs send fact:1000 user42   send tasks to the queue
  messenger token new anna --right '*'   a token for a server with --auth-tokens";

#[derive(Subcommand, Debug)]
enum Command {
    Server(server::Args),
    Client(client::Args),
    Web(web::Args),
    Demo(demo::Args),
    Tail(tail::Args),
    Send(send::Args),
    Todo(todo::Args),
    Ticker(ticker::Args),
    Call(call::Args),
    Jobs(jobs::Args),
    Healthcheck(healthcheck::Args),
    History(history::Args),
    Token(token::Args),
    #[cfg(feature = "compare")]
    Bench(bench::Args),
    #[cfg(feature = "compare")]
    Compare(compare::Args),
    #[cfg(feature = "compare")]
    Shadow(shadow::Args),
}

/// Why a command failed, as one line for people; the exit code is not 0.
pub type Error = Box<dyn std::error::Error>;

/// For threads that say nothing of their stack, those of libraries above all. lapin reads
/// nested headers by recursion, and one frame of AMQP holds 26,000 levels, which take up to
/// 64 MiB. Only what a thread touches takes memory. To be set before there are threads, and
/// not meant for programs that are started here.
pub const STACK_BYTES: &str = "134217728";
pub const STACK_VARIABLE: &str = "RUST_MIN_STACK";

impl Cli {
    /// Runs the command on the calling thread until it is done or a signal ends
    /// it.
    ///
    /// # Errors
    /// One line that says what is wrong and with what.
    pub fn run(self) -> Result<(), Error> {
        self.log.install();
        descriptors::raise_limit();
        match self.command {
            Command::Server(args) => args.run(),
            Command::Client(args) => args.run(),
            Command::Web(args) => args.run(),
            Command::Demo(args) => args.run(),
            Command::Tail(args) => args.run(),
            Command::Send(args) => args.run(),
            Command::Todo(args) => args.run(),
            Command::Ticker(args) => args.run(),
            Command::Call(args) => args.run(),
            Command::Jobs(args) => args.run(),
            Command::Healthcheck(args) => args.run(),
            Command::History(args) => args.run(),
            Command::Token(args) => args.run(),
            #[cfg(feature = "compare")]
            Command::Bench(args) => args.run(),
            #[cfg(feature = "compare")]
            Command::Compare(args) => args.run(),
            #[cfg(feature = "compare")]
            Command::Shadow(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_the_feature_compare_brings_the_laboratory() {
        for name in ["bench", "compare", "shadow"] {
            let there = Cli::command().find_subcommand(name).is_some();
            assert_eq!(there, cfg!(feature = "compare"), "{name}");
        }
    }
}
