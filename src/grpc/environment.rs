//! The completion queues of a process, and the C core's event engine.

use std::sync::{Arc, OnceLock};

use grpcio::{Channel, EnvBuilder, Environment};

/// So many completion queues; their threads are named "NAME-0" and so on.
///
/// With its last channel the C core would give up its event engine, which takes up to
/// a second, and for as long as the system's clock was set back meanwhile: it waits
/// until a time of that clock (`OriginalThreadPool::Quiesce`, C core 1.56). So one
/// channel, which leads nowhere, is kept until the process ends.
pub fn environment(name: &str, queues: usize) -> Arc<Environment> {
    static KEPT: OnceLock<Channel> = OnceLock::new();
    let builder = EnvBuilder::new().cq_count(queues.max(1)).name_prefix(name);
    let environment = Arc::new(builder.build());
    KEPT.get_or_init(|| Channel::lame(environment.clone(), "keeps the event engine"));
    environment
}
