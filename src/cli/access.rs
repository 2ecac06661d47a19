//! Who may do what, and how often: the flags of every command that serves others, and of
//! those that ask a server.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use crate::access::gate::Door;
use crate::access::rate::{self, Limiter, Rate};
use crate::access::{Access, Admission, Bearer};
use crate::http::Gate;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Access")]
pub struct Args {
    /// Most calls and requests of each token, or of each address without one, in the long
    /// run, as 100/s or 30/m; no limit without it
    #[arg(long, env = "MESSENGER_RATE", value_name = "N/UNIT")]
    rate: Option<Rate>,
    /// How many of them at once, from 1 to 1000000; without it, as many as the rate allows
    /// in its unit of time
    #[arg(long, env = "MESSENGER_RATE_BURST", value_name = "N", requires = "rate", value_parser = burst)]
    rate_burst: Option<NonZeroU32>,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Access")]
pub struct Tokens {
    /// File of tokens, one of which every call needs then; `messenger token` writes it
    #[arg(long, env = "MESSENGER_AUTH_TOKENS", value_name = "FILE")]
    auth_tokens: Option<PathBuf>,
}

/// For commands that ask a server.
#[derive(clap::Args, Debug, Default)]
pub struct Client {
    /// File with the token for the server, if it asks for one; read again when it changes
    #[arg(long, global = true, env = "MESSENGER_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

fn burst(text: &str) -> Result<NonZeroU32, String> {
    let burst = text.parse().ok().filter(|burst| *burst <= rate::MOST);
    burst.ok_or_else(|| format!("has to be from 1 to {}", rate::MOST))
}

impl Args {
    /// To be asked for once, since each counts by itself.
    pub fn admission(&self, access: Option<Access>) -> Admission {
        let limiter = |rate| Arc::new(Limiter::new(rate, self.rate_burst));
        Admission {
            access,
            rate: self.rate.map(limiter),
        }
    }

    /// What an HTTP port asks, if there is anything to ask.
    pub fn gate(&self) -> Option<Arc<dyn Gate>> {
        self.rate
            .is_some()
            .then(|| Arc::new(Door::new(self.admission(None))) as _)
    }
}

impl Tokens {
    /// The tokens, if calls need one.
    pub fn open(&self) -> Result<Option<Access>, Error> {
        let access = given(self.auth_tokens.as_deref())
            .map(Access::open)
            .transpose();
        access.map_err(|error| format!("--auth-tokens: {error}").into())
    }
}

impl Client {
    pub fn read(&self) -> Result<Option<Bearer>, Error> {
        let token = given(self.token_file.as_deref())
            .map(Bearer::open)
            .transpose();
        token.map_err(|error| format!("--token-file: {error}").into())
    }
}

/// Compose files set variables to nothing when they mean none.
fn given(file: Option<&Path>) -> Option<&Path> {
    file.filter(|file| !file.as_os_str().is_empty())
}
