//! The symbols that open pages watch, and when each was last updated. Pure: the
//! time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::event::{self, Event};
use crate::error::{Code, Error};
use crate::ticker::client::Symbol;
use crate::ticker::wire::Update;

/// The union of all pages' symbols, bounded.
#[derive(Debug)]
pub struct Watched {
    symbols: HashMap<Symbol, Entry>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// How many pages watch it.
    pages: usize,
    newest: Option<(Update, Event)>,
    /// When it was last requested or updated.
    touched: Option<Instant>,
}

impl Watched {
    pub fn new(limit: usize) -> Self {
        Self {
            symbols: HashMap::new(),
            limit,
        }
    }

    /// One more page watches this symbol. Returns its newest quote; if `None`, it
    /// has to be requested now.
    ///
    /// # Errors
    /// `ResourceExhausted` when all pages together watch too many.
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
        let entry = self.symbols.entry(symbol.clone()).or_default();
        entry.pages += 1;
        entry.touched.get_or_insert(now);
        Ok(entry.newest.as_ref().map(|(_, event)| event.clone()))
    }

    pub fn has(&self, symbol: &Symbol) -> bool {
        self.symbols.contains_key(symbol)
    }

    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// One page less watches it.
    pub fn remove(&mut self, symbol: &Symbol) {
        if let Some(entry) = self.symbols.get_mut(symbol) {
            entry.pages -= 1;
            if entry.pages == 0 {
                self.symbols.remove(symbol);
            }
        }
    }

    /// Records an update; returns its event if it is a new one that a page
    /// watches.
    pub fn quote(&mut self, symbol: Symbol, update: Update, now: Instant) -> Option<Event> {
        let entry = self.symbols.get_mut(&symbol)?;
        entry.touched = Some(now);
        // Requesting again sends the newest step again.
        if entry.newest.as_ref().is_some_and(|(old, _)| *old == update) {
            return None;
        }
        let event = event::quote(symbol, &update);
        entry.newest = Some((update, event.clone()));
        Some(event)
    }

    /// The symbols that were neither requested nor updated for so long; they
    /// count as requested now.
    pub fn overdue(&mut self, quiet: Duration, now: Instant) -> Vec<Symbol> {
        let mut overdue = Vec::new();
        for (symbol, entry) in &mut self.symbols {
            if entry.touched.is_none_or(|at| now - at >= quiet) {
                entry.touched = Some(now);
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
        let mut watched = Watched::new(1);
        let start = Instant::now();
        let [a, b] = ["A", "B"].map(|text| Symbol::parse(text).unwrap());
        assert!(watched.add(&a, start).unwrap().is_none());
        assert!(watched.add(&a, start).unwrap().is_none());
        let refused = watched.add(&b, start).unwrap_err();
        assert_eq!(refused.code, Code::ResourceExhausted);
        assert!(refused.message.starts_with("B:"), "{refused}");
        watched.remove(&a);
        assert!(watched.add(&b, start).is_err());
        watched.remove(&a);
        watched.remove(&a);
        assert!(watched.add(&b, start).unwrap().is_none());
    }

    #[test]
    fn a_quote_is_told_once_and_a_quiet_symbol_is_overdue() {
        let mut watched = Watched::new(9);
        let a = Symbol::parse("A").unwrap();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert!(watched.quote(a.clone(), update(1, 1), start).is_none());
        watched.add(&a, start).unwrap();
        assert_eq!(
            watched.overdue(Duration::ZERO, start),
            std::slice::from_ref(&a)
        );
        assert_eq!(watched.overdue(5 * second, start + 4 * second), []);
        let heard = start + 4 * second;
        assert!(watched.quote(a.clone(), update(1, 1), heard).is_some());
        assert!(watched.quote(a.clone(), update(1, 1), heard).is_none());
        assert!(watched.quote(a.clone(), update(2, 1), heard).is_some());
        assert!(watched.add(&a, start).unwrap().is_some());
        assert_eq!(watched.overdue(5 * second, start + 8 * second), []);
        assert_eq!(watched.overdue(5 * second, start + 9 * second), [a]);
    }
}
