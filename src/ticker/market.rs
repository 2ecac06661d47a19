//! The stock ticker's market: what a symbol is, and what it costs at a step.
//!
//! A quote is a function of seed, symbol and step, and of nothing else: no table
//! of symbols grows, all clients agree, and the millionth step of a symbol that
//! nobody has asked for before costs no more than the first.

use std::fmt;

use crate::error::Error;

/// The longest symbol, in characters.
const SYMBOL_LENGTH: usize = 32;

/// What a stock is called: 1 to 32 characters, as they were sent. `aapl` and
/// `AAPL` are two, so that a client gets back the symbol that it has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Box<str>);

impl Symbol {
    /// # Errors
    /// `InvalidArgument` that names the symbol, if it is empty or too long, or has
    /// control characters or white space in it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |c: char| c.is_control() || c.is_whitespace();
        let length = text.chars().take(SYMBOL_LENGTH + 1).count();
        if (1..=SYMBOL_LENGTH).contains(&length) && !text.contains(bad) {
            return Ok(Self(text.into()));
        }
        // It may have any length, and a status is a header.
        let shown: String = text.chars().take(2 * SYMBOL_LENGTH).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        Err(Error::invalid(format!(
            "ticker_symbol: {shown:?}{more} is not 1 to {SYMBOL_LENGTH} characters \
             without white space and control characters"
        )))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An amount of money, or a percentage: a whole number of hundredths, so that
/// sums and differences are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hundredths(pub i64);

impl Hundredths {
    /// The nearest double, which prints with two digits.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 100.0
    }

    pub fn from_f64(value: f64) -> Self {
        Self((value * 100.0).round() as i64)
    }
}

/// What a symbol costs at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// In cents; above zero.
    pub price: Hundredths,
    /// Against the price at the step before; zero at step 0.
    pub change: Hundredths,
    /// The change in percent of the price at the step before.
    pub percent: Hundredths,
    /// 1,000 to 100,000.
    pub volume: i32,
}

/// All prices there are.
#[derive(Clone, Copy, Debug)]
pub struct Market {
    seed: u64,
}

/// The steps of a walk that is never over: at one every 2 s, 70,000 years.
const HORIZON: u64 = 1 << 40;

/// The standard deviation of one step, as a share of the price.
const VOLATILITY: f64 = 0.0015;

/// A price that comes to 20 times its start, or a twentieth, turns back.
const LOG_RANGE: f64 = 2.995_732_273_553_991;

/// What a hash is for.
const START: u64 = 1 << 62;
const VOLUME: u64 = 1 << 63;

impl Market {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The quote for a symbol at a step.
    pub fn quote(&self, symbol: &Symbol, step: u64) -> Quote {
        let key = mix(self.seed ^ fnv1a(symbol.as_str().as_bytes()));
        let (price, before) = (price(key, step), price(key, step.saturating_sub(1)));
        let change = price - before;
        // Rounded half away from zero, in whole numbers.
        let percent = (20_000 * change + before * change.signum()) / (2 * before);
        Quote {
            price: Hundredths(price),
            change: Hundredths(change),
            percent: Hundredths(percent),
            volume: 1_000 + (hash(key, VOLUME ^ step) % 99_001) as i32,
        }
    }
}

/// In cents: a geometric random walk from a start between 100 and 500.
fn price(key: u64, step: u64) -> i64 {
    let start = 10_000 + (hash(key, START) % 40_001) as i64;
    let growth = (VOLATILITY * walk(key, step)).rem_euclid(4.0 * LOG_RANGE);
    // Reflected at both ends of the range.
    let growth = match growth {
        up if up <= LOG_RANGE => up,
        down if down <= 3.0 * LOG_RANGE => 2.0 * LOG_RANGE - down,
        up => up - 4.0 * LOG_RANGE,
    };
    (start as f64 * growth.exp()).round() as i64
}

/// Where a random walk with steps of variance 1 is after `step` steps.
///
/// It is not summed up but looked up: a Brownian bridge over the whole horizon,
/// halved until the step is found.
/// Source: P. Levy's construction, e.g. Moerters and Peres, Brownian Motion, 1.1.
fn walk(key: u64, step: u64) -> f64 {
    let step = step.min(HORIZON);
    let (mut low, mut at_low) = (0, 0.0);
    let (mut high, mut at_high) = (HORIZON, (HORIZON as f64).sqrt() * normal(key, HORIZON));
    while step != low && step != high {
        let middle = low + (high - low) / 2;
        let deviation = ((high - low) as f64).sqrt() / 2.0;
        let at_middle = (at_low + at_high) / 2.0 + deviation * normal(key, middle);
        if step < middle {
            (high, at_high) = (middle, at_middle);
        } else {
            (low, at_low) = (middle, at_middle);
        }
    }
    if step == low { at_low } else { at_high }
}

/// A nearly normal number with mean 0 and variance 1: the sum of four uniform
/// ones (Irwin-Hall), which needs no function that differs between machines.
fn normal(key: u64, place: u64) -> f64 {
    let bits = hash(key, place);
    let quarter = |n: u32| ((bits >> (16 * n)) & 0xffff) as f64 + 0.5;
    let sum: f64 = (0..4).map(quarter).sum();
    (sum / 65_536.0 - 2.0) * 3_f64.sqrt()
}

fn hash(key: u64, place: u64) -> u64 {
    mix(key ^ mix(place))
}

/// The finaliser of SplitMix64. Source: <https://prng.di.unimi.it/splitmix64.c>
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Source: <http://www.isthe.com/chongo/tech/comp/fnv/>
fn fnv1a(bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325;
    let prime = 0x0000_0100_0000_01b3;
    bytes.iter().fold(start, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(prime)
    })
}

#[cfg(test)]
#[path = "market_tests.rs"]
mod tests;
