//! Parses the command line, runs the command, and turns its error into an exit
//! code.

use std::env;
use std::process::ExitCode;

use clap::Parser as _;
use messenger::cli::Cli;

/// For threads that say nothing of their stack, those of libraries above all. lapin reads
/// nested headers by recursion, and one frame of AMQP holds 26,000 levels, which take up to
/// 64 MiB. Only what a thread touches takes memory.
const STACK_BYTES: &str = "134217728";

fn main() -> ExitCode {
    if env::var_os("RUST_MIN_STACK").is_none() {
        #[expect(unsafe_code, reason = "there is no other way to a library's threads")]
        // SAFETY: this is the only thread, so nobody reads the environment meanwhile.
        unsafe {
            env::set_var("RUST_MIN_STACK", STACK_BYTES);
        }
    }
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("messenger: {error}");
            ExitCode::FAILURE
        }
    }
}
