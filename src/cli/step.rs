//! `client --step`: the terminal of somebody who steps through the bridge.
//!
//! The thread "http-loop" prints what it is about to do and waits; the thread "step-keys"
//! reads keys and lets it go on.

use std::io::{self, IsTerminal as _, Read as _};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use clap::error::ErrorKind;

use super::terminal::{self, Unbuffered};
use super::{Error, duration};
use crate::chat::bridge::{Moment, State, Stepper};
use crate::http::{Limits, Request, Response};
use crate::sync::{lock, unpoisoned};

/// The most of a body that is shown, in characters.
const SHOWN: usize = 400;

/// The most requests that are shown by name.
const SHOWN_WAITING: usize = 5;

const KEYS: &str = "    [s] step  [n] next request  [r] run  (Ctrl-C ends the bridge)";

/// How far the loop goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Step,
    /// To the next request.
    Request,
    Run,
}

#[derive(Debug)]
struct Now {
    pace: Pace,
    /// The loop stands still.
    stopped: bool,
    requests: u64,
}

/// What the loop and the keys have in common.
#[derive(Debug)]
pub struct Step {
    now: Mutex<Now>,
    pressed: Condvar,
}

impl Step {
    /// Takes the terminal, until the second value is dropped, and starts the thread
    /// "step-keys". Without a terminal the process ends with exit code 2.
    pub fn start(limits: &Limits) -> Result<(Arc<Self>, Unbuffered), Error> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            let why = "--step needs a terminal as standard input and output: it shows what the \
                       bridge is about to do, and waits for keys\n";
            clap::Error::raw(ErrorKind::Io, why).exit();
        }
        let now = Now {
            pace: Pace::Step,
            stopped: false,
            requests: 0,
        };
        let step = Arc::new(Self {
            now: Mutex::new(now),
            pressed: Condvar::new(),
        });
        let unbuffered = Unbuffered::start()?;
        let keys = step.clone();
        thread::Builder::new()
            .name("step-keys".into())
            .spawn(move || {
                for key in io::stdin().lock().bytes().map_while(Result::ok) {
                    keys.press(key);
                }
                // The terminal has gone.
                keys.run();
            })?;
        println!(
            "Stepping: the loop stops before each request. Connections and the subscription go on \
             meanwhile.\nOff: the limits of a request's wait for the loop ({}) and for its answer \
             ({}).",
            duration::text(limits.lane_wait),
            duration::text(limits.answer_time),
        );
        Ok((step, unbuffered))
    }

    /// Lets the loop run, and stops it no more.
    pub fn run(&self) {
        self.go_on(Pace::Run);
    }

    fn press(&self, key: u8) {
        match key {
            b's' | b' ' | b'\n' | b'\r' => self.go_on(Pace::Step),
            b'n' => self.go_on(Pace::Request),
            b'r' => self.run(),
            _ if lock(&self.now).stopped => println!("{KEYS}"),
            _ => println!("    running; [s] or [n] stops it before the next request"),
        }
    }

    fn go_on(&self, pace: Pace) {
        let mut now = lock(&self.now);
        now.pace = pace;
        now.stopped = false;
        self.pressed.notify_all();
    }
}

impl Stepper for Step {
    fn stop(&self, moment: Moment<'_>, state: &State) {
        let mut now = lock(&self.now);
        let begins = matches!(moment, Moment::Request(_));
        now.requests += u64::from(begins);
        if now.pace == Pace::Run || (now.pace == Pace::Request && !begins) {
            return;
        }
        now.stopped = true;
        let (what, details) = told(moment);
        println!(
            "\n{}. {what}\n{details}{}{KEYS}",
            now.requests,
            beside(state)
        );
        drop(unpoisoned(self.pressed.wait_while(now, |now| now.stopped)));
    }
}

/// What the loop is about to do, in a line and in those below it.
fn told(moment: Moment<'_>) -> (String, String) {
    match moment {
        Moment::Request(request) => {
            let Request { method, path, .. } = request;
            let body = shown(&request.body);
            (
                format!(
                    "request: {} {}",
                    terminal::plain(method),
                    terminal::plain(path)
                ),
                body,
            )
        }
        Moment::Call {
            author,
            text,
            key,
            timeout,
        } => {
            let key = key.map_or("a new one".into(), terminal::plain);
            let within = duration::text(timeout);
            let fields = format!("author: {author}, text: {text}");
            let details = format!("    idempotency key: {key}; deadline: {within}\n");
            (
                "gRPC call: SendMessage".into(),
                shown(fields.as_bytes()) + &details,
            )
        }
        Moment::Flush => (
            "flush: takes all messages out of the postbox".into(),
            String::new(),
        ),
        Moment::Answer(response) => {
            let Response {
                status,
                body,
                length,
                ..
            } = response;
            let array = length.map(|bytes| format!("    a JSON array of {bytes} bytes\n"));
            (
                format!("answer: {status}"),
                array.unwrap_or_else(|| shown(body)),
            )
        }
    }
}

/// A body, as far as it is shown.
fn shown(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    let text = terminal::plain(&String::from_utf8_lossy(body));
    match text.char_indices().nth(SHOWN) {
        None => format!("    {text}\n"),
        Some((end, _)) => format!("    {}... ({} bytes)\n", &text[..end], body.len()),
    }
}

fn beside(state: &State) -> String {
    let (messages, bytes) = state.postbox;
    let subscription = if state.subscribed { "live" } else { "none" };
    let own = state
        .last_own
        .map_or("none since the last flush".into(), |it| it.rfc3339());
    let waiting = state.waiting.len();
    let mut front = format!("{waiting} waiting");
    for request in state.waiting.iter().take(SHOWN_WAITING) {
        front += &format!("\n                   {}", terminal::plain(request));
    }
    format!(
        "    postbox:       {messages} messages, {bytes} bytes\n    subscription:  {subscription}\n    \
         last own:      {own}\n    front:         {front}\n"
    )
}
