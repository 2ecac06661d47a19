//! Who may ask, and how often. Every call and every request passes here before a
//! handler hears of it.

use std::net::IpAddr;
use std::sync::Arc;

use super::rate::{Key, Limiter};
use crate::error::Error;

/// What those who ask are held to; nothing by default, which costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    pub rate: Option<Arc<Limiter>>,
}

impl Admission {
    /// Whether a call or request from this address may go on. Never waits.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED over the rate.
    pub fn check(&self, peer: impl FnOnce() -> IpAddr) -> Result<(), Error> {
        let Some(rate) = &self.rate else {
            return Ok(());
        };
        rate.check(&Key::peer(peer()))
    }

    /// Whether a new connection from this address may go on. Never waits.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED over the rate.
    pub fn connection(&self, peer: IpAddr) -> Result<(), Error> {
        let rate = self.rate.as_ref();
        rate.map_or(Ok(()), |rate| rate.check(&Key::connection(peer)))
    }
}
