//! `messenger token`: the file of tokens for `--auth-tokens`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;
use comfy_table::{Table, presets};

use super::{Error, duration};
use crate::access::file::{self, Entry};
use crate::access::{Right, Token};

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
        right: Vec<Right>,
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

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.command {
            Command::New {
                name,
                right,
                expires,
                tokens,
            } => {
                let mut random = [0; 32];
                openssl::rand::rand_bytes(&mut random)?;
                // The prefix tells people and scanners what it is.
                let token = format!("messenger_{}", file::hash(&random));
                let expires = expires.map(|time| DateTime::<Utc>::from(SystemTime::now() + time));
                let entry = Entry {
                    name: name.clone(),
                    sha256: file::hash(token.as_bytes()),
                    rights: right.clone(),
                    expires: expires.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)),
                };
                file::change(&tokens.file, |entries| entries.push(entry))?;
                println!("{token}");
            }
            Command::List { json: true, tokens } => {
                let all = file::read(&tokens.file)?.into_iter();
                let entries: Vec<_> = all.map(|(entry, _)| entry).collect();
                println!("{}", serde_json::to_string(&entries)?);
            }
            Command::List { tokens, .. } => println!("{}", table(&file::read(&tokens.file)?)),
            Command::Remove { name, tokens } => {
                let mut removed = 0;
                file::change(&tokens.file, |entries| {
                    removed = entries.extract_if(.., |entry| entry.name == *name).count();
                })?;
                if removed == 0 {
                    return Err(format!("there is no token {name}").into());
                }
                println!("removed {name}");
            }
        }
        Ok(())
    }
}

fn table(all: &[(Entry, Token)]) -> Table {
    let mut table = Table::new();
    let header = ["name", "rights", "expires"];
    table.load_style(presets::NOTHING).set_header(header);
    for (entry, token) in all {
        let rights: Vec<_> = entry.rights.iter().map(ToString::to_string).collect();
        let expires = entry.expires.clone().unwrap_or("never".into());
        let expired = token.has_expired(SystemTime::now());
        let expires = expires + if expired { " (expired)" } else { "" };
        table.add_row([entry.name.clone(), rights.join(" "), expires]);
    }
    table
}
