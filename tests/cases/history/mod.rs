//! The message log, on SQLite and on a real PostgreSQL.

mod api;
mod clock;
mod exact;
mod follow;
mod load;
mod outages;
mod schema;
mod speed;
