//! The file of tokens: JSON lines, one token each, of which it has only the hash.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::DateTime;
use openssl::bn::BigNum;
use openssl::sha::sha256;
use serde::{Deserialize, Serialize};

use super::right::Right;

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
    pub rights: Vec<Right>,
    /// RFC 3339; never without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// What an entry says.
#[derive(Debug)]
pub struct Token {
    pub name: Arc<str>,
    pub(super) digest: [u8; 32],
    rights: Vec<Right>,
    expires: Option<SystemTime>,
}

impl Entry {
    /// # Errors
    /// The field that is wrong, without its value.
    fn token(&self) -> Result<Token, String> {
        let named = |c: u8| c.is_ascii_alphanumeric() || b"._@-".contains(&c);
        if !(1..=MAX_NAME_BYTES).contains(&self.name.len()) || !self.name.bytes().all(named) {
            return Err(format!(
                "name: 1 to {MAX_NAME_BYTES} letters, digits or any of . _ @ - are needed"
            ));
        }
        let digest = digest(&self.sha256).ok_or("sha256: 64 hexadecimal digits are needed")?;
        let expires = self.expires.as_deref().map(DateTime::parse_from_rfc3339);
        let expires = expires.transpose().map_err(|error| {
            format!("expires: {error}; a time like 2030-12-31T23:59:59Z is needed")
        })?;
        Ok(Token {
            name: self.name.as_str().into(),
            digest,
            rights: self.rights.clone(),
            expires: expires.map(SystemTime::from),
        })
    }
}

impl Token {
    pub fn has(&self, right: Right) -> bool {
        self.rights.contains(&right) || self.rights.contains(&Right::All)
    }

    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// All entries and what they say, in the order of the file.
///
/// # Errors
/// The file that cannot be read, or its first line that is wrong.
pub fn read(file: &Path) -> Result<Vec<(Entry, Token)>, String> {
    let text = bounded(file, MAX_TOKENS * MAX_LINE_BYTES);
    parse(file, &text.map_err(|e| format!("{}: {e}", file.display()))?)
}

fn parse(file: &Path, text: &str) -> Result<Vec<(Entry, Token)>, String> {
    let mut all: Vec<(Entry, Token)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: String| format!("{}: line {}: {what}", file.display(), number + 1);
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
        let same =
            |(_, other): &&(Entry, Token)| other.name == token.name || other.digest == token.digest;
        if let Some((_, other)) = all.iter().find(same) {
            return Err(wrong(format!("the same name or sha256 as {}", other.name)));
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
/// What is wrong with the file, as it is or would be; it is then as it was.
pub fn change(file: &Path, change: impl FnOnce(&mut Vec<Entry>)) -> Result<(), String> {
    // Where a link leads.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let turn = File::open(folder).map_err(failed)?;
    turn.lock().map_err(failed)?;
    let old = fs::metadata(file).ok();
    let all = old.as_ref().map_or(Ok(Vec::new()), |_| read(file))?;
    let mut entries = all.into_iter().map(|(entry, _)| entry).collect();
    change(&mut entries);
    let mut text = String::new();
    for entry in &entries {
        text += &serde_json::to_string(entry).map_err(|error| error.to_string())?;
        text.push('\n');
    }
    // What would be refused when it is read is not written.
    parse(file, &text)?;
    // Made with mode 0600.
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    // Whoever reads it has to be able to read the new one.
    if let Some(old) = old {
        fchown(new.as_file(), Some(old.uid()), Some(old.gid())).map_err(failed)?;
    }
    new.persist(file).map_err(|error| failed(error.error))?;
    turn.sync_all().map_err(failed)
}

/// A token's hash, as an entry has it.
pub fn hash(token: &[u8]) -> String {
    let hex = |byte: &u8| format!("{byte:02x}");
    sha256(token).iter().map(hex).collect()
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let well_formed = hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit());
    let number = well_formed.then(|| BigNum::from_hex_str(hex).ok())??;
    number.to_vec_padded(32).ok()?.try_into().ok()
}
