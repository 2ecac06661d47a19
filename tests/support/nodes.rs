//! Two nodes "a" and "b" of a PostgreSQL, of which either can be made anew as a standby of
//! the other one, and be promoted then.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use messenger::compare::load::postgres::create;

use super::programs::free_port;
use super::{missing, need};

/// As that of `messenger::compare::load::postgres`, whose standby is promoted once.
const SHELL: &str = r#"
PATH="$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>&1 | sort -rV | tr '\n' ':')"
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

/// PostgreSQL refuses to run as root.
const AS_OWNER: &str = r#"
[ "$(id -u)" = 0 ] || exec "$@"
owner=$(id -un postgres || echo nobody)
exec setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups "$@"
"#;

/// Both are stopped and removed when this is dropped.
pub struct Nodes {
    ports: [u16; 2],
    shell: Child,
    answers: BufReader<ChildStdout>,
}

impl Nodes {
    /// "a" without a standby.
    pub fn alone() -> Self {
        need("PostgreSQL", true);
        let ports = [free_port(), free_port()];
        let mut command = Command::new("sh");
        let [a, b] = [("a", ports[0]), ("b", ports[1])].map(|(name, it)| format!("{name}={it}"));
        command.args(["-c", AS_OWNER, "sh", "env", "LC_ALL=C", &a, &b]);
        command.args(["sh", "-c", SHELL]);
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.stderr(Stdio::null()).spawn().expect("a shell");
        let answers = BufReader::new(shell.stdout.take().expect("a pipe"));
        let mut nodes = Self {
            ports,
            shell,
            answers,
        };
        nodes.answer();
        nodes
    }

    /// `start`, `stop`, `crash` or `promote` and a node, or `follow NODE FROM OVER`; returns
    /// when it is done.
    pub fn order(&mut self, order: &str) {
        let stdin = self.shell.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{order}").expect("a shell that reads");
        self.answer();
    }

    fn answer(&mut self) {
        let mut said = String::new();
        self.answers.read_line(&mut said).expect("an answer");
        if said != "done\n" {
            missing(&format!("PostgreSQL with a standby ({said})"));
        }
    }

    pub fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// A new database at "a".
    pub fn create(&self) {
        let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", self.ports[0]);
        create(&url, "chat").expect("a database to be made");
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
