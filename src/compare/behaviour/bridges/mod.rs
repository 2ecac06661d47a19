//! What a bridge is asked, over HTTP.

mod connections;
mod flushes;
mod outages;
mod requests;
mod sends;

use super::check::Check;

/// In the order of the table.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    let groups: [&'static [Check]; 5] = [
        sends::CHECKS,
        flushes::CHECKS,
        requests::CHECKS,
        connections::CHECKS,
        outages::CHECKS,
    ];
    groups.into_iter().flatten()
}
