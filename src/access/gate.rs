//! The gate of our HTTP ports: who may ask, and how often.
//!
//! It must not know what the paths mean. Runs on the threads of the front, and never
//! waits.

use std::net::IpAddr;

use super::Admission;
use crate::error::Error;
use crate::http::{Asked, Gate, Refusal};
use crate::status;

/// Paths that are open to all, without a token or a limit.
const OPEN: &[&str] = &["/healthz", "/livez", "/readyz"];

/// The gate of one service.
#[derive(Debug)]
pub struct Door {
    admission: Admission,
}

impl Door {
    pub fn new(admission: Admission) -> Self {
        Self { admission }
    }
}

impl Gate for Door {
    fn connection(&self, peer: IpAddr) -> Result<(), Refusal> {
        self.admission.connection(peer).map_err(refusal)
    }

    fn request(&self, peer: IpAddr, asked: &Asked<'_>) -> Result<(), Refusal> {
        if OPEN.contains(&asked.path) {
            return Ok(());
        }
        self.admission.check(|| peer).map_err(refusal)
    }
}

fn refusal(error: Error) -> Refusal {
    match error.retry_after {
        Some(wait) => Refusal::too_many(error.message, wait),
        None => Refusal::new(status::http(error.code), error.message),
    }
}
