//! The stock ticker's method and messages: `StockTicker`, without a package.

use grpcio::Method;
use protobuf::Message as _;
use serde_json::{Value, json};

use super::market::{Hundredths, Quote, Symbol};
use crate::generated::fin as proto;
use crate::grpc::method::{self, Encoded};

pub use proto::{StockUpdate, TickerRequest};

/// The name under which the service is known to health checks.
pub const SERVICE: &str = "StockTicker";

const SUBSCRIBE: &str = "/StockTicker/SubscribeToStockUpdates";
pub const SUBSCRIBE_TO_STOCK_UPDATES: Method<TickerRequest, StockUpdate> =
    method::duplex(SUBSCRIBE);
pub const SUBSCRIBE_TO_STOCK_UPDATES_ENCODED: Method<TickerRequest, Encoded> =
    method::encoded_duplex(SUBSCRIBE);

/// A quote with its symbol and its time, in Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub symbol: String,
    pub quote: Quote,
    pub time: i64,
}

pub fn request(symbol: &str) -> TickerRequest {
    TickerRequest {
        ticker_symbol: symbol.into(),
        ..Default::default()
    }
}

pub fn encode(symbol: &Symbol, quote: Quote, time: i64) -> Encoded {
    let update = StockUpdate {
        ticker_symbol: symbol.as_str().into(),
        current_price: quote.price.to_f64(),
        price_change: quote.change.to_f64(),
        change_percent: quote.percent.to_f64(),
        timestamp: time,
        volume: quote.volume,
        ..Default::default()
    };
    let bytes = update.write_to_bytes();
    Encoded::new(bytes.expect("a message without required fields always encodes"))
}

/// An update as JSON; the time is in Unix seconds.
pub fn json(update: &Update) -> Value {
    let quote = &update.quote;
    json!({
        "symbol": update.symbol,
        "price": quote.price.to_f64(),
        "change": quote.change.to_f64(),
        "percent": quote.percent.to_f64(),
        "time": update.time,
        "volume": quote.volume,
    })
}

/// An update from any server, rounded to hundredths.
pub fn update(wire: StockUpdate) -> Update {
    Update {
        quote: Quote {
            price: Hundredths::from_f64(wire.current_price),
            change: Hundredths::from_f64(wire.price_change),
            percent: Hundredths::from_f64(wire.change_percent),
            volume: wire.volume,
        },
        time: wire.timestamp,
        symbol: wire.ticker_symbol,
    }
}
