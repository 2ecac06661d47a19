//! Who may call: the check of each call's token, before anything of ours sees the call.

use grpcio::RpcContext;

use crate::access::{Access, Denied, Grant, Lease, Need};
use crate::error::Error;

/// The key of the metadata with the token.
pub(super) const AUTHORIZATION: &str = "authorization";

/// Checks calls; without tokens it lets all in, and looks at nothing.
#[derive(Clone)]
pub(super) struct Gate(pub Option<Access>);

/// With what a call was let in; empty where nobody is asked for a token.
#[derive(Clone, Default)]
pub(super) struct Pass(Option<(Access, Grant)>);

impl Gate {
    /// # Errors
    /// UNAUTHENTICATED without a token that is valid, PERMISSION_DENIED without the right.
    pub(super) fn admit(&self, ctx: &RpcContext<'_>, need: Need) -> Result<Pass, Error> {
        let access = match &self.0 {
            Some(access) if need != Need::Nothing => access,
            _ => return Ok(Pass::default()),
        };
        let mut values = ctx
            .request_headers()
            .iter()
            .filter(|(key, _)| *key == AUTHORIZATION);
        let value = values.next().map(|(_, value)| value);
        if values.next().is_some() {
            return Err(Denied::Malformed.into());
        }
        let grant = access.check(value, need)?;
        Ok(Pass(Some((access.clone(), grant))))
    }
}

impl Pass {
    /// Calls `end` when a stream may not go on; see [`Access::lease`].
    pub(super) fn lease(&self, end: impl FnOnce(Error) + Send + 'static) -> Option<Lease> {
        let (access, grant) = self.0.clone()?;
        Some(access.lease(grant, end))
    }
}
