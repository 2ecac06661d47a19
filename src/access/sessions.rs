//! Sessions of people in a browser: a token is typed in once, and a cookie stands for it.
//!
//! In memory, so they end with the process. It must not know HTTP. Any thread.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::right::Need;
use super::tokens::{Access, Denied, Grant};
use crate::error::{Code, Error};
use crate::sync::lock;

/// Sessions at the same time; over it the one that was not used for longest ends.
pub const SESSIONS: usize = 1000;

/// Without a use for so long, a session ends.
pub const IDLE: Duration = Duration::from_secs(12 * 3600);

/// The sessions of a process, by their ids.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, (Grant, Instant)>>);

impl Sessions {
    /// Begins a session on this grant; returns its id, which cannot be guessed. Secret.
    ///
    /// # Errors
    /// INTERNAL without randomness.
    pub fn begin(&self, grant: Grant) -> Result<String, Error> {
        let mut random = [0; 32];
        openssl::rand::rand_bytes(&mut random)
            .map_err(|error| Error::new(Code::Internal, format!("no random id: {error}")))?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut sessions = lock(&self.0);
        sessions.retain(|_, (_, used)| used.elapsed() < IDLE);
        if sessions.len() >= SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, (_, used))| *used);
            let oldest = oldest.map(|(id, _)| id.clone());
            oldest.map(|id| sessions.remove(&id));
        }
        sessions.insert(id.clone(), (grant, Instant::now()));
        Ok(id)
    }

    /// The grant of a session whose token is still valid; uses the session.
    ///
    /// # Errors
    /// Why not: then there is none, or none any more.
    pub fn check(&self, id: &str, access: &Access) -> Result<Grant, Denied> {
        let mut sessions = lock(&self.0);
        let live = sessions
            .get_mut(id)
            .filter(|(_, used)| used.elapsed() < IDLE);
        let (grant, used) = live.ok_or(Denied::Missing)?;
        *used = Instant::now();
        let checked = access.check_again(grant, Need::Token);
        if checked.is_err() {
            sessions.remove(id);
        }
        checked
    }

    pub fn has(&self, id: &str) -> bool {
        lock(&self.0).contains_key(id)
    }

    pub fn end(&self, id: &str) {
        lock(&self.0).remove(id);
    }
}
