//! The stock ticker's server: one market that steps once per interval, published
//! over bidirectional streams.
//!
//! The thread "ticker-market" makes the steps and rings for every stream; each
//! stream's own thread looks up the newest step and sends its symbols' quotes.
//! That is conflation: a slow stream skips to the newest step, and queues nothing.

use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::Level;

use super::market::{Market, Quote, Symbol};
use super::watchlist::Watchlist;
use super::wire;
use super::wire::TickerRequest;
use crate::access::Right;
use crate::error::Error;
use crate::fanout::clock::Timestamp;
use crate::grpc::duplex::{Bell, Conversation, Turn};
use crate::grpc::handler::Methods;
use crate::grpc::host::Hosted;
use crate::grpc::journal::StreamLog;
use crate::grpc::stream::Streams;
use crate::retry::supervised;
use crate::sync::{lock, spawn};

/// Symbols with updates to come, for each stream.
const SYMBOLS: usize = 100;

#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Between two steps of the market.
    pub interval: Duration,
    /// Updates for each request; `None` is until the client disconnects.
    pub updates: Option<u64>,
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            updates: Some(5),
            seed: 0,
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
    /// Bells of the open streams.
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
        let thread = spawn("ticker-market", move || {
            supervised(|| stepping.run(config.interval, &stopped));
        })?;
        Ok(Self {
            shared,
            config,
            market: Some((thread, stop)),
        })
    }
}

impl Hosted for Ticker {
    fn names(&self) -> &'static [&'static str] {
        &[wire::SERVICE]
    }

    fn register(&self, methods: Methods, streams: &Streams) -> Methods {
        let (shared, streams, config) = (self.shared.clone(), streams.clone(), self.config);
        let method = &wire::SUBSCRIBE_TO_STOCK_UPDATES_ENCODED;
        methods.duplex(method, Right::TickerRead, move |ctx, requests, sink| {
            streams.serve_duplex(ctx, requests, sink, "ticker", |bell, stream_log| {
                shared.begin(config, bell, stream_log)
            });
        })
    }

    fn close(&self) {
        lock(&self.shared.state).closed = true;
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
                let mut state = lock(&self.state);
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
        lock(&self.state).bells.retain(|bell| {
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
        stream_log: Option<Arc<StreamLog>>,
    ) -> Result<Arc<Session>, Error> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Error::shutting_down());
        }
        // Streams that have ended would stay listed until the next step, which
        // may be an hour away.
        if state.bells.len() == state.bells.capacity() {
            state.bells.retain(|bell| bell.strong_count() > 0);
        }
        state.bells.push(Arc::downgrade(&bell));
        drop(state);
        Ok(Arc::new(Session {
            shared: self.clone(),
            bell,
            stream_log,
            asked: Mutex::new(Asked {
                watchlist: Watchlist::new(config.updates, SYMBOLS),
                half_closed: false,
                refused: None,
                sending: Vec::new(),
            }),
        }))
    }
}

/// One stream.
struct Session {
    shared: Arc<Shared>,
    bell: Arc<Bell>,
    /// For the log.
    stream_log: Option<Arc<StreamLog>>,
    asked: Mutex<Asked>,
}

struct Asked {
    watchlist: Watchlist,
    half_closed: bool,
    refused: Option<Error>,
    /// The quotes that are being sent; only for the log, at debug.
    sending: Vec<(Symbol, Quote)>,
}

impl Session {
    fn note(&self, symbol: &str) -> Result<Symbol, Error> {
        let symbol = Symbol::parse(symbol)?;
        lock(&self.asked).watchlist.request(symbol.clone())?;
        Ok(symbol)
    }

    fn log_subscribed(&self, symbol: &Symbol) {
        if let Some(stream_log) = &self.stream_log {
            let (stream, peer) = (stream_log.stream(), stream_log.peer());
            tracing::debug!(stream, peer, "subscribed {}", plain(symbol));
        }
    }

    /// Called at the next turn, when the quotes of the last one were sent.
    fn log_sent(&self) {
        let sent = std::mem::take(&mut lock(&self.asked).sending);
        if let Some(stream_log) = &self.stream_log {
            let (stream, peer) = (stream_log.stream(), stream_log.peer());
            for (symbol, quote) in sent {
                let price = quote.price.to_f64();
                tracing::debug!(stream, peer, price, "update sent {}", plain(&symbol));
            }
        }
    }
}

/// Clients choose symbols, so control characters are escaped.
fn plain(symbol: &Symbol) -> std::str::EscapeDebug<'_> {
    symbol.as_str().escape_debug()
}

impl Conversation<TickerRequest> for Session {
    fn request(&self, request: Result<Option<TickerRequest>, Error>) {
        let refuse = |error| {
            lock(&self.asked).refused.get_or_insert(error);
        };
        match request {
            Ok(None) => lock(&self.asked).half_closed = true,
            Ok(Some(request)) => match self.note(&request.ticker_symbol) {
                Ok(symbol) => self.log_subscribed(&symbol),
                Err(error) => refuse(error),
            },
            Err(error) => refuse(error),
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
            let state = lock(&self.shared.state);
            (state.step, state.time)
        };
        let mut asked = lock(&self.asked);
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
            lock(&self.asked).sending = due;
        }
        Turn::Send(messages)
    }

    fn failure(&self) -> Option<Error> {
        let closed = lock(&self.shared.state).closed;
        let refused = || lock(&self.asked).refused.clone();
        refused().or_else(|| closed.then(Error::shutting_down))
    }
}

fn now() -> i64 {
    Timestamp::now().parts().0
}
