//! The log: which lines, in which form. It goes to standard error.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Log")]
pub struct Args {
    /// The least important lines that are still logged
    #[arg(
        long,
        global = true,
        env = "MESSENGER_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL"
    )]
    log_level: Level,
    /// Text for people or one JSON object a line
    #[arg(
        long,
        global = true,
        env = "MESSENGER_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    log_format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Args {
    /// Starts logging; to be called once, at the start of the process.
    pub fn install(&self) {
        let level = match self.log_level {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        };
        let builder = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            .with_thread_names(true)
            .with_target(false);
        // The C core writes to standard error by itself, several lines for a busy
        // port. Who wants to see that sets its own variable.
        if std::env::var_os("GRPC_VERBOSITY").is_none() {
            log::set_max_level(log::LevelFilter::Error);
            grpcio::redirect_log();
        }
        match self.log_format {
            Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
            Format::Json => builder.json().init(),
        }
    }
}
