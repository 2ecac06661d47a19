//! A client's own token, from a file that may be exchanged while it runs.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::file::bounded;
use crate::reload::Live;

/// The longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// The token that a client sends with each call; clones share it.
#[derive(Clone)]
pub struct Bearer(Arc<Live<String>>);

impl Bearer {
    /// Reads the token, which is all of the file but white space around it, and reads it
    /// again as [`reload`](crate::reload) does.
    ///
    /// # Errors
    /// The file that cannot be read, or what is in it is no token.
    pub fn open(file: &Path) -> Result<Self, Box<dyn Error>> {
        let name = file.to_owned();
        Ok(Self(Live::read("the token", [file], move || read(&name))?))
    }

    /// The value of `authorization` now. Secret: not for the log.
    pub fn header(&self) -> Arc<String> {
        self.0.get()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

fn read(file: &Path) -> Result<String, Box<dyn Error>> {
    let name = file.display();
    let text = bounded(file, MAX_TOKEN_BYTES).map_err(|error| format!("{name}: {error}"))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(format!("{name}: one token of visible ASCII characters is needed").into());
    }
    Ok(format!("Bearer {token}"))
}
