//! "web-history": the message log.

use std::convert::Infallible;

use super::{Feed, Link};
use crate::console::event::Service;
use crate::console::hub::Hub;
use crate::console::log::{Log, MESSAGES};
use crate::error::{Code, Error};
use crate::history::client::HistoryClient;

pub struct HistoryFeed {
    pub client: HistoryClient,
}

impl Feed for HistoryFeed {
    const SERVICE: Service = Service::History;

    /// The stream goes on after the newest message that was fetched, so none is
    /// missing. The senders are fetched afterwards: they may be ahead, and
    /// counts only rise.
    fn follow(&mut self, hub: &Hub, link: &Link) -> Result<Infallible, Error> {
        let messages = self.client.newest(MESSAGES)?;
        let senders = self.client.senders()?;
        let mut last = messages.last().map_or(0, |message| message.number);
        let mut stream = self.client.follow(last)?;
        link.opened(stream.closer());
        hub.set_log(Log::new(&messages, senders));
        link.live(hub, Service::History);
        loop {
            let message = stream.recv(|| hub.prove(Service::History))?;
            if message.number != last + 1 {
                let message = format!("number {} came after {last}", message.number);
                return Err(Error::new(Code::DataLoss, message));
            }
            last = message.number;
            hub.entry(&message);
        }
    }
}
