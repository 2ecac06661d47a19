//! Where a queue and its results are, seen through this link or that.

use std::path::PathBuf;

use messenger::jobs::queue::{self, Broker, Queue};
use messenger::jobs::results as store;
use messenger::jobs::workers::Desk;

use crate::support::eventually;
use crate::support::jobs::A_WHILE;
use crate::support::process::Process;
use crate::support::programs::messenger_with;

#[derive(Clone)]
pub struct Site {
    /// `None` is the embedded queue.
    pub broker: Option<String>,
    pub queue: String,
    pub folder: PathBuf,
    /// PostgreSQL, if it is not a file in the folder.
    pub store: Option<String>,
}

impl Site {
    /// The same through these ports, or without.
    pub fn through(&self, broker: Option<u16>, store: Option<u16>) -> Self {
        let through = |url: &Option<String>, port: Option<u16>| {
            let url = url.as_ref()?;
            let Some(port) = port else {
                return Some(url.clone());
            };
            let mut url: url::Url = url.parse().expect("a URL");
            url.set_port(Some(port)).expect("a URL with a port");
            Some(url.into())
        };
        Self {
            broker: through(&self.broker, broker),
            store: through(&self.store, store),
            ..self.clone()
        }
    }

    /// `messenger jobs ...`
    pub fn jobs(&self, arguments: &[&str]) -> Process {
        let folder = self.folder.to_string_lossy();
        let place = ["--queue-name", &self.queue, "--data-dir", &folder];
        let broker = self.broker.iter().map(|url| ("AMQP_URL", &**url));
        let store = self.store.iter().map(|url| ("DATABASE_URL", &**url));
        let variables: Vec<_> = broker.chain(store).collect();
        messenger_with(&[&["jobs"], arguments, &place].concat(), &variables)
    }

    pub fn open(&self) -> Queue {
        patiently("the queue is open", || Queue::open(&self.place()))
    }

    pub fn desk(&self) -> Desk {
        let store = match &self.store {
            Some(url) => store::Place::Postgres(url.clone()),
            None => store::Place::Folder(self.folder.clone()),
        };
        patiently("queue and store are open", || {
            Desk::open(&self.place(), &store)
        })
    }

    fn place(&self) -> queue::Place {
        match &self.broker {
            Some(url) => queue::Place::RabbitMq(Broker::new(url, &self.queue).expect("a URL")),
            None => queue::Place::Embedded(self.folder.clone()),
        }
    }
}

/// Faults begin at once: PostgreSQL may be down, or the disk full.
fn patiently<T, E>(what: &str, open: impl Fn() -> Result<T, E>) -> T {
    let mut opened = None;
    eventually(A_WHILE, what, || {
        opened = open().ok();
        opened.is_some()
    });
    opened.expect("it is open")
}
