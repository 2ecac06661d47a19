//! A PgBouncer before the tests' PostgreSQL, with a port and a file of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use url::Url;

use super::process::{Process, Signal, command};
use super::programs::{accepts, free_port};
use super::{SOON, eventually, need};

const PROGRAM: &str = "/usr/sbin/pgbouncer";
const FILE: &str = "pgbouncer.ini";

/// Each transaction in the next session, whether or not another one waits for the last.
pub const TRANSACTION: &str =
    "pool_mode = transaction\nserver_round_robin = 1\nignore_startup_parameters = options\n";

/// It ends when this is dropped.
pub struct PgBouncer {
    port: u16,
    server: u16,
    process: Process,
    folder: tempfile::TempDir,
}

impl PgBouncer {
    /// `mode` is `session` or `transaction`, before the server that `url` names.
    pub fn start(url: &str, mode: &str) -> Self {
        let mode = format!("pool_mode = {mode}\nignore_startup_parameters = options\n");
        Self::with(url, &mode)
    }

    /// With these lines of its file.
    pub fn with(url: &str, settings: &str) -> Self {
        need("PgBouncer", Path::new(PROGRAM).exists());
        let server = Url::parse(url).expect("a URL").port().expect("a port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        write(folder.path(), server, port, settings);
        let mut pooler = command(PROGRAM);
        if rustix::process::geteuid().is_root() {
            // It refuses to be root, and has to read the file all the same.
            let readable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(folder.path(), readable).expect("a folder for all");
            pooler.args(["-u", "nobody"]);
        }
        pooler.arg(folder.path().join(FILE));
        let process = Process::spawn(pooler);
        eventually(SOON, "PgBouncer listens", || accepts(port));
        Self {
            port,
            server,
            process,
            folder,
        }
    }

    /// Has it read these lines instead.
    pub fn reload(&self, settings: &str) {
        write(self.folder.path(), self.server, self.port, settings);
        self.process.signal(Signal::HUP);
        self.process.wait_for_log(SOON, "re-reading config");
    }

    /// The same database through it.
    pub fn before(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        url.set_port(Some(self.port)).expect("a port");
        url.into()
    }
}

fn write(folder: &Path, server: u16, port: u16, settings: &str) {
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\n{settings}"
    );
    std::fs::write(folder.join(FILE), settings).expect("a file");
}
