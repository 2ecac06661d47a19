//! Who may do what, and how often: the flags of every command that serves others, and of
//! those that ask a server.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use crate::access::gate::{self, Door};
use crate::access::rate::{self, Limiter, Rate};
use crate::access::{Access, Admission, Bearer};

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Access")]
pub struct Args {
    /// File of tokens, one of which every call and request needs then; `messenger token`
    /// writes it
    #[arg(long, env = "MESSENGER_AUTH_TOKENS", value_name = "FILE")]
    auth_tokens: Option<PathBuf>,
    /// Most calls and requests of each token, or of each address without one, in the long
    /// run, as 100/s or 30/m; no limit without it
    #[arg(long, env = "MESSENGER_RATE", value_name = "N/UNIT")]
    rate: Option<Rate>,
    /// How many of them at once, from 1 to 1000000; without it, as many as the rate allows
    /// in its unit of time
    #[arg(long, env = "MESSENGER_RATE_BURST", value_name = "N", requires = "rate", value_parser = burst)]
    rate_burst: Option<NonZeroU32>,
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
    pub fn admission(&self) -> Result<Admission, Error> {
        let access = given(self.auth_tokens.as_deref()).map(Access::open);
        let access = access.transpose();
        Ok(Admission {
            access: access.map_err(|error| format!("--auth-tokens: {error}"))?,
            rate: self
                .rate
                .map(|rate| Arc::new(Limiter::new(rate, self.rate_burst))),
        })
    }

    /// Says it in the log when tokens are sent without TLS from other machines to here.
    pub fn warn_of_plain_text(&self, host: &str, tls: bool) {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let local = address.map_or(host == "localhost", |address| address.is_loopback());
        if given(self.auth_tokens.as_deref()).is_some() && !tls && !local {
            tracing::warn!("without TLS, tokens are plain text: whoever sees one may use it");
        }
    }

    /// What an HTTP port with these paths asks, if there is anything to ask.
    pub fn door(&self, paths: &'static [gate::Path]) -> Result<Option<Door>, Error> {
        let admission = self.admission()?;
        let asks = admission.access.is_some() || admission.rate.is_some();
        Ok(asks.then(|| Door::new(admission, paths)))
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
