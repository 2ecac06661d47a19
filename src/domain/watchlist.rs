//! What one ticker stream still has to be told: a count of updates for each
//! symbol that was asked for, and no queue.

use super::error::{Code, Error};
use super::ticker::Symbol;

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
    /// The first step that has not been told.
    next: u64,
    /// The step after the last one to tell; `None` is without end.
    until: Option<u64>,
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

    /// Asks for a symbol from this step on. One that is there already starts
    /// its count anew.
    ///
    /// # Errors
    /// `ResourceExhausted` when the list is full.
    pub fn request(&mut self, symbol: Symbol, step: u64) -> Result<(), Error> {
        let until = self.updates.map(|updates| step.saturating_add(updates));
        if let Some(entry) = self.entries.iter_mut().find(|e| e.symbol == symbol) {
            (entry.next, entry.until) = (step, until);
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
        self.entries.push(Entry {
            symbol,
            next: step,
            until,
        });
        Ok(())
    }

    /// The symbols to tell of at this step. It stands for all steps that were
    /// not told before it, and those count as told; a symbol whose count is
    /// full leaves the list.
    pub fn take_due(&mut self, step: u64) -> Vec<Symbol> {
        let mut due = Vec::new();
        self.entries.retain_mut(|entry| {
            if entry.next <= step {
                due.push(entry.symbol.clone());
                entry.next = step + 1;
            }
            entry.until.is_none_or(|until| entry.next < until)
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
        list.request(symbol("A"), 7).unwrap();
        assert_eq!(due(&mut list, 7), "A");
        assert_eq!(due(&mut list, 7), "", "each step once");
        list.request(symbol("B"), 8).unwrap();
        assert_eq!(due(&mut list, 8), "A B");
        assert_eq!(due(&mut list, 9), "A B");
        assert_eq!(due(&mut list, 10), "B");
        assert!(list.is_empty());
        assert_eq!(due(&mut list, 11), "");
    }

    #[test]
    fn steps_that_were_missed_count_as_told() {
        let mut list = Watchlist::new(Some(3), 10);
        list.request(symbol("A"), 0).unwrap();
        assert_eq!(due(&mut list, 0), "A");
        assert_eq!(due(&mut list, 50), "A", "the newest stands for the missed");
        assert!(list.is_empty());
    }

    #[test]
    fn a_repeated_symbol_starts_anew_and_takes_no_second_place() {
        let mut list = Watchlist::new(Some(2), 1);
        list.request(symbol("A"), 0).unwrap();
        assert_eq!(due(&mut list, 0), "A");
        list.request(symbol("a"), 0).unwrap();
        assert_eq!(due(&mut list, 0), "A");
        assert_eq!(due(&mut list, 1), "A");
        assert!(list.is_empty());
        list.request(symbol("B"), 1).unwrap();
        let error = list.request(symbol("C"), 1).unwrap_err();
        assert_eq!(error.code, Code::ResourceExhausted);
        assert!(error.message.contains('C'), "{error}");
        assert_eq!(due(&mut list, 1), "B", "the refused one changed nothing");
    }

    #[test]
    fn without_a_count_it_never_ends() {
        let mut list = Watchlist::new(None, 1);
        list.request(symbol("A"), 0).unwrap();
        for step in 0..1_000 {
            assert_eq!(due(&mut list, step), "A");
        }
        assert!(!list.is_empty());
    }
}
