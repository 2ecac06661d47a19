//! A real PostgreSQL: the one that MESSENGER_TEST_DATABASE_URL names, or else a
//! private cluster that lives as long as some test uses it. Each test has a
//! database of its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use messenger::compare::load::postgres::{Cluster, create};
use postgres::{Client, NoTls};

use super::{SOON, eventually, missing, need};

/// An empty database.
pub struct Database {
    pub url: String,
    _cluster: Option<Arc<Cluster>>,
}

/// A private PostgreSQL with these variables.
pub fn cluster(variables: &[(&str, &str)]) -> Cluster {
    need("PostgreSQL", true);
    Cluster::start(variables).unwrap_or_else(|e| missing(&format!("PostgreSQL ({e})")))
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

impl Database {
    pub fn new() -> Self {
        need("PostgreSQL", true);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{next}", std::process::id());
        if let Ok(url) = std::env::var("MESSENGER_TEST_DATABASE_URL") {
            let url = create(&url, &name).expect("a database to be made");
            let _cluster = None;
            return Self { url, _cluster };
        }
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(cluster(&[]));
            *shared = Arc::downgrade(&cluster);
            cluster
        });
        Self {
            url: cluster.create(&name).expect("a database to be made"),
            _cluster: Some(cluster),
        }
    }
}

/// From now on, commits of this PostgreSQL wait for a standby, which never comes.
pub fn commits_wait_for_nobody(url: &str) {
    let connect = || Client::connect(url, NoTls).expect("PostgreSQL");
    let (mut client, mut writer) = (connect(), connect());
    for setting in [
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(setting).expect("a superuser");
    }
    thread::spawn(move || {
        let tables = (0..).map(|n| format!("CREATE TABLE t{n} ()"));
        { tables }.all(|table| writer.batch_execute(&table).is_ok())
    });
    eventually(SOON, "one waits", || {
        let waiting = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        !client.query(waiting, &[]).expect("an answer").is_empty()
    });
}
