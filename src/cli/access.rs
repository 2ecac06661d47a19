//! Who may ask, and how often: the flags of every command that serves others.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::access::Admission;
use crate::access::gate::Door;
use crate::access::rate::{self, Limiter, Rate};
use crate::http::Gate;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Access")]
pub struct Args {
    /// Most calls and requests of each address in the long run, as 100/s or 30/m; no
    /// limit without it
    #[arg(long, env = "MESSENGER_RATE", value_name = "N/UNIT")]
    rate: Option<Rate>,
    /// How many of them at once, from 1 to 1000000; without it, as many as --rate allows
    /// in its unit of time
    #[arg(long, env = "MESSENGER_RATE_BURST", value_name = "N", requires = "rate", value_parser = burst)]
    rate_burst: Option<NonZeroU32>,
}

fn burst(text: &str) -> Result<NonZeroU32, String> {
    let burst = text.parse().ok().filter(|burst| *burst <= rate::MOST);
    burst.ok_or_else(|| format!("has to be from 1 to {}", rate::MOST))
}

impl Args {
    /// To be asked for once, since each counts by itself.
    pub fn admission(&self) -> Admission {
        let limiter = |rate| Arc::new(Limiter::new(rate, self.rate_burst));
        Admission {
            rate: self.rate.map(limiter),
        }
    }

    /// What an HTTP port asks, if there is anything to ask.
    pub fn gate(&self) -> Option<Arc<dyn Gate>> {
        self.rate
            .is_some()
            .then(|| Arc::new(Door::new(self.admission())) as _)
    }
}
