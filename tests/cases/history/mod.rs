//! The message log, on SQLite and on a real PostgreSQL.

mod addresses;
mod api;
mod clock;
mod exact;
mod follow;
mod keys;
mod lanes;
mod load;
mod outages;
mod poison;
mod poolers;
mod retention;
mod schema;
mod silence;
mod snapshot;
mod speed;
