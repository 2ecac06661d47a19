//! "web-chat": the chat's messages.

use std::convert::Infallible;
use std::time::Duration;

use super::{Feed, Link};
use crate::chat::client::{ChatClient, Cursor};
use crate::console::Config;
use crate::console::event::Service;
use crate::console::hub::Hub;
use crate::error::Error;

pub struct ChatFeed {
    client: ChatClient,
    call_timeout: Duration,
    settle: Duration,
    /// An earlier stream was live, so messages may have been missed since, unless the
    /// server resumes there.
    lost: bool,
    cursor: Option<Cursor>,
}

impl ChatFeed {
    pub fn new(client: ChatClient, config: &Config) -> Self {
        Self {
            client,
            call_timeout: config.call_timeout,
            settle: config.settle,
            lost: false,
            cursor: None,
        }
    }
}

impl Feed for ChatFeed {
    const SERVICE: Service = Service::Chat;

    fn follow(&mut self, hub: &Hub, link: &Link) -> Result<Infallible, Error> {
        let (after, wait) = (self.cursor.as_ref(), self.call_timeout);
        let (mut stream, _) = self.client.subscribe_after(after, wait, self.settle)?;
        let handle = stream.abort_handle();
        link.opened(move || handle.abort());
        if std::mem::replace(&mut self.lost, true) && !stream.resumed() {
            hub.gap();
        }
        link.live(hub, Service::Chat);
        loop {
            self.cursor = stream.cursor().cloned();
            hub.chat(&stream.recv()?);
        }
    }
}
