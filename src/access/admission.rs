//! Who may ask, and how often. Every call and every request passes here before a
//! handler hears of it.

use std::net::IpAddr;
use std::sync::Arc;

use super::rate::{Key, Limiter};
use super::right::Need;
use super::tokens::{Access, Denied, Grant};
use crate::error::Error;

/// What those who ask are held to; nothing by default, which costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Who may do what; everybody everything without it.
    pub access: Option<Access>,
    pub rate: Option<Arc<Limiter>>,
}

impl Admission {
    /// Whether a call that needs this may go on, with the value of its `authorization`
    /// and from this address. It counts for its token; for its address if it has none
    /// that is let in, which bounds guessing too. Never waits.
    ///
    /// # Errors
    /// UNAUTHENTICATED, PERMISSION_DENIED, or RESOURCE_EXHAUSTED over the rate.
    pub fn call<'a>(
        &self,
        need: Need,
        authorization: impl FnOnce() -> Result<Option<&'a [u8]>, Denied>,
        peer: impl FnOnce() -> IpAddr,
    ) -> Result<Option<Grant>, Error> {
        if need == Need::Nothing {
            return Ok(None);
        }
        self.admit(|access| access.check(authorization()?, need), peer)
    }

    /// The same with any way to get a grant.
    ///
    /// # Errors
    /// As [`Admission::call`].
    pub fn admit(
        &self,
        check: impl FnOnce(&Access) -> Result<Grant, Denied>,
        peer: impl FnOnce() -> IpAddr,
    ) -> Result<Option<Grant>, Error> {
        let checked = self.access.as_ref().map(check);
        if let Some(rate) = &self.rate {
            rate.check(&match &checked {
                Some(Ok(grant)) => Key::Token(grant.name().clone()),
                Some(Err(_)) | None => Key::peer(peer()),
            })?;
        }
        Ok(checked.transpose()?)
    }

    /// Whether a request for what is open to all may go on. Never waits.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED over the rate.
    pub fn open(&self, peer: IpAddr) -> Result<(), Error> {
        let rate = self.rate.as_ref();
        rate.map_or(Ok(()), |rate| rate.check(&Key::peer(peer)))
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
