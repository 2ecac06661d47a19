//! `messenger history`: the log, and its load.

pub mod load;
mod serve;

use std::time::Duration;

use super::{Error, data_dir, duration};
use crate::history::database::Database;

/// Run a message log over HTTP, or put load on one and check its answers
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Serve(Box<serve::Args>),
    /// Bring the log's schema up to date, for replicas whose role may not
    #[command(
        after_help = "Examples:\n  DATABASE_URL=postgresql://owner@db/log messenger history migrate"
    )]
    Migrate(Place),
    Load(load::Args),
}

/// Where the log is.
#[derive(clap::Args, Debug)]
pub struct Place {
    /// PostgreSQL, as postgresql://USER:PASSWORD@HOST:PORT/NAME; SQLite in the data folder if not given
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    #[command(flatten)]
    data_dir: data_dir::Args,
    /// Maximum wait for the database, of a request and at the start
    #[arg(long, env = "MESSENGER_DATABASE_TIMEOUT", default_value = "5s", value_name = "TIME", value_parser = duration::of_database)]
    database_timeout: Duration,
}

impl Place {
    fn database(&self) -> Result<Database, Error> {
        // Compose files set variables to nothing when they mean none.
        let url = self.database_url.as_ref().filter(|url| !url.is_empty());
        Ok(match url {
            Some(url) => Database::postgres(url, self.database_timeout)?,
            None => Database::sqlite(&self.data_dir.folder()?),
        })
    }
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.what {
            What::Serve(args) => args.run(),
            What::Migrate(place) => Ok(place.database()?.migrate()?),
            What::Load(args) => args.run(),
        }
    }
}
