//! `messenger jobs`: one file for each command, and the flags for queue and results
//! that they share.

mod dead;
mod get;
mod list;
mod send;
mod work;

use clap::ValueEnum;

use super::terminal::plain;
use super::{Error, data_dir};
use crate::jobs::job::Job;
use crate::jobs::queue::{self, Broker};
use crate::jobs::results as store;
use crate::jobs::workers::Desk;

/// Send tasks to a queue, work on them, and list the results
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Send(send::Args),
    Work(work::Args),
    List(list::Args),
    Get(get::Get),
    Wait(get::Wait),
    Prune(get::Prune),
    Dead(dead::Args),
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.what {
            What::Send(args) => args.run(),
            What::Work(args) => args.run(),
            What::List(args) => args.run(),
            What::Get(args) => args.run(),
            What::Wait(args) => args.run(),
            What::Prune(args) => args.run(),
            What::Dead(args) => args.run(),
        }
    }
}

/// Where tasks and results are.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Queue and results")]
pub struct Places {
    /// The queue [default: rabbitmq if AMQP_URL is set, else embedded in the data folder]
    #[arg(long, env = "MESSENGER_QUEUE", value_name = "KIND")]
    queue: Option<Kind>,
    // Not a comment of the documentation, where brackets would be a link.
    #[arg(
        help = "RabbitMQ's address, amqps:// for TLS [default: amqp://user:password@localhost:5672]"
    )]
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    amqp_url: Option<String>,
    /// Name of the queue in RabbitMQ; its dead-letter queue is NAME.dead
    #[arg(long, env = "MESSENGER_QUEUE_NAME", default_value = queue::NAME, value_name = "NAME")]
    queue_name: String,
    #[command(flatten)]
    data_dir: data_dir::Args,
    /// PostgreSQL for the results, as postgres://...; a file in the data folder if not given
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    store: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    #[value(name = "rabbitmq")]
    RabbitMq,
    Embedded,
}

/// That of the usual compose file.
const AMQP_URL: &str = "amqp://user:password@localhost:5672";

impl Places {
    pub fn queue(&self) -> Result<queue::Place, Error> {
        // A variable that is set to nothing is as good as none.
        let url = self.amqp_url.as_deref().filter(|url| !url.is_empty());
        let default = url.map_or(Kind::Embedded, |_| Kind::RabbitMq);
        match self.queue.unwrap_or(default) {
            Kind::RabbitMq => {
                let broker = Broker::new(url.unwrap_or(AMQP_URL), &self.queue_name);
                let broker = broker.map_err(|error| format!("AMQP_URL: {error}"))?;
                Ok(queue::Place::RabbitMq(broker))
            }
            Kind::Embedded => Ok(queue::Place::Embedded(self.data_dir.folder()?)),
        }
    }

    pub fn store(&self) -> Result<store::Place, Error> {
        Ok(match self.store.as_deref().filter(|url| !url.is_empty()) {
            Some(url) => store::Place::Postgres(url.to_owned()),
            None => store::Place::Folder(self.data_dir.folder()?),
        })
    }

    pub fn desk(&self) -> Result<Desk, Error> {
        Ok(Desk::open(&self.queue()?, &self.store()?)?)
    }
}

/// The outcome of a job in words.
fn outcome(job: &Job) -> String {
    match (&job.result, &job.error) {
        (Some(result), _) => plain(result),
        (None, Some(error)) => plain(error),
        (None, None) => String::new(),
    }
}
