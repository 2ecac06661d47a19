//! "web-todo": the list and its changes.

use std::convert::Infallible;

use super::{Feed, Link, Settings};
use crate::console::event::Service;
use crate::console::hub::Hub;
use crate::error::Error;
use crate::grpc::client::Connection;
use crate::todo::client::TodoClient;

pub struct TodoFeed {
    client: TodoClient,
    settings: Settings,
}

impl TodoFeed {
    pub fn new(connection: &Connection, settings: &Settings) -> Self {
        Self {
            client: TodoClient::over(connection.clone(), settings.call_timeout),
            settings: settings.clone(),
        }
    }
}

impl Feed for TodoFeed {
    const SERVICE: Service = Service::Todo;
    const THREAD: &'static str = "web-todo";

    /// The list is fetched when its changes are watched, so none is missing; one
    /// that is in the list already changes nothing when it comes.
    fn follow(&mut self, hub: &Hub, link: &Link) -> Result<Infallible, Error> {
        let (mut stream, _) = self.client.watch(self.settings.settle)?;
        let handle = stream.abort_handle();
        link.opened(move || handle.abort());
        hub.set_tasks(self.client.list()?);
        link.live(hub, Service::Todo);
        loop {
            hub.task(&stream.recv()?);
        }
    }
}
