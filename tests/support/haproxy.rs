//! The system's HAProxy with a configuration of this repository.

use std::path::Path;

use super::process::{Process, command};
use super::programs::{Program, accepts, free_port};
use super::{SOON, eventually, need};

pub struct Haproxy {
    pub address: String,
    pub process: Process,
}

impl Haproxy {
    fn start(file: &str, variables: &[(String, String)]) -> Self {
        let program = "/usr/sbin/haproxy";
        need("HAProxy", Path::new(program).exists());
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut command = command(program);
        command.args(["-db", "-f", file]);
        command.env("MESSENGER_PROXY_BIND", &address);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let process = Process::spawn(command);
        eventually(SOON, "the proxy's port opens", || accepts(port));
        Self { address, process }
    }

    /// In front of one server.
    pub fn one(server: &str) -> Self {
        let server = ("MESSENGER_PROXY_SERVER".into(), server.into());
        Self::start("docker/haproxy.cfg", &[server])
    }

    /// In front of three, which were started with `--metrics-port 0`.
    pub fn several(servers: &[Program; 3]) -> Self {
        let variables = servers.iter().zip(1..).flat_map(|(server, number)| {
            let name = |what| format!("MESSENGER_PROXY_{what}{number}");
            let health = server.metrics_port().to_string();
            [(name("SERVER"), server.address()), (name("HEALTH"), health)]
        });
        Self::start("docker/several.cfg", &variables.collect::<Vec<_>>())
    }
}
