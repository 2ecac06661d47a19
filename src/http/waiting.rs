//! Who waits for a lane, for somebody who looks. It must not know what the requests are
//! about. The threads of the connections put themselves on the list.

use std::sync::{Arc, Mutex};
use std::thread;

use crate::sync::lock;

/// The list, shared by its clones; at most one entry for each connection.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<Mutex<Vec<String>>>);

impl Waiting {
    /// In order of arrival: the connection's thread, method and path.
    pub fn list(&self) -> Vec<String> {
        lock(&self.0).clone()
    }

    /// Waits with its request on the list.
    pub(super) fn during<R>(&self, method: &str, path: &str, wait: impl FnOnce() -> R) -> R {
        let thread = thread::current();
        let entry = format!("{}: {method} {path}", thread.name().unwrap_or("?"));
        lock(&self.0).push(entry.clone());
        let waited = wait();
        let mut list = lock(&self.0);
        let place = list.iter().position(|it| *it == entry);
        place.map(|place| list.remove(place));
        waited
    }
}
