//! Logs in SQLite and PostgreSQL: replicas, messages, and the table itself.

use std::path::Path;

use messenger::history::load::run::{self, Answered, Config, Outcome};
use serde_json::{Value, json};

use super::http::{Answer, post};
use super::nanos;
use super::postgres::Database;
use super::process::Process;
use super::programs::{Log, Program};

/// Where a log is.
pub enum Store {
    Sqlite(tempfile::TempDir),
    Postgres(Database),
    /// On a server that the test itself starts and stops.
    Url(String),
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    pub number: i64,
    pub sender: String,
    pub text: String,
    pub sent_at: i64,
    pub sender_count: i64,
}

const SELECT: &str =
    "SELECT number, sender, text, sent_at, sender_count FROM messages ORDER BY number";

impl Store {
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn postgres() -> Self {
        Self::Postgres(Database::new())
    }

    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(Database { url, .. }) | Self::Url(url) => Some(url),
        }
    }

    /// A replica, with these flags and variables.
    pub fn replica(&self, flags: &[&str], variables: &[(&str, &str)]) -> Program {
        Log::listening(self.spawn(flags, variables))
    }

    pub fn replicas(&self, count: usize) -> Vec<Program> {
        (0..count).map(|_| self.replica(&[], &[])).collect()
    }

    /// Does not wait until it listens.
    pub fn spawn(&self, flags: &[&str], variables: &[(&str, &str)]) -> Process {
        match self {
            Self::Sqlite(folder) => {
                let folder = folder.path().to_str().expect("a path in UTF-8");
                Log::spawn(&[&["--data-dir", folder], flags].concat(), variables)
            }
            Self::Postgres(Database { url, .. }) | Self::Url(url) => {
                let url = ("DATABASE_URL", url.as_str());
                Log::spawn(flags, &[&[url], variables].concat())
            }
        }
    }

    pub fn sqlite_connection(folder: &tempfile::TempDir) -> rusqlite::Connection {
        Self::sqlite_file(folder.path())
    }

    fn sqlite_file(folder: &Path) -> rusqlite::Connection {
        let file = folder.join("history.sqlite3");
        rusqlite::Connection::open(file).expect("the file of the log")
    }

    pub fn postgres_connection(url: &str) -> postgres::Client {
        postgres::Client::connect(url, postgres::NoTls).expect("the database of the log")
    }

    /// The whole table, past the service.
    pub fn table(&self) -> Vec<Row> {
        match self {
            Self::Sqlite(folder) => Self::sqlite_table(folder.path()),
            Self::Postgres(Database { url, .. }) | Self::Url(url) => {
                let rows = Self::postgres_connection(url).query(SELECT, &[]).unwrap();
                let row = |row: &postgres::Row| Row {
                    number: row.get(0),
                    sender: row.get(1),
                    text: row.get(2),
                    sent_at: row.get(3),
                    sender_count: row.get(4),
                };
                rows.iter().map(row).collect()
            }
        }
    }

    /// The same of a file in this folder.
    pub fn sqlite_table(folder: &Path) -> Vec<Row> {
        let connection = Self::sqlite_file(folder);
        let mut select = connection.prepare(SELECT).unwrap();
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Row {
                number: row.get(0)?,
                sender: row.get(1)?,
                text: row.get(2)?,
                sent_at: row.get(3)?,
                sender_count: row.get(4)?,
            })
        };
        let rows = select.query_map([], row).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Holds the table against the promises, and against what was answered.
    /// Returns how many messages there are.
    pub fn check(&self, answered: &[Answered]) -> usize {
        let table = self.table();
        let mut counts = std::collections::HashMap::new();
        let mut last = 0;
        for (row, number) in table.iter().zip(1..) {
            assert_eq!(row.number, number, "the numbers have no hole");
            assert!(row.sent_at >= last, "dates do not fall: {row:?}");
            last = row.sent_at;
            let count: &mut i64 = counts.entry(&row.sender).or_default();
            *count += 1;
            assert_eq!(row.sender_count, *count, "{row:?}");
        }
        for answered in answered {
            let at = usize::try_from(answered.number - 1).expect("a number from 1");
            let row = table.get(at).map(|row| (&*row.sender, &row.text));
            let expected = Some((answered.sender, &answered.text));
            assert_eq!(row, expected, "an answered message is there");
        }
        table.len()
    }
}

/// The load client with so many requests of 50 workers each. `progress` hears
/// how many are done.
pub fn load(replicas: &[Program], requests: usize, progress: &(dyn Fn(u64) + Sync)) -> Outcome {
    let config = Config {
        token: None,
        replicas: replicas.iter().map(Program::address).collect(),
        tls: None,
        workers: 50,
        requests,
        again: true,
    };
    run::run(&config, progress).expect("a load")
}

pub fn errors(outcome: &Outcome) -> u64 {
    outcome.replicas.iter().map(|replica| replica.errors).sum()
}

/// Nothing contradicts anything, and nothing failed.
pub fn assert_clean(outcome: &Outcome) {
    assert_sound(outcome);
    assert_eq!(errors(outcome), 0, "{:?}", outcome.replicas);
}

pub fn assert_sound(outcome: &Outcome) {
    assert_eq!(outcome.violations.count, 0, "{:?}", outcome.violations);
}

pub fn say(port: u16, sender: &str, text: &str) -> Answer {
    post(
        port,
        "/",
        &json!({"sender": sender, "text": text}).to_string(),
    )
}

/// The messages of an answer: number, sender's count, text. Also checks the
/// shape of each.
pub fn shown(answer: &Answer) -> Vec<(i64, i64, String)> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let messages = answer.json();
    let message = |message: &Value| {
        let keys: Vec<_> = message.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["number", "sender", "senderCount", "sentAt", "text"]);
        let time = message["sentAt"].as_str().unwrap();
        assert!(
            time.len() == 30 && time.ends_with('Z') && nanos(time) > 0,
            "{time}"
        );
        let number = |name: &str| message[name].as_i64().unwrap();
        let text = message["text"].as_str().unwrap().to_owned();
        (number("number"), number("senderCount"), text)
    };
    messages.as_array().unwrap().iter().map(message).collect()
}
