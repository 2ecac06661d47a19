//! A PgBouncer before the tests' PostgreSQL, with a port and a file of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use url::Url;

use super::process::{Process, command};
use super::programs::{accepts, free_port};
use super::{SOON, eventually, need};

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// It ends when this is dropped.
pub struct PgBouncer {
    port: u16,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    /// `mode` is `session` or `transaction`, before the server that `url` names.
    pub fn start(url: &str, mode: &str) -> Self {
        need("PgBouncer", Path::new(PROGRAM).exists());
        let server = Url::parse(url).expect("a URL").port().expect("a port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let file = folder.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\nignore_startup_parameters = options\n"
        );
        std::fs::write(&file, settings).expect("a file");
        let mut pooler = command(PROGRAM);
        if rustix::process::geteuid().is_root() {
            // It refuses to be root, and has to read the file all the same.
            let readable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(folder.path(), readable).expect("a folder for all");
            pooler.args(["-u", "nobody"]);
        }
        pooler.arg(&file);
        let process = Process::spawn(pooler);
        eventually(SOON, "PgBouncer listens", || accepts(port));
        Self {
            port,
            _process: process,
            _folder: folder,
        }
    }

    /// The same database through it.
    pub fn before(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        url.set_port(Some(self.port)).expect("a port");
        url.into()
    }
}
