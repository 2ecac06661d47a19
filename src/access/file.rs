//! The file of tokens: JSON lines, one token each, of which it has only the hash.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::DateTime;
use openssl::sha::sha256;
use serde::{Deserialize, Serialize};

use super::right::Rights;

/// Most tokens of a file, and the longest line and name.
pub const MAX_TOKENS: usize = 1000;
pub const MAX_LINE_BYTES: usize = 4096;
pub const MAX_NAME_BYTES: usize = 64;

/// A token's line.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: String,
    /// Of the whole token, in hexadecimal digits.
    pub sha256: String,
    pub rights: Vec<String>,
    /// RFC 3339; never without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// What an entry says.
#[derive(Debug)]
pub struct Token {
    pub name: Arc<str>,
    pub(super) digest: [u8; 32],
    pub(super) rights: Rights,
    pub(super) expires: Option<SystemTime>,
}

impl Entry {
    /// # Errors
    /// The field that is wrong, without its value.
    pub fn token(&self) -> Result<Token, String> {
        let named = |c: u8| c.is_ascii_alphanumeric() || b"._@-".contains(&c);
        if !(1..=MAX_NAME_BYTES).contains(&self.name.len()) || !self.name.bytes().all(named) {
            return Err(format!(
                "name: 1 to {MAX_NAME_BYTES} letters, digits or any of . _ @ - are needed"
            ));
        }
        let digest = digest(&self.sha256).ok_or("sha256: 64 hexadecimal digits are needed")?;
        let rights = Rights::parse(&self.rights).map_err(|error| format!("rights: {error}"))?;
        let expires = self.expires.as_deref().map(DateTime::parse_from_rfc3339);
        let expires = expires.transpose().map_err(|error| {
            format!("expires: {error}; a time like 2030-12-31T23:59:59Z is needed")
        })?;
        Ok(Token {
            name: self.name.as_str().into(),
            digest,
            rights,
            expires: expires.map(SystemTime::from),
        })
    }
}

impl Token {
    /// # Errors
    /// The file that cannot be read, or its first line that is wrong.
    pub(super) fn all(file: &Path) -> Result<Vec<Self>, String> {
        Ok(parse(file)?.into_iter().map(|(_, token)| token).collect())
    }

    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// All entries, checked, in the order of the file.
///
/// # Errors
/// The file that cannot be read, or its first line that is wrong.
pub fn read(file: &Path) -> Result<Vec<Entry>, String> {
    Ok(parse(file)?.into_iter().map(|(entry, _)| entry).collect())
}

fn parse(file: &Path) -> Result<Vec<(Entry, Token)>, String> {
    let name = file.display();
    let text = bounded(file, MAX_TOKENS * MAX_LINE_BYTES).map_err(|e| format!("{name}: {e}"))?;
    let mut all: Vec<(Entry, Token)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: String| format!("{name}: line {}: {what}", number + 1);
        if line.trim().is_empty() {
            continue;
        }
        if line.len() > MAX_LINE_BYTES {
            return Err(wrong(format!("longer than {MAX_LINE_BYTES} bytes")));
        }
        if all.len() == MAX_TOKENS {
            return Err(wrong(format!("more than {MAX_TOKENS} tokens")));
        }
        let entry: Entry = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        let token = entry.token().map_err(wrong)?;
        for (_, other) in &all {
            if other.name == token.name || other.digest == token.digest {
                return Err(wrong(format!("the same name or sha256 as {}", other.name)));
            }
        }
        all.push((entry, token));
    }
    Ok(all)
}

/// A file's text, if it is not larger than `most` bytes.
pub(super) fn bounded(file: &Path, most: usize) -> io::Result<String> {
    let mut text = String::new();
    let mut source = File::open(file)?.take(most as u64 + 1);
    source.read_to_string(&mut text)?;
    if text.len() > most {
        return Err(io::Error::other(format!("larger than {most} bytes")));
    }
    Ok(text)
}

/// Changes the entries, and replaces the file whole; only its owner may read it then. A
/// file that is not there is as good as an empty one. Two changes at once wait for each
/// other.
///
/// # Errors
/// What `change` says, or the file; it is then as it was.
pub fn change<R>(
    file: &Path,
    change: impl FnOnce(&mut Vec<Entry>) -> Result<R, String>,
) -> Result<R, String> {
    // Where a link leads.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let turn = File::open(folder).map_err(failed)?;
    turn.lock().map_err(failed)?;
    let mut entries = match file.exists() {
        true => read(file)?,
        false => Vec::new(),
    };
    let result = change(&mut entries)?;
    let mut text = String::new();
    for entry in &entries {
        text += &serde_json::to_string(entry).map_err(|error| error.to_string())?;
        text.push('\n');
    }
    // Made with mode 0600.
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    // What would be refused when it is read is not written.
    parse(new.path())?;
    new.persist(file).map_err(|error| failed(error.error))?;
    turn.sync_all().map_err(failed)?;
    Ok(result)
}

/// A token's hash, as an entry has it.
pub fn hash(token: &str) -> String {
    let hex = |byte: &u8| format!("{byte:02x}");
    sha256(token.as_bytes()).iter().map(hex).collect()
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(digest)
}
