//! "web-todo": the list and its changes.

use std::convert::Infallible;

use super::{Feed, Link};
use crate::console::SETTLE;
use crate::console::event::Service;
use crate::console::hub::Hub;
use crate::error::Error;
use crate::todo::client::TodoClient;

pub struct TodoFeed {
    pub client: TodoClient,
}

impl Feed for TodoFeed {
    const SERVICE: Service = Service::Todo;

    /// The list is fetched after its changes are being watched, so none is missing;
    /// applying one that is in the list already is idempotent.
    fn follow(&mut self, hub: &Hub, link: &Link) -> Result<Infallible, Error> {
        let (mut stream, _) = self.client.watch(SETTLE)?;
        let handle = stream.abort_handle();
        link.opened(move || handle.abort());
        hub.set_tasks(self.client.list()?);
        link.live(hub, Service::Todo);
        loop {
            hub.task(&stream.recv()?);
        }
    }
}
