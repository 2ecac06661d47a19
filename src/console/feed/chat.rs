//! "web-chat": what is said.

use std::convert::Infallible;

use super::{Feed, Link, Settings};
use crate::chat::client::ChatClient;
use crate::console::event::Service;
use crate::console::hub::Hub;
use crate::error::Error;
use crate::grpc::client::Connection;

pub struct ChatFeed {
    client: ChatClient,
    settings: Settings,
    /// An earlier stream was live, so messages may have come between.
    lost: bool,
}

impl ChatFeed {
    pub fn new(connection: &Connection, settings: &Settings) -> Self {
        Self {
            client: ChatClient::over(connection.clone()),
            settings: settings.clone(),
            lost: false,
        }
    }
}

impl Feed for ChatFeed {
    const SERVICE: Service = Service::Chat;
    const THREAD: &'static str = "web-chat";

    fn follow(&mut self, hub: &Hub, link: &Link) -> Result<Infallible, Error> {
        let Settings {
            call_timeout,
            settle,
        } = self.settings;
        let (mut stream, _) = self.client.subscribe(call_timeout, settle)?;
        let handle = stream.abort_handle();
        link.opened(move || handle.abort());
        if std::mem::replace(&mut self.lost, true) {
            hub.gap();
        }
        link.live(hub, Service::Chat);
        loop {
            hub.chat(&stream.recv()?);
        }
    }
}
