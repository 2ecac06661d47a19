//! Places where the process can be made to die on purpose, for tests of what
//! survives that: `MESSENGER_FAILPOINT=before-ack` aborts it there, as a crash
//! would. Always compiled, so that what is tested is what runs; a place that is
//! not named costs one look at a static.

use std::sync::OnceLock;

/// Where.
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

/// Aborts the process if this is the place that the variable names.
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
