//! "web-ticker" reads the quotes of all symbols that pages show, from one
//! bidirectional stream; "web-ask" requests them.
//!
//! The server sends a few updates for each request, so a symbol is requested again
//! after each new update, and when it was quiet for a while. A request cannot be
//! taken back, so when the symbols of pages that have left fill the stream, a new one
//! takes its place.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use super::{Feed, Link};
use crate::console::event::Service;
use crate::console::hub::Hub;
use crate::console::{CALL_TIMEOUT, SYMBOLS};
use crate::error::{Code, Error};
use crate::grpc::client::Connection;
use crate::sync::lock;
use crate::ticker::client::Symbol;
use crate::ticker::client::{TickerClient, TickerRequests};
use crate::ticker::wire;

/// A symbol without an update for so long is requested again.
const QUIET: Duration = Duration::from_secs(5);

/// How often quiet symbols are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// A stream that has no place for another symbol is opened anew at most so often.
const RENEW: Duration = Duration::from_secs(1);

/// Shared by the stream's reader and "web-ask".
type Slot = Arc<Mutex<Sending>>;

#[derive(Default)]
struct Sending {
    /// The sending half of the stream, while there is one.
    requests: Option<TickerRequests>,
    /// What this stream was asked for. The server sends updates of all of it, even
    /// of what no page shows any more, and takes no more than so many symbols.
    asked: HashSet<Symbol>,
    opened: Option<Instant>,
    /// The stream has no place for a symbol that a page shows.
    full: bool,
    /// The stream was ended for that.
    renewed: bool,
}

pub struct TickerFeed {
    connection: Connection,
    client: TickerClient,
    sending: Slot,
}

/// The work of "web-ask".
pub struct Asker {
    sending: Slot,
    asks: Receiver<Symbol>,
}

pub fn new(connection: &Connection, asks: Receiver<Symbol>) -> (TickerFeed, Asker) {
    let sending = Slot::default();
    let feed = TickerFeed {
        connection: connection.clone(),
        client: TickerClient::over(connection.clone(), CALL_TIMEOUT),
        sending: sending.clone(),
    };
    (feed, Asker { sending, asks })
}

impl TickerFeed {
    /// Reads until the stream ends: with an error, or to be opened anew.
    fn read(&self, hub: &Hub, link: &Link, live: &mut bool) -> Result<Infallible, Error> {
        let (requests, mut stream) = self.client.open()?;
        let handle = stream.abort_handle();
        link.opened(move || handle.abort());
        *lock(&self.sending) = Sending {
            requests: Some(requests),
            opened: Some(Instant::now()),
            ..Sending::default()
        };
        if *live {
            link.live(hub, Service::Ticker);
        }
        // On a new stream nothing has been asked for.
        for symbol in hub.overdue(Duration::ZERO) {
            hub.ask(symbol);
        }
        loop {
            let ended = || Error::unavailable("the server ended the stream");
            let update = stream.recv()?.ok_or_else(ended)?;
            if !std::mem::replace(live, true) {
                link.live(hub, Service::Ticker);
            }
            match Symbol::parse(&update.symbol) {
                Ok(symbol) if hub.quote(symbol.clone(), update) => hub.ask(symbol),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "an update of no symbol"),
            }
        }
    }
}

impl Feed for TickerFeed {
    const SERVICE: Service = Service::Ticker;

    fn follow(&mut self, hub: &Hub, link: &Link) -> Result<Infallible, Error> {
        // A stream without symbols sends nothing, so check the server's health.
        // Without a health service, the first update shows that it is live.
        let mut live = match self.connection.check_health(wire::SERVICE, CALL_TIMEOUT) {
            Ok(()) => true,
            Err(error) if error.code == Code::Unimplemented => false,
            Err(error) if error.code == Code::NotFound => {
                let message = "the server has no ticker";
                return Err(Error::new(Code::Unimplemented, message));
            }
            Err(error) => return Err(error),
        };
        loop {
            let end = self.read(hub, link, &mut live);
            if !std::mem::take(&mut *lock(&self.sending)).renewed {
                return end;
            }
        }
    }
}

impl Asker {
    /// Runs until `stop` is disconnected.
    pub fn run(&self, hub: &Hub, stop: &Receiver<()>) {
        loop {
            select! {
                recv(stop) -> _ => return,
                recv(self.asks) -> symbol => match symbol {
                    // Its pages may have left while it waited here.
                    Ok(symbol) if hub.watches(&symbol) => self.ask(symbol),
                    Ok(_) => {}
                    Err(_) => return,
                },
                default(LOOK) => {}
            }
            for symbol in hub.overdue(QUIET) {
                self.ask(symbol);
            }
            self.renew();
        }
    }

    /// Without a stream nothing is sent; the next one begins with all symbols.
    fn ask(&self, symbol: Symbol) {
        let mut sending = lock(&self.sending);
        let Sending {
            requests: Some(requests),
            asked,
            full,
            ..
        } = &mut *sending
        else {
            return;
        };
        if asked.len() >= SYMBOLS && !asked.contains(&symbol) {
            *full = true;
        } else if let Err(error) = requests.ask(symbol.as_str()) {
            tracing::debug!(%error, %symbol, "cannot ask for a symbol");
            // Which ends the stream, if it was not over: its reader opens another.
            sending.requests = None;
        } else {
            asked.insert(symbol);
        }
    }

    /// Ends a stream that has no place left. The next one has: all pages together
    /// show no more than it takes.
    fn renew(&self) {
        let mut sending = lock(&self.sending);
        if sending.full && sending.opened.is_some_and(|at| at.elapsed() >= RENEW) {
            *sending = Sending {
                renewed: true,
                ..Sending::default()
            };
        }
    }
}
