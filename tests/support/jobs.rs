//! A queue and a store of one test, and the commands that use them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::time::Duration;

use messenger::jobs::queue::{self, Broker, Outgoing, Queue};
use messenger::jobs::results as store;
use messenger::jobs::task::{self, Task};
use messenger::jobs::workers::Desk;
use messenger::key;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, command};
use super::programs::Python;
use super::{SOON, eventually, rabbitmq};

/// What anything may take that waits for a store, a broker and a server.
pub const A_WHILE: Duration = Duration::from_secs(60);

pub struct Place {
    /// `None` is the embedded queue.
    broker: Option<String>,
    queue: String,
    folder: TempDir,
    /// `--store`, if it is not a file.
    pub store: Option<String>,
}

impl Place {
    /// On the broker that all tests share.
    pub fn rabbitmq() -> Self {
        Self::at(&rabbitmq::shared())
    }

    pub fn at(broker: &str) -> Self {
        Self {
            broker: Some(broker.to_owned()),
            ..Self::embedded()
        }
    }

    pub fn embedded() -> Self {
        Self {
            broker: None,
            queue: format!("test-{}", key::random()),
            folder: tempfile::tempdir().expect("a folder"),
            store: None,
        }
    }

    /// The data folder.
    pub fn folder(&self) -> String {
        self.folder.path().to_string_lossy().into_owned()
    }

    /// `messenger jobs ...` here; standard output is all that is said.
    pub fn jobs<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Process {
        self.jobs_with(arguments, &[])
    }

    pub fn jobs_with<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
        variables: &[(&str, &str)],
    ) -> Process {
        let mut command = command(env!("CARGO_BIN_EXE_messenger"));
        command.arg("jobs").args(arguments);
        command.args(["--log-level", "debug", "--queue-name", &self.queue]);
        command.arg("--data-dir").arg(self.folder.path());
        if let Some(broker) = &self.broker {
            command.env("AMQP_URL", broker);
        }
        if let Some(store) = &self.store {
            command.env("DATABASE_URL", store);
        }
        command.envs(variables.iter().copied());
        Process::spawn(command)
    }

    /// Sends; returns the ids, in order.
    pub fn send<A: AsRef<OsStr>>(&self, tasks: &[A]) -> Vec<String> {
        let (code, lines) = self.try_send(tasks);
        assert_eq!((code, lines.len()), (0, tasks.len()));
        lines
    }

    /// The exit code, and the ids of what is said to be sent.
    pub fn try_send<A: AsRef<OsStr>>(&self, tasks: &[A]) -> (i32, Vec<String>) {
        let tasks = tasks.iter().map(AsRef::as_ref);
        let arguments: Vec<&OsStr> = [OsStr::new("send")].into_iter().chain(tasks).collect();
        let mut sender = self.jobs(&arguments);
        let mut ids = Vec::new();
        while let Some(line) = sender.line(A_WHILE) {
            let mut words = line.split(' ');
            assert_eq!(words.next(), Some("sent"), "{line}");
            ids.push(words.next().expect("an id").to_owned());
        }
        (sender.wait_exit(A_WHILE), ids)
    }

    /// A worker for the server at this address.
    pub fn work(&self, server: &str, flags: &[&str]) -> Process {
        let arguments = [&["work", "--target", server], flags].concat();
        self.jobs(&arguments)
    }

    /// The jobs, newest first.
    pub fn list(&self, flags: &[&str]) -> Vec<Value> {
        let mut lister = self.jobs(&[&["list", "--json"], flags].concat());
        let text = everything(&lister);
        assert_eq!(lister.wait_exit(SOON), 0, "{}", lister.log());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// The jobs that are over, by their ids, when there are so many.
    pub fn wait_for(&self, count: usize) -> HashMap<String, Value> {
        let mut over = Vec::new();
        eventually(A_WHILE, &format!("{count} jobs are over"), || {
            over = self.list(&[]);
            over.retain(|job| job["state"] != "queued");
            over.len() >= count
        });
        assert_eq!(over.len(), count, "{over:?}");
        let jobs = over.into_iter().map(|job| (text(&job["id"]), job));
        jobs.collect()
    }

    pub fn dead(&self, arguments: &[&str]) -> String {
        let mut process = self.jobs(&[&["dead"], arguments].concat());
        let text = everything(&process);
        assert_eq!(process.wait_exit(A_WHILE), 0, "{}", process.log());
        text
    }

    /// The same place from within this process.
    pub fn desk(&self) -> Desk {
        let folder = self.folder.path().to_owned();
        Desk::open(&self.queue(), &store::Place::Folder(folder)).unwrap()
    }

    /// Puts one message into the queue, as it is.
    pub fn publish(&self, id: &str, body: &str) {
        let queue = Queue::open(&self.queue()).unwrap();
        let message = Outgoing {
            id: id.into(),
            ..Outgoing::new(body.into())
        };
        queue.publish(vec![message], A_WHILE).unwrap();
    }

    fn queue(&self) -> queue::Place {
        match &self.broker {
            Some(url) => queue::Place::RabbitMq(Broker::new(url, &self.queue).unwrap()),
            None => queue::Place::Embedded(self.folder.path().to_owned()),
        }
    }

    /// What a few lines of Python write, which have a `channel`, the name of the `queue`,
    /// and pika.
    pub fn pika(&self, script: &str) -> String {
        let begin = "import os, pika\n\
            connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))\n\
            channel, queue = connection.channel(), os.environ['TASK_QUEUE']\n";
        let file = self.folder.path().join(format!("{}.py", key::random()));
        let script = format!("{begin}{script}\nconnection.close()\n");
        std::fs::write(&file, script).expect("a script");
        let mut process = self.python(&file.to_string_lossy(), &[], "");
        let text = everything(&process);
        assert_eq!(process.wait_exit(A_WHILE), 0, "{}", process.log());
        text
    }

    /// The same queue and store for another user of the broker.
    pub fn of(&self, url: &str) -> Self {
        Self {
            broker: Some(url.to_owned()),
            queue: self.queue.clone(),
            store: self.store.clone(),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// A plain Python program that uses the queue.
    pub fn python(&self, script: &str, arguments: &[&str], server: &str) -> Process {
        let broker = self.broker.as_deref().expect("a broker");
        let variables = [
            ("AMQP_URL", broker),
            ("TASK_QUEUE", &self.queue),
            ("GRPC_TARGET", server),
        ];
        Python::spawn(script, arguments, &variables)
    }
}

/// All that a process writes until it ends.
pub fn everything(process: &Process) -> String {
    let mut text = String::new();
    while let Some(line) = process.line(A_WHILE) {
        text += &line;
        text.push('\n');
    }
    text
}

pub fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// What the answer to a task that succeeds has to be.
pub fn expected(body: &str) -> String {
    match Task::parse(body).unwrap() {
        Task::Factorial(n) => task::factorial(n).unwrap(),
        Task::MostFrequentLetter(text) => {
            let letter = task::most_frequent_letter(&text).unwrap();
            format!("{} {}", letter.letter, letter.count)
        }
        Task::AssignGroup(user) => task::group(&user).name().into(),
        Task::Process(text) => task::process(&text),
    }
}

/// A test for each kind of queue.
macro_rules! on_both_queues {
    ($($name:ident),* $(,)?) => {
        mod rabbitmq {
            $(#[test] fn $name() { super::$name(crate::support::jobs::Place::rabbitmq()); })*
        }
        mod embedded {
            $(#[test] fn $name() { super::$name(crate::support::jobs::Place::embedded()); })*
        }
    };
}
pub(crate) use on_both_queues;
