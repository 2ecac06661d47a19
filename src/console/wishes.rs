//! The symbols that open pages want, and when each was last heard of. Pure: the
//! time is told.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::event::{self, Event};
use crate::error::{Code, Error};
use crate::ticker::client::Symbol;
use crate::ticker::wire::Update;

/// The union over all pages, bounded.
#[derive(Debug)]
pub struct Wishes {
    symbols: HashMap<Symbol, Wish>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Wish {
    /// How many pages want it.
    pages: usize,
    newest: Option<(Update, Event)>,
    /// When it was asked for, or heard of.
    touched: Option<Instant>,
}

impl Wishes {
    pub fn new(limit: usize) -> Self {
        Self {
            symbols: HashMap::new(),
            limit,
        }
    }

    /// One more page wants this symbol. Returns its newest quote; or nothing,
    /// and then it has to be asked for now.
    ///
    /// # Errors
    /// `ResourceExhausted` when the pages want too many.
    pub fn add(&mut self, symbol: &Symbol, now: Instant) -> Result<Option<Event>, Error> {
        if !self.symbols.contains_key(symbol) && self.symbols.len() >= self.limit {
            return Err(Error::new(
                Code::ResourceExhausted,
                format!(
                    "{symbol}: all open pages together show at most {} symbols",
                    self.limit
                ),
            ));
        }
        let wish = self.symbols.entry(symbol.clone()).or_default();
        wish.pages += 1;
        wish.touched.get_or_insert(now);
        Ok(wish.newest.as_ref().map(|(_, event)| event.clone()))
    }

    /// One page less wants it.
    pub fn remove(&mut self, symbol: &Symbol) {
        if let Some(wish) = self.symbols.get_mut(symbol) {
            wish.pages -= 1;
            if wish.pages == 0 {
                self.symbols.remove(symbol);
            }
        }
    }

    /// Takes in an update; gives its event if it is a new one that somebody
    /// wants.
    pub fn quote(&mut self, symbol: Symbol, update: Update, now: Instant) -> Option<Event> {
        let wish = self.symbols.get_mut(&symbol)?;
        wish.touched = Some(now);
        // Asking again brings the newest step again.
        if wish.newest.as_ref().is_some_and(|(old, _)| *old == update) {
            return None;
        }
        let event = event::quote(symbol, &update);
        wish.newest = Some((update, event.clone()));
        Some(event)
    }

    /// The symbols that were neither asked for nor heard of for so long; they
    /// count as asked for now.
    pub fn overdue(&mut self, quiet: Duration, now: Instant) -> Vec<Symbol> {
        let mut overdue = Vec::new();
        for (symbol, wish) in &mut self.symbols {
            if wish.touched.is_none_or(|at| now - at >= quiet) {
                wish.touched = Some(now);
                overdue.push(symbol.clone());
            }
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticker::client::{Hundredths, Quote};

    fn update(cents: i64, time: i64) -> Update {
        Update {
            symbol: "A".into(),
            quote: Quote {
                price: Hundredths(cents),
                change: Hundredths(0),
                percent: Hundredths(0),
                volume: 1,
            },
            time,
        }
    }

    #[test]
    fn the_union_is_bounded_and_shrinks_when_the_last_page_leaves() {
        let mut wishes = Wishes::new(1);
        let start = Instant::now();
        let [a, b] = ["A", "B"].map(|text| Symbol::parse(text).unwrap());
        assert!(wishes.add(&a, start).unwrap().is_none());
        assert!(wishes.add(&a, start).unwrap().is_none());
        let refused = wishes.add(&b, start).unwrap_err();
        assert_eq!(refused.code, Code::ResourceExhausted);
        assert!(refused.message.starts_with("B:"), "{refused}");
        wishes.remove(&a);
        assert!(wishes.add(&b, start).is_err());
        wishes.remove(&a);
        wishes.remove(&a);
        assert!(wishes.add(&b, start).unwrap().is_none());
    }

    #[test]
    fn a_quote_is_told_once_and_a_quiet_symbol_is_overdue() {
        let mut wishes = Wishes::new(9);
        let a = Symbol::parse("A").unwrap();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert!(wishes.quote(a.clone(), update(1, 1), start).is_none());
        wishes.add(&a, start).unwrap();
        assert_eq!(
            wishes.overdue(Duration::ZERO, start),
            std::slice::from_ref(&a)
        );
        assert_eq!(wishes.overdue(5 * second, start + 4 * second), []);
        let heard = start + 4 * second;
        assert!(wishes.quote(a.clone(), update(1, 1), heard).is_some());
        assert!(wishes.quote(a.clone(), update(1, 1), heard).is_none());
        assert!(wishes.quote(a.clone(), update(2, 1), heard).is_some());
        assert!(wishes.add(&a, start).unwrap().is_some());
        assert_eq!(wishes.overdue(5 * second, start + 8 * second), []);
        assert_eq!(wishes.overdue(5 * second, start + 9 * second), [a]);
    }
}
