//! A client's own token, from a file that may be exchanged while it runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::file::bounded;
use crate::sync::lock;

/// The longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// The token that a client sends with each call; clones share it.
#[derive(Clone)]
pub struct Bearer(Arc<Shared>);

struct Shared {
    file: PathBuf,
    header: Mutex<Arc<str>>,
}

impl Bearer {
    /// Reads the token, which is all of the file but white space around it.
    ///
    /// # Errors
    /// The file that cannot be read, or what is in it is no token.
    pub fn open(file: &Path) -> Result<Self, String> {
        let header = Mutex::new(read(file)?);
        let file = file.to_owned();
        Ok(Self(Arc::new(Shared { file, header })))
    }

    /// The value of `authorization`. Secret: not for the log.
    pub fn header(&self) -> Arc<str> {
        lock(&self.0.header).clone()
    }

    /// The same, read again now: for each new stream, and when the old one was refused.
    pub fn renewed(&self) -> Arc<str> {
        match read(&self.0.file) {
            Ok(new) => *lock(&self.0.header) = new,
            Err(error) => tracing::warn!(error, "the token stays as it was"),
        }
        self.header()
    }
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bearer({})", self.0.file.display())
    }
}

fn read(file: &Path) -> Result<Arc<str>, String> {
    let name = file.display();
    let text = bounded(file, MAX_TOKEN_BYTES).map_err(|error| format!("{name}: {error}"))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(format!(
            "{name}: one token of visible ASCII characters is needed"
        ));
    }
    Ok(format!("Bearer {token}").into())
}
