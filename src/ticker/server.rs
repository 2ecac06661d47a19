//! The stock ticker: one market that steps once per interval, and streams in
//! both directions that tell of it.
//!
//! The thread "ticker-market" makes the steps and rings for every stream; each
//! stream's own thread looks up the newest step and sends its symbols' quotes.
//! A stream that could not send for a while so tells of the newest step only.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use grpcio::{Service, ServiceBuilder};
use tracing::Level;

use super::market::{Market, Quote, Symbol};
use super::watchlist::Watchlist;
use super::wire;
use super::wire::TickerRequest;
use crate::error::Error;
use crate::fanout::clock::Timestamp;
use crate::grpc::duplex::{Bell, Conversation, Turn};
use crate::grpc::host::Hosted;
use crate::grpc::journal::Visit;
use crate::grpc::stream::Streams;
use crate::sync::lock;

#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Between two steps of the market.
    pub interval: Duration,
    /// Updates for each request; `None` is until the client leaves.
    pub updates: Option<u64>,
    pub seed: u64,
    /// Symbols with updates to come, for each stream.
    pub symbols: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            updates: Some(5),
            seed: 0,
            symbols: 100,
        }
    }
}

/// The ticker, to be hosted. Dropping it ends the market.
pub struct Ticker {
    shared: Arc<Shared>,
    config: Config,
    market: Option<(JoinHandle<()>, Sender<()>)>,
}

struct Shared {
    market: Market,
    state: Mutex<State>,
}

struct State {
    /// The newest step and its time, in Unix seconds, which never falls.
    step: u64,
    time: i64,
    /// Of the streams there are.
    bells: Vec<Weak<Bell>>,
    closed: bool,
}

impl Ticker {
    /// Opens the market, at step 0.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(config: Config) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            market: Market::new(config.seed),
            state: Mutex::new(State {
                step: 0,
                time: now(),
                bells: Vec::new(),
                closed: false,
            }),
        });
        let (stop, stopped) = bounded(0);
        let stepping = shared.clone();
        let thread = thread::Builder::new()
            .name("ticker-market".into())
            .spawn(move || stepping.run(config.interval, &stopped))?;
        Ok(Self {
            shared,
            config,
            market: Some((thread, stop)),
        })
    }
}

impl Hosted for Ticker {
    fn name(&self) -> &'static str {
        wire::SERVICE
    }

    fn service(&self, streams: &Streams) -> Service {
        let (shared, streams, config) = (self.shared.clone(), streams.clone(), self.config);
        let method = &wire::SUBSCRIBE_TO_STOCK_UPDATES_ENCODED;
        ServiceBuilder::new()
            .add_duplex_streaming_handler(method, move |ctx, requests, sink| {
                streams.serve_duplex(&ctx, requests, sink, "ticker", |bell, visit| {
                    shared.begin(config, bell, visit)
                });
            })
            .build()
    }

    fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.ring();
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some((thread, stop)) = self.market.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// One step per interval, until stopped. After a pause of the whole process
    /// the beat goes on from there: missed steps are not made up for.
    fn run(&self, interval: Duration, stopped: &Receiver<()>) {
        let mut due = Instant::now() + interval;
        while let Err(error) = stopped.recv_deadline(due) {
            if error.is_disconnected() {
                return;
            }
            {
                let mut state = self.lock();
                state.step += 1;
                state.time = state.time.max(now());
            }
            self.ring();
            due += interval;
            if due <= Instant::now() {
                due = Instant::now() + interval;
            }
        }
    }

    fn ring(&self) {
        let mut ringing = Vec::new();
        self.lock().bells.retain(|bell| {
            let alive = bell.upgrade();
            ringing.extend(alive.iter().cloned());
            alive.is_some()
        });
        for bell in ringing {
            bell.ring();
        }
    }

    fn begin(
        self: &Arc<Self>,
        config: Config,
        bell: Arc<Bell>,
        visit: Option<Arc<Visit>>,
    ) -> Result<Arc<Talk>, Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::shutting_down());
        }
        // Those that have left would keep their room until the next step, which
        // may be an hour away.
        if state.bells.len() == state.bells.capacity() {
            state.bells.retain(|bell| bell.strong_count() > 0);
        }
        state.bells.push(Arc::downgrade(&bell));
        drop(state);
        Ok(Arc::new(Talk {
            shared: self.clone(),
            bell,
            visit,
            asked: Mutex::new(Asked {
                watchlist: Watchlist::new(config.updates, config.symbols),
                half_closed: false,
                refused: None,
                sending: Vec::new(),
            }),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// One stream.
struct Talk {
    shared: Arc<Shared>,
    bell: Arc<Bell>,
    /// For the log.
    visit: Option<Arc<Visit>>,
    asked: Mutex<Asked>,
}

struct Asked {
    watchlist: Watchlist,
    half_closed: bool,
    refused: Option<Error>,
    /// What the transport is taking; only for the log, at debug.
    sending: Vec<(Symbol, Quote)>,
}

impl Talk {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        lock(&self.asked)
    }

    fn note(&self, symbol: &str) -> Result<Symbol, Error> {
        let symbol = Symbol::parse(symbol)?;
        self.lock().watchlist.request(symbol.clone())?;
        Ok(symbol)
    }

    fn log_subscribed(&self, symbol: &Symbol) {
        if let Some(visit) = &self.visit {
            let (stream, peer) = (visit.stream(), visit.peer());
            tracing::debug!(stream, peer, "subscribed {}", plain(symbol));
        }
    }

    /// Whoever asks for the next turn has sent what the one before brought.
    fn log_sent(&self) {
        let sent = std::mem::take(&mut self.lock().sending);
        if let Some(visit) = &self.visit {
            let (stream, peer) = (visit.stream(), visit.peer());
            for (symbol, quote) in sent {
                let price = quote.price.to_f64();
                tracing::debug!(stream, peer, price, "update sent {}", plain(&symbol));
            }
        }
    }
}

/// People choose symbols, so what is not to be printed is escaped.
fn plain(symbol: &Symbol) -> std::str::EscapeDebug<'_> {
    symbol.as_str().escape_debug()
}

impl Conversation<TickerRequest> for Talk {
    fn request(&self, request: Option<TickerRequest>) {
        match request {
            None => self.lock().half_closed = true,
            Some(request) => match self.note(&request.ticker_symbol) {
                Ok(symbol) => self.log_subscribed(&symbol),
                Err(error) => drop(self.lock().refused.get_or_insert(error)),
            },
        }
        self.bell.ring();
    }

    fn turn(&self) -> Turn {
        let logged = tracing::enabled!(Level::DEBUG);
        if logged {
            self.log_sent();
        }
        if let Some(error) = self.failure() {
            return Turn::End(Err(error));
        }
        let (step, time) = {
            let state = self.shared.lock();
            (state.step, state.time)
        };
        let mut asked = self.lock();
        let due = asked.watchlist.take_due(step);
        if due.is_empty() {
            let done = asked.half_closed && asked.watchlist.is_empty();
            return if done { Turn::End(Ok(())) } else { Turn::Wait };
        }
        drop(asked);
        let quote = |symbol: Symbol| {
            let quote = self.shared.market.quote(&symbol, step);
            (symbol, quote)
        };
        let due: Vec<_> = due.into_iter().map(quote).collect();
        let encode = |(symbol, quote): &(Symbol, Quote)| wire::encode(symbol, *quote, time);
        let messages = due.iter().map(encode).collect();
        if logged {
            self.lock().sending = due;
        }
        Turn::Send(messages)
    }

    fn failure(&self) -> Option<Error> {
        let closed = self.shared.lock().closed;
        let refused = || self.lock().refused.clone();
        refused().or_else(|| closed.then(Error::shutting_down))
    }
}

fn now() -> i64 {
    Timestamp::now().parts().0
}
