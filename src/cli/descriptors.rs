//! The process's limit of open files, which may be below our limits of connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a process needs besides connections: listeners, epoll, lanes.
const RESERVE: u64 = 128;

/// Raises the soft limit to the hard one; to be called at the start.
pub fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // Where that is forbidden, the limit stays what it was.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Warns when the limit allows fewer connections than were configured.
pub fn check_limit(wanted: usize) {
    let limit = getrlimit(Resource::Nofile).current;
    let allowed = limit.map(|limit| limit.saturating_sub(RESERVE));
    if let Some(allowed) = allowed.filter(|allowed| *allowed < wanted as u64) {
        tracing::warn!(
            wanted,
            allowed,
            "the limit of open files (ulimit -n) allows fewer connections than configured"
        );
    }
}
