//! "web-chat": the chat's messages.

use std::convert::Infallible;

use super::{Feed, Link};
use crate::chat::client::{ChatClient, Cursor};
use crate::console::event::Service;
use crate::console::hub::Hub;
use crate::console::{CALL_TIMEOUT, SETTLE};
use crate::error::Error;

pub struct ChatFeed {
    client: ChatClient,
    /// An earlier stream was live, so messages may have been missed since, unless the
    /// server resumes there.
    lost: bool,
    cursor: Option<Cursor>,
}

impl ChatFeed {
    pub fn new(client: ChatClient) -> Self {
        Self {
            client,
            lost: false,
            cursor: None,
        }
    }
}

impl Feed for ChatFeed {
    const SERVICE: Service = Service::Chat;

    fn follow(&mut self, hub: &Hub, link: &Link) -> Result<Infallible, Error> {
        let after = self.cursor.as_ref();
        let subscribed = self.client.subscribe_after(after, CALL_TIMEOUT, SETTLE);
        let (mut stream, _) = subscribed?;
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
