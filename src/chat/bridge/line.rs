//! Flushes that wait for messages: the front's line before the bridge's loop. Each waits on
//! the thread of its own connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::postbox::{self, Postbox};
use super::prefer::Preference;
use crate::http::{self, Asked, Turn};
use crate::metrics;

/// In order of arrival, each until its messages are in the postbox or its time is over.
pub struct Line(pub Arc<Postbox>);

struct Place {
    place: postbox::Place,
    until: Instant,
    _counted: metrics::Held,
}

impl http::Line for Line {
    fn join(&self, asked: &Asked<'_>) -> Option<Box<dyn http::Place>> {
        if (asked.method, asked.path) != ("POST", "/getAndFlushMessages") {
            return None;
        }
        let preference = Preference::of(asked)?;
        Some(Box::new(Place {
            place: Postbox::line_up(&self.0, preference.least),
            until: Instant::now() + preference.wait,
            _counted: metrics::hold(&metrics::WAITING, &[]),
        }))
    }
}

impl http::Place for Place {
    fn wait(&mut self, timeout: Duration) -> Turn {
        let left = self.until.saturating_duration_since(Instant::now());
        match !left.is_zero() && self.place.wait(timeout.min(left)) {
            true => Turn::Ready,
            false if left <= timeout => Turn::Over,
            false => Turn::NotYet,
        }
    }
}
