//! Parses the command line, runs the command, and turns its error into an exit
//! code.

use std::env;
use std::process::ExitCode;

use clap::Parser as _;
use messenger::cli::{Cli, STACK_BYTES, STACK_VARIABLE};

fn main() -> ExitCode {
    if env::var_os(STACK_VARIABLE).is_none() {
        #[expect(unsafe_code, reason = "there is no other way to a library's threads")]
        // SAFETY: this is the only thread, so nobody reads the environment meanwhile.
        unsafe {
            env::set_var(STACK_VARIABLE, STACK_BYTES);
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
