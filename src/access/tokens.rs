//! The tokens that are valid now: whether one has a right, and what runs only for as
//! long as it has.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Sender, bounded};
use openssl::memcmp;
use openssl::sha::sha256;

use super::bearer::MAX_TOKEN_BYTES;
use super::file::{self, Token};
use super::right::{Need, Right};
use crate::error::{Code, Error};
use crate::key::is_visible;
use crate::reload::Live;
use crate::retry::supervised;
use crate::sync::{lock, spawn};

/// How often it is looked whether what runs on a token may go on.
const LOOK: Duration = Duration::from_millis(250);

/// The tokens of a file, and what runs on them; clones share both.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    /// In the order of their hashes.
    tokens: Arc<Live<Vec<Arc<Token>>>>,
    leases: Mutex<Leases>,
    /// Tells the thread that there is something to watch.
    watch: Sender<()>,
}

#[derive(Default)]
struct Leases {
    next: u64,
    held: HashMap<u64, Held>,
    /// The thread looks, and has seen these tokens.
    watched: bool,
    version: u64,
}

struct Held {
    grant: Grant,
    end: Option<Box<dyn FnOnce(Error) + Send>>,
}

/// A token that was accepted for something.
#[derive(Clone, Debug)]
pub struct Grant {
    token: Arc<Token>,
    need: Need,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("authorization: missing, \"Bearer TOKEN\" is needed")]
    Missing,
    #[error("authorization: not of the form \"Bearer TOKEN\"")]
    Malformed,
    #[error("authorization: no such token")]
    Unknown,
    #[error("authorization: the token has expired")]
    Expired,
    #[error("authorization: the token does not have the right {0}")]
    Lacks(Right),
}

impl Denied {
    /// The end of what ran on a token.
    fn over(self) -> Error {
        Error::new(Code::Unauthenticated, format!("over: {self}"))
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Lacks(_) => Code::PermissionDenied,
            _ => Code::Unauthenticated,
        };
        Self::new(code, denied.to_string())
    }
}

impl Access {
    /// Reads the tokens, and reads them again as [`reload`](crate::reload) does. Starts
    /// the thread "access-timer", which ends with the last clone.
    ///
    /// # Errors
    /// The file that cannot be read, its first line that is wrong, or no thread.
    pub fn open(file: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let name = file.to_owned();
        let tokens = Live::read("the file of tokens", [file], move || {
            let all = file::read(&name)?.into_iter();
            let mut tokens: Vec<_> = all.map(|(_, token)| Arc::new(token)).collect();
            if tokens.is_empty() {
                tracing::warn!("there is no token in the file: every call is refused");
            }
            tokens.sort_unstable_by_key(|token| token.digest);
            Ok::<_, Box<dyn std::error::Error>>(tokens)
        })?;
        // One place: only the first lease asks.
        let (watch, asked) = bounded(1);
        let shared = Arc::new(Shared {
            tokens,
            leases: Mutex::default(),
            watch,
        });
        let weak = Arc::downgrade(&shared);
        let work = move || {
            // First of all, since it may begin again after a panic.
            loop {
                while weak.upgrade().is_some_and(|it| it.look(SystemTime::now())) {
                    thread::sleep(LOOK);
                }
                if asked.recv().is_err() {
                    return;
                }
            }
        };
        spawn("access-timer", move || supervised(&work))?;
        Ok(Self(shared))
    }

    /// Whether the value of `authorization` has a token for what is needed.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, authorization: Option<&[u8]>, need: Need) -> Result<Grant, Denied> {
        let value = authorization.ok_or(Denied::Missing)?;
        let (scheme, token) = value.split_at_checked(7).ok_or(Denied::Malformed)?;
        let scheme = scheme.eq_ignore_ascii_case(b"bearer ");
        if !scheme || !is_visible(token, MAX_TOKEN_BYTES) {
            return Err(Denied::Malformed);
        }
        let digest = sha256(token);
        // All are compared, each in the same time, so that the time tells nothing.
        let mut found = None;
        for token in self.0.tokens.get().iter() {
            if memcmp::eq(&token.digest, &digest) {
                found = Some(token.clone());
            }
        }
        let token = found.ok_or(Denied::Unknown)?;
        Grant { token, need }.valid(SystemTime::now())
    }

    /// Whether what was granted is still so, by the file as it is now.
    ///
    /// # Errors
    /// Why not.
    pub fn check_again(&self, grant: &Grant, need: Need) -> Result<Grant, Denied> {
        let token = grant.token.clone();
        Grant { token, need }.again(&self.0.tokens.get(), SystemTime::now())
    }

    /// Calls `end` within a second when the grant holds no longer: the token has expired,
    /// was taken out of the file, or has lost the right. On the thread "access-timer" or on
    /// this one; it must not block. At most once, and not long after the lease is dropped.
    pub fn lease(&self, grant: Grant, end: impl FnOnce(Error) + Send + 'static) -> Lease {
        let mut leases = lock(&self.0.leases);
        let id = leases.next;
        leases.next += 1;
        // The file may have changed since the check.
        match grant.again(&self.0.tokens.get(), SystemTime::now()) {
            Ok(grant) => {
                let end = Some(Box::new(end) as _);
                leases.held.insert(id, Held { grant, end });
                if !std::mem::replace(&mut leases.watched, true) {
                    // Full: the thread is about to look.
                    let _ = self.0.watch.try_send(());
                }
            }
            Err(denied) => {
                drop(leases);
                end(denied.over());
            }
        }
        Lease(self.clone(), id)
    }
}

impl Shared {
    /// Ends what may not go on; whether there is more to watch.
    fn look(&self, now: SystemTime) -> bool {
        let (version, tokens) = (self.tokens.version(), self.tokens.get());
        let mut leases = lock(&self.leases);
        let changed = std::mem::replace(&mut leases.version, version) != version;
        let valid = |grant: &Grant| match changed {
            true => grant.again(&tokens, now),
            false => grant.clone().valid(now),
        };
        let mut over = Vec::new();
        leases.held.retain(|_, held| match valid(&held.grant) {
            Ok(grant) => {
                held.grant = grant;
                true
            }
            Err(denied) => {
                over.extend(held.end.take().map(|end| (end, denied)));
                false
            }
        });
        leases.watched = !leases.held.is_empty();
        let watched = leases.watched;
        drop(leases);
        for (end, denied) in over {
            end(denied.over());
        }
        watched
    }
}

impl Grant {
    /// The token's name, which only one token has.
    pub fn name(&self) -> &Arc<str> {
        &self.token.name
    }

    fn valid(self, now: SystemTime) -> Result<Self, Denied> {
        match self.need {
            _ if self.token.has_expired(now) => Err(Denied::Expired),
            Need::Right(right) if !self.token.has(right) => Err(Denied::Lacks(right)),
            _ => Ok(self),
        }
    }

    /// The same by these tokens.
    fn again(&self, tokens: &[Arc<Token>], now: SystemTime) -> Result<Self, Denied> {
        let at = tokens.binary_search_by_key(&self.token.digest, |token| token.digest);
        let token = tokens[at.map_err(|_| Denied::Unknown)?].clone();
        let need = self.need;
        Self { token, need }.valid(now)
    }
}

/// What runs on a grant; dropped when it has ended.
pub struct Lease(Access, u64);

impl Drop for Lease {
    fn drop(&mut self) {
        let held = lock(&self.0.0.leases).held.remove(&self.1);
        // Not in the critical section: it may hold anything.
        drop(held);
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
