//! A PostgreSQL with a synchronous standby, and what befalls them: the primary crashes and
//! is started again, or it is gone for good and the standby is promoted. A new standby is
//! then made from the new primary, and is as synchronous as the one before.
//!
//! A standby is promoted only when it certainly has all that anybody was answered or sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Error, NoTls};

use crate::chaos::stage::Stage;
use crate::support::{SOON, nodes};

/// The link between primary and standby.
const REPLICATION: &str = "primary to standby";

const DATABASE: &str = "chat";

/// How long a promotion waits for a standby that has all.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked whether something is there that nothing tells of.
const LOOK: Duration = Duration::from_millis(20);

pub struct Nodes {
    nodes: nodes::Nodes,
    /// Of both nodes, as their standby sees them.
    replication: [u16; 2],
    primary: usize,
    /// The fault that has ended the primary, and whether the standby had all then.
    down: Option<(&'static str, bool)>,
    standby: Standby,
    promotions: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Standby {
    /// There is none since the last promotion.
    None,
    Runs,
    Down,
}

pub type Shared = Arc<Mutex<Nodes>>;

fn lock(nodes: &Mutex<Nodes>) -> MutexGuard<'_, Nodes> {
    nodes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts both, with their faults.
pub fn on_stage(stage: &mut Stage, application: &'static str) -> Shared {
    let two = nodes::Nodes::alone();
    two.create();
    let replication = two.ports().map(|port| stage.link(REPLICATION, port));
    let nodes = Arc::new(Mutex::new(Nodes {
        nodes: two,
        replication,
        primary: 0,
        down: None,
        standby: Standby::None,
        promotions: 0,
    }));
    lock(&nodes).follow();
    become_synchronous(&nodes);
    for (name, order) in [
        ("the primary crashes", "crash"),
        ("the primary stops", "stop"),
    ] {
        let nodes = nodes.clone();
        stage.own(name, 1, move |begins| match begins {
            true => lock(&nodes).end_primary(name, order),
            false => {
                if lock(&nodes).start_primary(name) {
                    renew_standby(&nodes);
                }
            }
        });
    }
    let own = nodes.clone();
    stage.own("the standby crashes", 1, move |begins| {
        lock(&own).standby(begins);
    });
    let own = nodes.clone();
    stage.own(PROMOTION, 3, move |begins| match begins {
        true => lock(&own).promote(),
        false => renew_standby(&own),
    });
    let own = nodes.clone();
    stage.own("sessions end", 1, move |begins| {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = '{application}'"
        );
        // Another fault may have ended the primary.
        if let (true, Ok(mut client)) = (begins, lock(&own).connect()) {
            let _ = client.batch_execute(&end);
        }
    });
    nodes
}

const PROMOTION: &str = "the standby is promoted";

impl Nodes {
    /// The ports of both nodes, past all links.
    pub fn ports(&self) -> [u16; 2] {
        self.nodes.ports()
    }

    /// The address of a database at nodes with these ports.
    pub fn url(ports: &[u16]) -> String {
        let hosts: Vec<_> = ports.iter().map(|it| format!("127.0.0.1:{it}")).collect();
        format!("postgresql://postgres@{}/{DATABASE}", hosts.join(","))
    }

    /// The address of the primary, as of now.
    pub fn primary(&self) -> String {
        Self::url(&[self.ports()[self.primary]])
    }

    fn connect(&self) -> Result<Client, Error> {
        Client::connect(&self.primary(), NoTls)
    }

    fn order(&mut self, order: &str, node: usize) {
        self.nodes.order(&format!("{order} {}", NAMES[node]));
    }

    fn other(&self) -> usize {
        1 - self.primary
    }

    /// Whether the standby has, within so long, all that anybody may have been answered or
    /// sent up to now, and no commit returns any more that it does not have.
    fn is_replicated(&self, within: Duration) -> bool {
        self.standby == Standby::Runs && self.try_replicated(within).unwrap_or(false)
    }

    fn try_replicated(&self, within: Duration) -> Result<bool, Error> {
        let mut client = self.connect()?;
        // Who makes checkpoints knows by then that commits have to wait.
        client.batch_execute("CHECKPOINT")?;
        // What was committed before a crash is seen afterwards, though it may not be there.
        let written = client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[])?;
        let written: String = written.get(0);
        let select = format!(
            "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'
             AND sync_state = 'sync' AND flush_lsn >= '{written}'"
        );
        let began = Instant::now();
        loop {
            if client.query_opt(&select, &[])?.is_some() {
                return Ok(true);
            }
            if began.elapsed() > within {
                return Ok(false);
            }
            thread::sleep(LOOK);
        }
    }

    fn end_primary(&mut self, by: &'static str, order: &str) {
        if self.down.is_none() {
            self.down = Some((by, self.is_replicated(LOOK)));
            self.order(order, self.primary);
        }
    }

    /// Whether it was this fault that had ended it, and nobody was promoted meanwhile.
    fn start_primary(&mut self, by: &'static str) -> bool {
        let is_due = self.down.is_some_and(|(it, _)| it == by);
        if is_due {
            self.down = None;
            self.order("start", self.primary);
        }
        is_due
    }

    fn standby(&mut self, crashes: bool) {
        match (self.standby, crashes) {
            (Standby::Runs, true) => {
                self.standby = Standby::Down;
                self.order("crash", self.other());
            }
            (Standby::Down, false) => {
                self.standby = Standby::Runs;
                self.order("start", self.other());
            }
            _ => {}
        }
    }

    /// Unless the standby lacks something. The old primary never comes back: its node is
    /// made anew.
    fn promote(&mut self) {
        let has_all = match self.down {
            None => self.is_replicated(PATIENCE),
            Some((_, had_all)) => had_all && self.standby == Standby::Runs,
        };
        if !has_all {
            return;
        }
        if self.down.take().is_none() {
            self.order("crash", self.primary);
        }
        self.order("promote", self.other());
        self.primary = self.other();
        self.standby = Standby::None;
        self.promotions += 1;
    }

    /// Makes a standby anew, for which no commit waits yet; whether there is one then.
    fn follow(&mut self) -> bool {
        if self.standby == Standby::None && self.down.is_none() {
            let (port, link) = (self.ports()[self.primary], self.replication[self.primary]);
            let standby = NAMES[self.other()];
            self.nodes.order(&format!("follow {standby} {port} {link}"));
            self.standby = Standby::Runs;
            return true;
        }
        false
    }

    /// Has commits wait for the standby once it streams. From then on they wait also after
    /// the primary was started again.
    fn try_synchronous(&self) -> Result<bool, Error> {
        let streams = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'";
        let mut client = self.connect()?;
        if client.query_opt(streams, &[])?.is_none() {
            return Ok(false);
        }
        client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        client.batch_execute("SELECT pg_reload_conf()")?;
        Ok(true)
    }
}

const NAMES: [&str; 2] = ["a", "b"];

/// While the run goes on.
fn renew_standby(nodes: &Shared) {
    let nodes = nodes.clone();
    thread::spawn(move || {
        if lock(&nodes).follow() {
            become_synchronous(&nodes);
        }
    });
}

/// Waits for it, while faults go on.
fn become_synchronous(nodes: &Shared) {
    let began = Instant::now();
    while !lock(nodes).try_synchronous().unwrap_or(false) {
        // Its link, the standby or the primary may be gone for a while.
        assert!(began.elapsed() < 4 * SOON, "a new standby streams");
        thread::sleep(LOOK);
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        println!("{} promotions", self.promotions);
    }
}
