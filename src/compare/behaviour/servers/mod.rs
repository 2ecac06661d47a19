//! What a server is asked, over gRPC.

mod calls;
mod order;
mod process;
mod readers;
mod text;

use super::check::Check;

/// In the order of the table.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    let groups: [&'static [Check]; 5] = [
        order::CHECKS,
        text::CHECKS,
        calls::CHECKS,
        readers::CHECKS,
        process::CHECKS,
    ];
    groups.into_iter().flatten()
}
