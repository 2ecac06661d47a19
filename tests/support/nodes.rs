//! Two nodes "a" and "b" of a PostgreSQL, of which either can be made anew as a standby of
//! the other one, and be promoted then.

use messenger::compare::load::postgres::Cluster;

use super::{missing, need};

/// Another one than [`Cluster::start`] has, whose standby is promoted once.
const SHELL: &str = r#"
folder=$(mktemp -d -t messenger-standby-XXXXXX)
options="-h 127.0.0.1 -c unix_socket_directories= -c max_connections=100 -c fsync=off"
# A standby that was away for a while, or whose link was cut, is soon back.
options="$options -c wal_keep_size=256MB -c wal_retrieve_retry_interval=100ms"
options="$options -c wal_receiver_timeout=2s -c wal_sender_timeout=2s"
# A connection whose client is cut off before it says who it is holds up the end of PostgreSQL.
options="$options -c authentication_timeout=3s"
control() {
    node=$1; shift
    case $node in a) port=$a;; b) port=$b;; esac
    pg_ctl -w -D "$folder/$node" -l "$folder/$node.log" -o "$options -p $port" "$@" >&2 </dev/null
}
start() { control "$1" start; }
stop() { control "$1" -m fast stop; }
crash() { control "$1" -m immediate stop; }
promote() { control "$1" promote; }
# Makes a node anew, as a standby of the one at the first port, which it follows over the
# second one.
follow() {
    rm -rf "$folder/$1" &&
    pg_basebackup -h 127.0.0.1 -p "$2" -U postgres -c fast --no-sync -D "$folder/$1" -R >&2 &&
    # Once it is promoted, it must not wait for itself.
    sed -i '/^synchronous_standby_names/d' "$folder/$1/postgresql.auto.conf" &&
    echo "primary_conninfo = 'host=127.0.0.1 port=$3 user=postgres'" \
        >>"$folder/$1/postgresql.auto.conf" &&
    start "$1"
}
alone() {
    initdb --username=postgres --auth=trust --encoding=UTF8 --no-locale --no-sync "$folder/a" >&2 &&
    start a
}
alone && echo done || cat "$folder"/*.log
while read -r order; do $order && echo done || cat "$folder"/*.log; done
for node in a b; do crash $node; done
rm -rf "$folder"
"#;

/// Both are stopped and removed when this is dropped.
pub struct Nodes(Cluster);

impl Nodes {
    /// "a" without a standby.
    pub fn alone() -> Self {
        need("PostgreSQL", true);
        let nodes = Cluster::scripted(SHELL, &[]);
        Self(nodes.unwrap_or_else(|error| missing(&error.to_string())))
    }

    /// `start`, `stop`, `crash` or `promote` and a node, or `follow NODE FROM OVER`; returns
    /// when it is done.
    pub fn order(&mut self, order: &str) {
        let done = self.0.order(order);
        done.unwrap_or_else(|error| panic!("{order}: {error}"));
    }

    pub fn ports(&self) -> [u16; 2] {
        self.0.ports()
    }

    /// A new database at "a".
    pub fn create(&self) {
        self.0.create("chat").expect("a database to be made");
    }
}
