//! A RabbitMQ of the tests' own: private folders, ports and node name. A shell
//! stands between: when this process ends, however it does, the shell sees its
//! standard input end, stops the broker and removes its folder.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::certificates::{Pair, path};
use super::programs::{accepts, free_port};
use super::{eventually, need};

/// Where Debian keeps the script that does not change the user.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// It takes six seconds on an idle machine.
const START: Duration = Duration::from_secs(120);

pub struct Broker {
    port: u16,
    tls_port: u16,
    shell: Mutex<Child>,
}

/// Obeys what the functions are called, and cleans up at the end. A stop is a
/// crash.
const SHELL: &str = r#"
start() { setsid "$0" >>"$HOME/log" 2>&1 </dev/null & broker=$!; }
stop() { kill -KILL "-$broker"; wait "$broker"; }
hang() { kill -STOP "-$broker"; }
wake() { kill -CONT "-$broker"; }
# Otherwise the broker starts one that stays.
epmd >/dev/null 2>&1 </dev/null &
epmd=$!
start
while read -r order; do "$order"; done
stop
kill "$epmd"
rm -rf "$HOME"
"#;

/// All with the same password.
fn users() -> String {
    let names = ["user", "producer", "guest"];
    let users = names.map(|name| json!({"name": name, "password": "password", "tags": ""}));
    let permissions = names.map(|name| {
        let configure = if name == "guest" { "^$" } else { ".*" };
        json!({"user": name, "vhost": "/", "configure": configure, "write": ".*", "read": ".*"})
    });
    json!({"users": users, "vhosts": [{"name": "/"}], "permissions": permissions}).to_string()
}

impl Broker {
    /// A broker for one test.
    pub fn start() -> Self {
        Self::start_with("", 0)
    }

    /// One that also listens with this certificate, for clients that show one of this
    /// authority.
    pub fn start_with_tls(server: &Pair, clients: &Path) -> Self {
        let (certificate, key) = server.paths();
        let port = free_port();
        let settings = format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\n\
             ssl_options.cacertfile = {}\n\
             ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n\
             ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n",
            path(clients)
        );
        Self::start_with(&settings, port)
    }

    fn start_with(more_settings: &str, tls_port: u16) -> Self {
        need(
            &format!("RabbitMQ ({SERVER})"),
            fs::exists(SERVER).unwrap_or(false),
        );
        let port = free_port();
        let (distribution, epmd) = (free_port(), free_port());
        let home = tempfile::tempdir().expect("a folder").keep();
        let file = |name: &str| home.join(name).to_string_lossy().into_owned();
        let settings = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\n\
             load_definitions = {}\n\
             log.console = true\nlog.file = false\n{more_settings}",
            file("users.json")
        );
        fs::write(file("users.json"), users()).expect("the users");
        fs::write(file("rabbitmq.conf"), settings).expect("the settings");
        fs::write(file("plugins"), "[].").expect("the plugins");
        let shell = Command::new("sh")
            .args(["-c", SHELL, SERVER])
            .env("HOME", &home)
            .env("RABBITMQ_NODENAME", format!("test-{port}@localhost"))
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("ERL_EPMD_PORT", epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins"))
            .env("RABBITMQ_MNESIA_BASE", file("mnesia"))
            .env("RABBITMQ_LOG_BASE", file("logs"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+sbwt none")
            .current_dir(&home)
            // Ctrl-C is for the tests; the shell sees them end.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(file("shell")).expect("a file"))
            .spawn()
            .expect("a shell");
        let broker = Self {
            port,
            tls_port,
            shell: Mutex::new(shell),
        };
        broker.wait();
        broker
    }

    pub fn url(&self) -> String {
        format!("amqp://user:password@127.0.0.1:{}", self.port)
    }

    /// As another user: "producer", or "guest", who may not make queues.
    pub fn url_of(&self, user: &str) -> String {
        format!("amqp://{user}:password@127.0.0.1:{}", self.port)
    }

    pub fn tls_url(&self) -> String {
        format!("amqps://user:password@127.0.0.1:{}", self.tls_port)
    }

    /// Kills it, and starts it again.
    pub fn restart(&self) {
        self.order("stop");
        eventually(START, "the broker is gone", || !accepts(self.port));
        self.order("start");
        self.wait();
    }

    /// It accepts connections and says nothing, until it is woken.
    pub fn hang(&self) {
        self.order("hang");
        eventually(START, "the broker hangs", || !self.answers());
    }

    pub fn wake(&self) {
        self.order("wake");
        self.wait();
    }

    fn order(&self, order: &str) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        let stdin = shell.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{order}").expect("a shell that reads");
    }

    /// Until it speaks AMQP: it listens before it does.
    fn wait(&self) {
        eventually(START, "the broker answers", || self.answers());
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(2)))
            .is_ok()
            && stream.write_all(b"AMQP\0\0\x09\x01").is_ok()
            && stream.read_exact(&mut [0]).is_ok()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        drop(shell.stdin.take());
        let _ = shell.wait();
    }
}

/// The broker that AMQP_URL names, or one for all tests that do not stop theirs.
pub fn shared() -> String {
    need("RabbitMQ", true);
    static SHARED: OnceLock<Broker> = OnceLock::new();
    let given = std::env::var("AMQP_URL").ok().filter(|url| !url.is_empty());
    given.unwrap_or_else(|| SHARED.get_or_init(Broker::start).url())
}
