//! `client --step`: the terminal of somebody who steps through the bridge. The thread
//! "http-loop" prints what it is about to do and waits; "step-keys" reads keys.

use std::io::{self, IsTerminal as _, Read as _};
use std::sync::{Arc, Condvar, Mutex};

use clap::error::ErrorKind;

use super::Error;
use super::terminal::{self, Unbuffered};
use crate::chat::bridge::Stepper;
use crate::sync::{lock, spawn, unpoisoned};

const KEYS: &str = "[s] step  [n] next request  [r] run  (Ctrl-C ends the bridge)";

const BEGIN: &str = "\
Stepping: the bridge's loop stops before each request, call and answer. Connections and the
subscription go on meanwhile. Off: the limits of a request's wait for the loop and its answer.";

/// The most characters of a line that are shown.
const SHOWN: usize = 400;

/// Where the loop stops next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Step,
    Request,
    Run,
}

/// The pace, and whether the loop stands still now.
#[derive(Debug)]
pub struct Step(Mutex<(Pace, bool)>, Condvar);

impl Step {
    /// Takes the terminal, until the second value is dropped. Without one the process ends
    /// with exit code 2.
    pub fn start() -> Result<(Arc<Self>, Unbuffered), Error> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            let why = "--step needs a terminal as standard input and output: it shows what the \
                       bridge is about to do, and waits for keys\n";
            clap::Error::raw(ErrorKind::Io, why).exit();
        }
        let step = Arc::new(Self(Mutex::new((Pace::Step, false)), Condvar::new()));
        let (unbuffered, keys) = (Unbuffered::start()?, step.clone());
        let read = move || {
            for key in io::stdin().lock().bytes().map_while(Result::ok) {
                match key {
                    b's' | b' ' | b'\n' => keys.go_on(Pace::Step),
                    b'n' => keys.go_on(Pace::Request),
                    b'r' => keys.run(),
                    _ => println!("    {KEYS}"),
                }
            }
            // The terminal has gone.
            keys.run();
        };
        spawn("step-keys", read)?;
        println!("{BEGIN}");
        Ok((step, unbuffered))
    }

    /// Lets the loop go on, and stops it no more.
    pub fn run(&self) {
        self.go_on(Pace::Run);
    }

    fn go_on(&self, pace: Pace) {
        *lock(&self.0) = (pace, false);
        self.1.notify_all();
    }
}

impl Stepper for Step {
    fn stop(&self, begins: bool, lines: Vec<String>) {
        let mut pace = lock(&self.0);
        if pace.0 == Pace::Run || (pace.0 == Pace::Request && !begins) {
            return;
        }
        pace.1 = true;
        let shown = |line: &String| {
            terminal::plain(line)
                .chars()
                .take(SHOWN)
                .collect::<String>()
        };
        let lines: Vec<_> = lines.iter().map(shown).collect();
        println!("\n{}\n    {KEYS}", lines.join("\n    "));
        drop(unpoisoned(self.1.wait_while(pace, |pace| pace.1)));
    }
}
