//! Who may do what: the flags of servers, and of their clients.

use std::path::{Path, PathBuf};

use super::Error;
use crate::access::{Access, Bearer};

/// For commands that are asked.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Access")]
pub struct Args {
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

impl Args {
    /// The tokens, if calls need one.
    pub fn open(&self) -> Result<Option<Access>, Error> {
        let access = given(&self.auth_tokens).map(Access::open).transpose();
        access.map_err(|error| format!("--auth-tokens: {error}").into())
    }
}

impl Client {
    pub fn read(&self) -> Result<Option<Bearer>, Error> {
        let token = given(&self.token_file).map(Bearer::open).transpose();
        token.map_err(|error| format!("--token-file: {error}").into())
    }
}

/// Compose files set variables to nothing when they mean none.
fn given(file: &Option<PathBuf>) -> Option<&Path> {
    file.as_deref().filter(|file| !file.as_os_str().is_empty())
}
