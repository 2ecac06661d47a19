//! Who waits for a lane, for somebody who looks.
//!
//! Owns the list. It must not know what the requests are about. The threads of the
//! connections put themselves on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::head::Head;
use crate::sync::lock;

/// The list, shared by its clones; at most one entry for each connection.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<Mutex<BTreeMap<u64, (String, Instant)>>>);

/// Takes its entry off the list when dropped.
pub(super) struct Entered<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Waiting {
    /// In order of arrival: the connection's thread, method, path and how long it waits.
    pub fn list(&self) -> Vec<String> {
        let all = lock(&self.0);
        let line = |(what, since): &(String, Instant)| {
            format!("{what}, for {:.1} s", since.elapsed().as_secs_f64())
        };
        all.values().map(line).collect()
    }

    pub(super) fn enter(&self, head: &Head) -> Entered<'_> {
        let thread = thread::current();
        let asked = head.asked();
        let name = thread.name().unwrap_or("?");
        let what = format!("{name}: {} {}", asked.method, asked.path);
        let mut all = lock(&self.0);
        let number = all.last_key_value().map_or(0, |(last, _)| last + 1);
        all.insert(number, (what, Instant::now()));
        Entered {
            waiting: self,
            number,
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        lock(&self.waiting.0).remove(&self.number);
    }
}
