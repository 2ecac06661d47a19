//! `messenger todo`: the to-do list from a terminal.

mod menu;

use std::io;
use std::time::Duration;

use clap::Subcommand;

use super::terminal::{plain, print_line};
use super::{Error, duration, signals, target};
use crate::error::Code;
use crate::todo::client::TodoClient;
use crate::todo::list::{Change, Task, TaskList};
use crate::todo::wire;

/// Use the to-do list; with a menu if no command is given
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// Deadline of each call
    #[arg(long, global = true, env = "MESSENGER_TODO_TIMEOUT", default_value = "5s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  messenger todo                          a menu, which also shows what others change
  messenger todo add 'Water the plants'
  messenger todo list
  messenger todo done 1
  messenger todo watch";

#[derive(Subcommand, Debug)]
enum Command {
    /// Add a task, and print it with its id
    #[command(after_help = "Examples:\n  messenger todo add 'Water the plants'")]
    Add {
        /// Title of the task
        title: String,
        /// Print a JSON object
        #[arg(long, env = "MESSENGER_JSON")]
        json: bool,
    },
    /// Print all tasks
    #[command(after_help = "Examples:\n  messenger todo list\n  messenger todo list --json")]
    List {
        /// Print a JSON array
        #[arg(long, env = "MESSENGER_JSON")]
        json: bool,
    },
    /// Complete tasks
    #[command(after_help = "Examples:\n  messenger todo done 1\n  messenger todo done 2 3")]
    Done {
        /// Ids of tasks, as `todo list` shows them
        #[arg(required = true, value_name = "NUMBER")]
        ids: Vec<i32>,
    },
    /// Print changes as they happen
    #[command(
        after_help = "Examples:\n  messenger todo watch\n  messenger todo watch --json | jq .task.title"
    )]
    Watch {
        /// One JSON object a line
        #[arg(long, env = "MESSENGER_JSON")]
        json: bool,
        /// Exit after so many changes
        #[arg(long, env = "MESSENGER_COUNT", value_name = "N")]
        count: Option<u64>,
    },
}

/// Time for a server that cannot confirm a subscription to register it.
const SETTLE: Duration = Duration::from_millis(200);

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let client = TodoClient::over(self.target.connect()?, self.timeout);
        match &self.command {
            None => return menu::run(&client, &self.target.address.server),
            Some(Command::Add { title, json }) => {
                let task = client.add(title)?;
                if *json {
                    println!("{}", wire::task_json(&task));
                } else {
                    println!("{}", line(&task, 0));
                }
            }
            Some(Command::List { json }) => {
                let list = client.list()?;
                if *json {
                    let tasks = list.tasks().iter().map(wire::task_json);
                    println!("{}", tasks.collect::<serde_json::Value>());
                } else {
                    print_list(&list);
                }
            }
            Some(Command::Done { ids }) => {
                for id in ids {
                    let done = client.complete(*id);
                    done.map_err(|error| format!("{id}: {error}"))?;
                    println!("completed {id}");
                }
            }
            Some(Command::Watch { json, count }) => {
                return self.watch(&client, *json, count.unwrap_or(u64::MAX));
            }
        }
        Ok(())
    }

    fn watch(&self, client: &TodoClient, json: bool, count: u64) -> Result<(), Error> {
        let stop = signals::stop()?;
        let (mut stream, _) = client.watch(SETTLE)?;
        let abort = stream.abort_handle();
        signals::on_stop(stop, "watch-stop", move || abort.abort())?;
        eprintln!("watching {}", self.target.address.server);
        let mut out = io::stdout().lock();
        for _ in 0..count {
            let change = match stream.recv() {
                Ok(change) => change,
                Err(error) if error.code == Code::Cancelled => break,
                Err(error) => return Err(error.into()),
            };
            let line = if json {
                wire::change_json(&change).to_string()
            } else {
                told(&change)
            };
            if !print_line(&mut out, &line)? {
                break;
            }
        }
        Ok(())
    }
}

fn print_list(list: &TaskList) {
    let width = list.tasks().last().map_or(0, |t| t.id.to_string().len());
    for task in list.tasks() {
        println!("{}", line(task, width));
    }
    if list.tasks().is_empty() {
        println!("nothing to do");
    }
}

fn line(task: &Task, width: usize) -> String {
    let mark = if task.completed { 'x' } else { ' ' };
    format!("[{mark}] {:>width$}  {}", task.id, plain(&task.title))
}

fn told(change: &Change) -> String {
    let name = wire::action_name(change.action).to_lowercase();
    let Task { id, title, .. } = &change.task;
    format!("{name:<9}  {id}  {}", plain(title))
}
