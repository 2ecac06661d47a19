//! Who may call: each call passes here before anything of ours hears of it.

use grpcio::RpcContext;

use super::meter;
use crate::access::{Access, Admission, Denied, Grant, Lease, Need};
use crate::error::Error;

/// The key of the metadata with the token.
pub(super) const AUTHORIZATION: &str = "authorization";

/// Without tokens and rates it lets all in, and looks at nothing.
#[derive(Clone)]
pub(super) struct Gate(pub Admission);

/// With what a call was let in; empty where nobody is asked for a token.
#[derive(Clone, Default)]
pub(super) struct Pass(Option<(Access, Grant)>);

impl Gate {
    /// # Errors
    /// As [`Admission::call`].
    pub(super) fn admit(&self, ctx: &RpcContext<'_>, need: Need) -> Result<Pass, Error> {
        let Self(admission) = self;
        let peer = || meter::ip(&ctx.peer());
        let grant = admission.call(need, || authorization(ctx), peer)?;
        Ok(Pass(admission.access.clone().zip(grant)))
    }
}

fn authorization<'a>(ctx: &'a RpcContext<'_>) -> Result<Option<&'a [u8]>, Denied> {
    let all = ctx.request_headers().iter();
    let mut values = all.filter(|(key, _)| *key == AUTHORIZATION);
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|(_, value)| value)),
        _ => Err(Denied::Malformed),
    }
}

impl Pass {
    /// Calls `end` when a stream may not go on; see [`Access::lease`].
    pub(super) fn lease(&self, end: impl FnOnce(Error) + Send + 'static) -> Option<Lease> {
        let (access, grant) = self.0.clone()?;
        Some(access.lease(grant, end))
    }
}
