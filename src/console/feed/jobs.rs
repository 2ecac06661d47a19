//! "web-jobs": polls the newest jobs and the queue's depth, once for all pages and
//! only while there are any.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::{Feed, Link};
use crate::console::event::Service;
use crate::console::hub::Hub;
use crate::console::jobs;
use crate::error::Error;
use crate::jobs::client::Desk;

/// Poll interval: neither queue nor store notify us of changes.
const LOOK: Duration = Duration::from_millis(500);

pub struct JobsFeed {
    pub jobs: Arc<Desk>,
}

impl Feed for JobsFeed {
    const SERVICE: Service = Service::Jobs;

    fn follow(&mut self, hub: &Hub, link: &Link) -> Result<Infallible, Error> {
        let (end, ended) = bounded::<()>(0);
        link.opened(move || drop(end));
        let mut first = true;
        loop {
            if first || hub.has_pages() {
                hub.jobs(&jobs::state(&self.jobs)?);
            }
            if std::mem::take(&mut first) {
                link.live(hub, Service::Jobs);
            }
            if ended.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                return Err(Error::shutting_down());
            }
        }
    }
}
