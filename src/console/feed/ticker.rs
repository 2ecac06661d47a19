//! "web-ticker" reads the quotes of all symbols that pages show, from one stream
//! in both directions; "web-ask" asks for them.
//!
//! The server gives a few updates for each request, so a symbol is asked for
//! again with each new update, and when it was quiet for a while.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, select};

use super::{Feed, Link, Settings};
use crate::console::event::Service;
use crate::console::hub::Hub;
use crate::error::{Code, Error};
use crate::grpc::client::Connection;
use crate::sync::lock;
use crate::ticker::client::Symbol;
use crate::ticker::client::{TickerClient, TickerRequests};
use crate::ticker::wire;

/// A symbol that brought nothing for so long is asked for again.
const QUIET: Duration = Duration::from_secs(5);

/// How often quiet symbols are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// The asking half of the stream, while there is one.
type Slot = Arc<Mutex<Option<TickerRequests>>>;

pub struct TickerFeed {
    connection: Connection,
    client: TickerClient,
    settings: Settings,
    requests: Slot,
}

/// The work of "web-ask".
pub struct Asker {
    requests: Slot,
    asks: Receiver<Symbol>,
}

pub fn new(
    connection: &Connection,
    settings: &Settings,
    asks: Receiver<Symbol>,
) -> (TickerFeed, Asker) {
    let requests = Slot::default();
    let feed = TickerFeed {
        connection: connection.clone(),
        client: TickerClient::over(connection.clone(), settings.call_timeout),
        settings: settings.clone(),
        requests: requests.clone(),
    };
    (feed, Asker { requests, asks })
}

impl TickerFeed {
    fn set(&self, requests: Option<TickerRequests>) {
        *lock(&self.requests) = requests;
    }

    fn read(&self, hub: &Hub, link: &Link) -> Result<Infallible, Error> {
        // A stream without symbols says nothing, so the server's health is asked
        // for. Without a health service, the first update is the proof.
        let timeout = self.settings.call_timeout;
        let mut live = match self.connection.check_health(wire::SERVICE, timeout) {
            Ok(()) => true,
            Err(error) if error.code == Code::Unimplemented => false,
            Err(error) if error.code == Code::NotFound => {
                let message = "the server has no ticker";
                return Err(Error::new(Code::Unimplemented, message));
            }
            Err(error) => return Err(error),
        };
        let (requests, mut stream) = self.client.open()?;
        let handle = stream.abort_handle();
        link.opened(move || handle.abort());
        self.set(Some(requests));
        if live {
            link.live(hub, Service::Ticker);
        }
        // On a new stream nothing has been asked for.
        for symbol in hub.overdue(Duration::ZERO) {
            hub.ask(symbol);
        }
        loop {
            let ended = || Error::unavailable("the server ended the stream");
            let update = stream.recv()?.ok_or_else(ended)?;
            if !std::mem::replace(&mut live, true) {
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
    const THREAD: &'static str = "web-ticker";

    fn follow(&mut self, hub: &Hub, link: &Link) -> Result<Infallible, Error> {
        let end = self.read(hub, link);
        self.set(None);
        end
    }
}

impl Asker {
    /// Until `stop` is disconnected.
    pub fn run(self, hub: &Hub, stop: &Receiver<()>) {
        loop {
            select! {
                recv(stop) -> _ => return,
                recv(self.asks) -> symbol => match symbol {
                    Ok(symbol) => self.ask(&symbol),
                    Err(_) => return,
                },
                default(LOOK) => {}
            }
            for symbol in hub.overdue(QUIET) {
                self.ask(&symbol);
            }
        }
    }

    /// Without a stream there is nobody to ask; the next one begins with all
    /// symbols. A stream that takes no request is over, and its reader knows why.
    fn ask(&self, symbol: &Symbol) {
        let mut requests = lock(&self.requests);
        if let Some(Err(error)) = requests.as_mut().map(|r| r.ask(symbol.as_str())) {
            tracing::debug!(%error, %symbol, "cannot ask for a symbol");
        }
    }
}
