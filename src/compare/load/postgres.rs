//! A PostgreSQL of one's own: a private cluster on a free port of the loopback
//! interface, in a temporary folder. For measurements and tests.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use postgres::{Client, NoTls};
use url::Url;

use super::process::free_port;

/// Programs from the PATH, or from where Debian puts them.
const PATH: &str =
    r#"PATH="$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>&1 | sort -rV | tr '\n' ':')""#;

/// Makes a cluster that listens on port $a, and obeys what the functions are called. `copy_b`
/// makes its synchronous standby on port $b, as the containers do it, with their scripts.
/// Stops and removes both when its standard input ends: the kernel closes that when our
/// process ends, however it does.
const SHELL: &str = r#"
command -v initdb >&2 || { echo PostgreSQL is not installed: apt-get install postgresql; exit 1; }
folder=$(mktemp -d -t messenger-postgres-XXXXXX)
options="-h 127.0.0.1 -c unix_socket_directories= -c max_connections=200"
control() {
    node=$1 port=$2; shift 2
    pg_ctl -w -D "$folder/$node" -l "$folder/$node.log" -o "$options -p $port" "$@" >&2 </dev/null
}
start() { control a "$a" start; }
# Ends the connections of its clients.
stop() { control a "$a" -m fast stop; }
crash() { control a "$a" -m immediate stop; }
start_b() { control b "$b" start; }
stop_b() { control b "$b" -m fast stop; }
promote_b() { control b "$b" promote; }
copy_b() {
    export PGHOST=127.0.0.1 PGUSER=postgres POSTGRES_USER=postgres POSTGRES_DB=postgres
    PGPORT=$a PGDATA="$folder/a" sh -c "$primary" sh >&2 </dev/null && stop && start &&
        # A copy that was broken off, and a start when it is there.
        mkdir -m 700 "$folder/b" && touch "$folder/b/left" &&
        PGAPPNAME=standby PGPORT=$a PGDATA="$folder/b" sh -c "$standby" sh true >&2 </dev/null &&
        PGPORT=1 PGDATA="$folder/b" sh -c "$standby" sh true >&2 </dev/null &&
        start_b
}
initdb --username=postgres --auth=trust --encoding=UTF8 --no-locale --no-sync "$folder/a" >&2
start && echo done || cat "$folder"/*.log
while read -r order; do $order && echo done || cat "$folder"/*.log; done
crash
[ ! -e "$folder/b" ] || control b "$b" -m immediate stop
rm -rf "$folder"
"#;

/// PostgreSQL refuses to run as root.
const AS_OWNER: &str = r#"
[ "$(id -u)" = 0 ] || exec "$@"
owner=$(id -un postgres || echo nobody)
exec setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups "$@"
"#;

/// A running cluster, and its standby. Both are stopped and removed when this is dropped.
pub struct Cluster {
    ports: [u16; 2],
    shell: Child,
    answers: BufReader<ChildStdout>,
}

impl Cluster {
    /// Makes a cluster and starts it, with these variables in its environment.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not start.
    pub fn start(variables: &[(&str, &str)]) -> io::Result<Self> {
        Self::scripted(SHELL, variables)
    }

    /// As [`Cluster::start`], by another script for `sh`. It makes what it wants in a folder
    /// of its own, for ports $a and $b, says "done" or what is wrong, and does so behind each
    /// order that it reads; when there are none any more, it clears up.
    ///
    /// # Errors
    /// What the script says.
    pub fn scripted(script: &str, variables: &[(&str, &str)]) -> io::Result<Self> {
        let ports = [free_port()?, free_port()?];
        let variables = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let mut command = Command::new("sh");
        command.args(["-c", AS_OWNER, "sh", "env", "LC_ALL=C"]);
        command.args(variables);
        command.args([format!("a={}", ports[0]), format!("b={}", ports[1])]);
        command.args(["sh", "-c", &format!("{PATH}\n{script}")]);
        command.env("primary", include_str!("../../../docker/primary.sh"));
        command.env("standby", include_str!("../../../docker/standby.sh"));
        // A folder that the owner may enter; and Ctrl-C is for us alone.
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.stderr(Stdio::null()).spawn()?;
        let answers = shell.stdout.take().map(BufReader::new);
        let answers = answers.ok_or_else(|| io::Error::other("no pipe"))?;
        let mut cluster = Self {
            ports,
            shell,
            answers,
        };
        cluster.answer()?;
        Ok(cluster)
    }

    /// `stop` (which ends the connections of its clients), `crash`, or `start` after
    /// one of these; `copy_b`, after which commits wait for the standby, `stop_b`, `start_b`
    /// or `promote_b`. Returns when it is done.
    ///
    /// # Errors
    /// What PostgreSQL logs.
    pub fn order(&mut self, order: &str) -> io::Result<()> {
        if let Some(stdin) = &mut self.shell.stdin {
            writeln!(stdin, "{order}")?;
        }
        self.answer()
    }

    fn answer(&mut self) -> io::Result<()> {
        let mut said = String::new();
        self.answers.read_line(&mut said)?;
        if said == "done\n" {
            return Ok(());
        }
        drop(self.shell.stdin.take());
        self.answers.read_to_string(&mut said)?;
        Err(io::Error::other(format!("PostgreSQL: {said}")))
    }

    /// The address of the server, with a database that is there.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.ports[0])
    }

    /// Of the server and its standby.
    pub fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// The process that has started all others of the server.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub fn id(&self) -> Result<u32, Box<dyn Error>> {
        let id = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)";
        let row = Client::connect(&self.url(), NoTls)?.query_one(id, &[])?;
        Ok(row.try_get::<_, String>(0)?.parse()?)
    }

    /// As [`create`].
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub fn create(&self, database: &str) -> Result<String, Box<dyn Error>> {
        create(&self.url(), database)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a cluster on port {}", self.ports[0])
    }
}

/// Makes an empty database on the server of this address, and returns its own.
///
/// # Errors
/// What PostgreSQL says.
pub fn create(url: &str, database: &str) -> Result<String, Box<dyn Error>> {
    Client::connect(url, NoTls)?.batch_execute(&format!("CREATE DATABASE \"{database}\""))?;
    let mut url = Url::parse(url)?;
    url.set_path(database);
    Ok(url.into())
}

/// One of PostgreSQL's programs; it ends with 127 if that is not installed.
pub fn tool(program: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{PATH}\nexec \"$0\" \"$@\""), program]);
    command
}
