//! Failpoints, where tests crash the process: `MESSENGER_FAILPOINT=before-ack` aborts
//! it there. Always compiled, so that what is tested is what runs; a failpoint that
//! is not named costs one read of a static.

use std::sync::OnceLock;

/// A failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    BeforePublish,
    BeforeConfirm,
    AfterProcessing,
    AfterStore,
    BeforeAck,
}

const NAMES: [(&str, Point); 5] = [
    ("before-publish", Point::BeforePublish),
    ("before-confirm", Point::BeforeConfirm),
    ("after-processing", Point::AfterProcessing),
    ("after-store", Point::AfterStore),
    ("before-ack", Point::BeforeAck),
];

/// Aborts the process if the variable names this failpoint.
pub fn reach(point: Point) {
    static CHOSEN: OnceLock<Option<Point>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("MESSENGER_FAILPOINT").ok()?;
        let known = NAMES.iter().find(|(known, _)| *known == name);
        if known.is_none() {
            tracing::error!("MESSENGER_FAILPOINT: there is no {name:?}");
        }
        known.map(|(_, point)| *point)
    });
    if *chosen == Some(point) {
        std::process::abort();
    }
}
