//! A PostgreSQL "a" with a streaming standby "b", which is promoted when "a" is gone.

use messenger::compare::load::postgres::Cluster;

use super::history::Store;
use super::postgres::cluster;
use super::{SOON, eventually};

/// Both are stopped and removed when this is dropped.
pub struct Pair(Cluster);

impl Pair {
    /// Commits do not wait for the standby.
    pub fn start() -> Self {
        let pair = Self::of_compose();
        let mut a = pair.at_a();
        // Not in one transaction.
        let reset = "ALTER SYSTEM RESET synchronous_standby_names";
        a.batch_execute(reset).unwrap();
        a.batch_execute("SELECT pg_reload_conf()").unwrap();
        pair.wait_for("sync_state = 'async'");
        pair
    }

    /// By the scripts of `docker/several.yaml`: commits wait.
    pub fn of_compose() -> Self {
        let mut pair = Self(cluster(&[]));
        pair.order("copy_b");
        pair.wait_for("application_name = 'standby' AND sync_state = 'sync'");
        pair
    }

    /// `stop_b`, `start_b`, `promote_b` or `crash_a`; returns when it is done.
    pub fn order(&mut self, order: &str) {
        let order = order.strip_suffix("_a").unwrap_or(order);
        self.0
            .order(order)
            .unwrap_or_else(|e| panic!("{order}: {e}"));
    }

    /// A new database, at whichever of them takes writes.
    pub fn create(&self) -> String {
        self.0.create("chat").expect("a database to be made");
        let [a, b] = self.0.ports();
        format!("postgresql://postgres@127.0.0.1:{a},127.0.0.1:{b}/chat")
    }

    fn at_a(&self) -> postgres::Client {
        Store::postgres_connection(&self.0.url())
    }

    /// Waits until the standby has all that there is.
    pub fn wait_until_replicated(&self) {
        self.wait_for("replay_lsn = pg_current_wal_lsn()");
    }

    fn wait_for(&self, condition: &str) {
        let mut a = self.at_a();
        let select = format!("SELECT 1 FROM pg_stat_replication WHERE {condition}");
        eventually(SOON, condition, || {
            !a.query(&select, &[]).unwrap().is_empty()
        });
    }
}
