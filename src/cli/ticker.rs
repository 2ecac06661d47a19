//! `messenger ticker`: stock quotes on a terminal.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use chrono::{DateTime, Local};
use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::terminal::{self, plain, print_line};
use super::{Error, signals, target};
use crate::error::{Code, Error as Refusal};
use crate::number::thousands;
use crate::sync::spawn;
use crate::ticker::client::{TickerClient, TickerRequests, TickerStream};
use crate::ticker::market::Symbol;
use crate::ticker::wire;
use crate::ticker::wire::Update;

/// Print stock quotes as they change
///
/// More symbols can be typed while it runs. At the end of the input it exits once
/// the server has sent all updates.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The first symbols to request: 1 to 32 characters each, without spaces
    #[arg(value_name = "SYMBOL")]
    symbols: Vec<String>,
    #[command(flatten)]
    target: target::Args,
    /// Request again after each update, instead of exiting with the last one
    #[arg(long, env = "MESSENGER_FOLLOW")]
    follow: bool,
    /// One JSON object a line
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  messenger ticker AAPL GOOGL
  messenger ticker --follow AAPL          until Ctrl-C
  messenger ticker --json AAPL </dev/null | jq .price";

/// Maximum wait until the transport has taken a request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Updates that may wait to be printed.
const WAITING: usize = 1024;

type Received = Result<Option<Update>, Refusal>;

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let symbols = self.symbols.iter().map(|text| Symbol::parse(text));
        let symbols: Vec<_> = symbols.collect::<Result<_, _>>()?;
        let stop = signals::stop()?;
        let client = TickerClient::over(self.target.connect()?, TIMEOUT);
        let (mut requests, stream) = client.open()?;
        let updates = read(stream)?;
        for symbol in &symbols {
            ask(&mut requests, symbol, &updates)?;
        }
        let input = terminal::input()?;
        self.print(requests, &updates, &input, &stop)
    }

    fn print(
        &self,
        mut requests: TickerRequests,
        updates: &Receiver<Received>,
        input: &Receiver<String>,
        stop: &Receiver<()>,
    ) -> Result<(), Error> {
        let closed = crossbeam_channel::never();
        let mut input = input;
        let colours = terminal::colours();
        let mut out = io::stdout();
        let mut last: HashMap<String, Update> = HashMap::new();
        loop {
            select! {
                recv(updates) -> update => {
                    let Some(update) = update?? else {
                        return Ok(());
                    };
                    if last.get(&update.symbol) == Some(&update) {
                        // The answer to the request for more.
                        continue;
                    }
                    if !print_line(&mut out, &self.line(&update, colours))? {
                        return Ok(());
                    }
                    if self.follow {
                        ask(&mut requests, &Symbol::parse(&update.symbol)?, updates)?;
                    }
                    last.insert(update.symbol.clone(), update);
                }
                recv(input) -> line => match line {
                    Ok(line) => for word in line.split_whitespace() {
                        match Symbol::parse(word) {
                            Ok(symbol) => {
                                last.remove(symbol.as_str());
                                ask(&mut requests, &symbol, updates)?;
                            }
                            Err(error) => eprintln!("{}", error.message),
                        }
                    },
                    Err(_) => {
                        input = &closed;
                        if !self.follow {
                            // A stream that is over at this moment says so at
                            // its other end.
                            let _ = requests.close();
                        }
                    }
                },
                recv(stop) -> _ => return Ok(()),
            }
        }
    }

    fn line(&self, update: &Update, colours: bool) -> String {
        if self.json {
            return wire::json(update).to_string();
        }
        let quote = &update.quote;
        let time = DateTime::from_timestamp(update.time, 0).unwrap_or_default();
        let line = format!(
            "{}  {:<10}  {:>12}  {:>+9.2}  {:>+7.2} %  {:>9}",
            time.with_timezone(&Local).format("%H:%M:%S"),
            plain(&update.symbol),
            thousands(&format!("{:.2}", quote.price.to_f64())),
            quote.change.to_f64(),
            quote.percent.to_f64(),
            thousands(&quote.volume.to_string()),
        );
        match (colours, quote.change.0.signum()) {
            (true, 1) => format!("\x1b[32m{line}\x1b[0m"),
            (true, -1) => format!("\x1b[31m{line}\x1b[0m"),
            _ => line,
        }
    }
}

/// Asks for a symbol. A stream that takes no request is over, and its other end
/// knows why.
fn ask(
    requests: &mut TickerRequests,
    symbol: &Symbol,
    updates: &Receiver<Received>,
) -> Result<(), Error> {
    let Err(error) = requests.ask(symbol.as_str()) else {
        return Ok(());
    };
    while let Ok(received) = updates.recv_timeout(TIMEOUT) {
        received?;
    }
    Err(error.into())
}

/// Reads the stream on the thread "ticker-read".
fn read(mut stream: TickerStream) -> io::Result<Receiver<Received>> {
    let (sender, updates): (Sender<Received>, _) = bounded(WAITING);
    spawn("ticker-read", move || {
        loop {
            let received = match stream.recv() {
                Err(error) if error.code == Code::Cancelled => Ok(None),
                received => received,
            };
            let over = !matches!(received, Ok(Some(_)));
            if sender.send(received).is_err() || over {
                return;
            }
        }
    })?;
    Ok(updates)
}
