//! What one ticker stream still has to be told: a count of updates for each
//! symbol that was asked for, and no queue.

use super::market::Symbol;
use crate::error::{Code, Error};

/// The symbols of one stream.
#[derive(Debug)]
pub struct Watchlist {
    entries: Vec<Entry>,
    /// Updates for each request; `None` is without end.
    updates: Option<u64>,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    symbol: Symbol,
    /// The first step and the newest one that were told. The count begins with
    /// the first, so that a request in the moment of a step loses none.
    told: Option<(u64, u64)>,
}

impl Watchlist {
    /// `limit` is how many symbols may have updates to come at a time.
    pub fn new(updates: Option<u64>, limit: usize) -> Self {
        Self {
            entries: Vec::new(),
            updates,
            limit,
        }
    }

    /// Asks for a symbol. One that is there already starts its count anew.
    ///
    /// # Errors
    /// `ResourceExhausted` when the list is full.
    pub fn request(&mut self, symbol: Symbol) -> Result<(), Error> {
        if let Some(entry) = self.entries.iter_mut().find(|e| e.symbol == symbol) {
            entry.told = None;
            return Ok(());
        }
        if self.entries.len() >= self.limit {
            return Err(Error::new(
                Code::ResourceExhausted,
                format!(
                    "ticker_symbol: {symbol} is one more than the limit of {} a stream",
                    self.limit
                ),
            ));
        }
        self.entries.push(Entry { symbol, told: None });
        Ok(())
    }

    /// The symbols to tell of at this step. It stands for all steps that were
    /// not told before it, and those count as told; a symbol whose count is
    /// full leaves the list.
    pub fn take_due(&mut self, step: u64) -> Vec<Symbol> {
        let (mut due, updates) = (Vec::new(), self.updates);
        self.entries.retain_mut(|entry| {
            let first = entry.told.map_or(step, |(first, _)| first);
            if entry.told.is_none_or(|(_, last)| last < step) {
                due.push(entry.symbol.clone());
                entry.told = Some((first, step));
            }
            updates.is_none_or(|updates| step - first + 1 < updates)
        });
        due
    }

    /// No update is to come unless another request does.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(text: &str) -> Symbol {
        Symbol::parse(text).unwrap()
    }

    fn due(list: &mut Watchlist, step: u64) -> String {
        let due = list.take_due(step);
        due.iter().map(Symbol::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_request_brings_the_newest_step_and_each_that_follows() {
        let mut list = Watchlist::new(Some(3), 10);
        list.request(symbol("A")).unwrap();
        assert_eq!(due(&mut list, 7), "A");
        assert_eq!(due(&mut list, 7), "", "each step once");
        list.request(symbol("B")).unwrap();
        assert_eq!(due(&mut list, 8), "A B");
        assert_eq!(due(&mut list, 9), "A B");
        assert_eq!(due(&mut list, 10), "B");
        assert!(list.is_empty());
        assert_eq!(due(&mut list, 11), "");
    }

    #[test]
    fn a_step_between_a_request_and_its_first_update_costs_no_update() {
        let mut list = Watchlist::new(Some(2), 10);
        assert_eq!(due(&mut list, 6), "");
        list.request(symbol("A")).unwrap();
        assert_eq!(due(&mut list, 8), "A");
        assert_eq!(due(&mut list, 9), "A");
        assert!(list.is_empty());
    }

    #[test]
    fn steps_that_were_missed_count_as_told() {
        let mut list = Watchlist::new(Some(3), 10);
        list.request(symbol("A")).unwrap();
        assert_eq!(due(&mut list, 0), "A");
        assert_eq!(due(&mut list, 50), "A", "the newest stands for the missed");
        assert!(list.is_empty());
    }

    #[test]
    fn a_repeated_symbol_starts_anew_and_takes_no_second_place() {
        let mut list = Watchlist::new(Some(2), 1);
        list.request(symbol("A")).unwrap();
        assert_eq!(due(&mut list, 0), "A");
        list.request(symbol("A")).unwrap();
        assert_eq!(due(&mut list, 0), "A");
        assert_eq!(due(&mut list, 1), "A");
        assert!(list.is_empty());
        list.request(symbol("B")).unwrap();
        let error = list.request(symbol("C")).unwrap_err();
        assert_eq!(error.code, Code::ResourceExhausted);
        assert!(error.message.contains('C'), "{error}");
        assert_eq!(due(&mut list, 1), "B", "the refused one changed nothing");
    }

    #[test]
    fn without_a_count_it_never_ends() {
        let mut list = Watchlist::new(None, 1);
        list.request(symbol("A")).unwrap();
        for step in 0..1_000 {
            assert_eq!(due(&mut list, step), "A");
        }
        assert!(!list.is_empty());
    }
}
