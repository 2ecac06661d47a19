//! The menu: prompts on the terminal, and shows changes by other people while it
//! waits. Two threads read lines and changes; only the main thread prints.

use std::collections::HashSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{SETTLE, line, print_list, told};
use crate::cli::{Error, signals, terminal};
use crate::error::Error as Refusal;
use crate::retry::Retry;
use crate::sync::spawn;
use crate::todo::client::TodoClient;
use crate::todo::list::{Action, Change};

const MENU: &str = "  1  add a task
  2  list tasks
  3  complete a task
  4  exit";

/// The first and the longest wait between two tries to watch.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What the watching thread has to say.
enum News {
    Change(Change),
    Lost(Refusal),
    Back,
}

/// What the next line means.
#[derive(Clone, Copy)]
enum Prompt {
    Choice,
    Title,
    Number,
}

struct Menu<'a> {
    client: &'a TodoClient,
    prompt: Prompt,
    /// This menu's own changes, which are not printed again.
    own: HashSet<(i32, Action)>,
}

/// Asks until the choice is 4, or there are no more lines.
pub fn run(client: &TodoClient, server: &str) -> Result<(), Error> {
    let stop = signals::stop()?;
    let news = watch(client)?;
    let lines = terminal::input()?;
    println!("To-do list on {server}\n{MENU}");
    let mut menu = Menu {
        client,
        prompt: Prompt::Choice,
        own: HashSet::new(),
    };
    loop {
        menu.ask()?;
        select! {
            recv(lines) -> line => match line {
                Ok(line) if menu.answer(line.trim()) => {}
                _ => return Ok(()),
            },
            recv(news) -> news => menu.tell(news?),
            recv(stop) -> _ => {
                println!();
                return Ok(());
            }
        }
    }
}

impl Menu<'_> {
    fn ask(&self) -> io::Result<()> {
        print!(
            "{}",
            match self.prompt {
                Prompt::Choice => "> ",
                Prompt::Title => "title: ",
                Prompt::Number => "number: ",
            }
        );
        io::stdout().flush()
    }

    /// Returns whether to go on.
    fn answer(&mut self, line: &str) -> bool {
        let prompt = std::mem::replace(&mut self.prompt, Prompt::Choice);
        let done = match (prompt, line) {
            (Prompt::Choice, "1") => {
                self.prompt = Prompt::Title;
                Ok(())
            }
            (Prompt::Choice, "2") => self.client.list().map(|list| print_list(&list)),
            (Prompt::Choice, "3") => {
                self.prompt = Prompt::Number;
                Ok(())
            }
            (Prompt::Choice, "4") => return false,
            (Prompt::Choice, _) => {
                println!("{MENU}");
                Ok(())
            }
            (Prompt::Title, title) => self.add(title),
            (Prompt::Number, number) => self.complete(number),
        };
        if let Err(error) = done {
            println!("{}", error.message);
        }
        true
    }

    fn add(&mut self, title: &str) -> Result<(), Refusal> {
        let task = self.client.add(title)?;
        println!("{}", line(&task, 0));
        self.own.insert((task.id, Action::Added));
        Ok(())
    }

    fn complete(&mut self, number: &str) -> Result<(), Refusal> {
        let number = number
            .parse()
            .map_err(|_| Refusal::invalid(format!("{number:?} is no task's number")))?;
        self.client.complete(number)?;
        println!("completed {number}");
        self.own.insert((number, Action::Completed));
        Ok(())
    }

    fn tell(&mut self, news: News) {
        // Over the prompt, which follows again.
        let start = if io::stdout().is_terminal() {
            "\r\x1b[K"
        } else {
            "\n"
        };
        match news {
            News::Change(change) => {
                if self.own.remove(&(change.task.id, change.action)) {
                    print!("{start}");
                } else {
                    println!("{start}{}", told(&change));
                }
            }
            News::Lost(error) => println!("{start}the server is away: {}", error.message),
            News::Back => println!("{start}the server is back; 2 lists what there is now"),
        }
    }
}

/// Watches until the menu ends, on the thread "todo-watch".
fn watch(client: &TodoClient) -> Result<Receiver<News>, Error> {
    let (sender, news) = bounded(1024);
    let client = client.clone();
    spawn("todo-watch", move || {
        // It ends with the menu, which has the other end.
        let _ = keep_watching(&client, &sender);
    })?;
    Ok(news)
}

fn keep_watching(
    client: &TodoClient,
    news: &Sender<News>,
) -> Result<(), crossbeam_channel::SendError<News>> {
    let mut retry = Retry::new(BACKOFF.0, BACKOFF.1);
    let mut away = false;
    loop {
        let error = match client.watch(SETTLE) {
            Ok((mut stream, _)) => {
                if std::mem::take(&mut away) {
                    news.send(News::Back)?;
                }
                retry.succeeded();
                loop {
                    match stream.recv() {
                        Ok(change) => news.send(News::Change(change))?,
                        Err(error) => break error,
                    }
                }
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut away, true) {
            news.send(News::Lost(error))?;
        }
        // Nothing notifies us when the server is back.
        thread::sleep(retry.next_wait());
    }
}
