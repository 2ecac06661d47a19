//! `messenger token`: the file of tokens for `--auth-tokens`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;
use comfy_table::{Table, presets};

use super::{Error, duration};
use crate::access::file::{self, Entry};

/// Make, list and remove tokens, which say who may do what on a server
///
/// A server, bridge or console with --auth-tokens reads the file again when it changes.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args, Debug)]
struct Tokens {
    /// The file of tokens
    #[arg(long, env = "MESSENGER_AUTH_TOKENS", value_name = "FILE")]
    file: PathBuf,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a token and print it, this once: the file has only its hash
    ///
    /// Rights: chat:read, chat:write, todo:read, todo:write, ticker:read, message:call,
    /// jobs:read, jobs:write, history:read, history:write, and * for all.
    #[command(
        after_help = "Examples:\n  messenger token new bridge --right chat:read --right chat:write --file tokens.jsonl > bridge.token\n  messenger token new anna --right '*' --expires 30d --file tokens.jsonl"
    )]
    New {
        /// Its name, for lists, logs and limits
        name: String,
        /// A right that it has; may be repeated
        #[arg(
            long,
            env = "MESSENGER_TOKEN_RIGHTS",
            value_name = "RIGHT",
            value_delimiter = ',',
            required = true
        )]
        right: Vec<String>,
        /// Time after which it is refused; never without it
        #[arg(long, env = "MESSENGER_TOKEN_EXPIRES", value_name = "TIME", value_parser = duration::parse)]
        expires: Option<Duration>,
        #[command(flatten)]
        tokens: Tokens,
    },
    /// Print all tokens, without their secrets
    #[command(after_help = "Examples:\n  messenger token list --file tokens.jsonl")]
    List {
        /// Print one JSON array instead of the table
        #[arg(long, env = "MESSENGER_JSON")]
        json: bool,
        #[command(flatten)]
        tokens: Tokens,
    },
    /// Remove a token: streams that run on it end within a second
    #[command(after_help = "Examples:\n  messenger token remove bridge --file tokens.jsonl")]
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        tokens: Tokens,
    },
}

/// Random bytes of a token.
const SECRET_BYTES: usize = 32;

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.command {
            Command::New {
                name,
                right,
                expires,
                tokens,
            } => {
                let token = secret()?;
                let expires = expires.map(|time| DateTime::<Utc>::from(SystemTime::now() + time));
                let entry = Entry {
                    name: name.clone(),
                    sha256: file::hash(&token),
                    rights: right.clone(),
                    expires: expires.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)),
                };
                entry.token()?;
                file::change(&tokens.file, |entries| {
                    if entries.iter().any(|entry| entry.name == *name) {
                        return Err(format!("there is a token {name} already; remove it first"));
                    }
                    entries.push(entry);
                    Ok(())
                })?;
                println!("{token}");
            }
            Command::List { json, tokens } => list(&file::read(&tokens.file)?, *json)?,
            Command::Remove { name, tokens } => {
                file::change(&tokens.file, |entries| {
                    let before = entries.len();
                    entries.retain(|entry| entry.name != *name);
                    let found = entries.len() < before;
                    found
                        .then_some(())
                        .ok_or(format!("there is no token {name}"))
                })?;
                println!("removed {name}");
            }
        }
        Ok(())
    }
}

fn list(entries: &[Entry], json: bool) -> Result<(), Error> {
    if json {
        println!("{}", serde_json::to_string(entries)?);
        return Ok(());
    }
    let mut table = Table::new();
    let header = ["name", "rights", "expires"];
    table.load_style(presets::NOTHING).set_header(header);
    for entry in entries {
        let expired = entry.token()?.has_expired(SystemTime::now());
        let expires = entry.expires.as_deref().unwrap_or("never");
        let expires = format!("{expires}{}", if expired { " (expired)" } else { "" });
        table.add_row([entry.name.clone(), entry.rights.join(" "), expires]);
    }
    println!("{table}");
    Ok(())
}

/// A token that nobody can guess; the prefix tells people and scanners what it is.
fn secret() -> Result<String, Error> {
    let mut bytes = [0; SECRET_BYTES];
    openssl::rand::rand_bytes(&mut bytes)?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    Ok(digits.fold("messenger_".to_owned(), |token, digits| token + &digits))
}
