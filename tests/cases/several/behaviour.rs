//! All checks of `messenger compare`, Python programs among them, where each connection
//! goes to another server.

use std::fs;
use std::path::Path;

use messenger::compare::peer::Peer;
use messenger::compare::report::Outcome;

use super::three;
use crate::cases::compare_behaviour::{cells, plan, planted, run_all};
use crate::support::process::{Process, command};
use crate::support::programs::{Program, accepts, free_port};
use crate::support::{SOON, eventually, heavy, need};

/// Gives each connection to the next server. Calls of one connection stay together, so a
/// bridge reads its own writes.
struct Balancer {
    address: String,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Balancer {
    fn start(servers: &[Program]) -> Self {
        let program = "/usr/sbin/haproxy";
        need("HAProxy", Path::new(program).exists());
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut settings = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n\
             listen chat\n bind {address}\n balance roundrobin\n"
        );
        for (number, server) in servers.iter().enumerate() {
            settings += &format!(" server server{number} {}\n", server.address());
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, settings).unwrap();
        let mut command = command(program);
        command.args(["-db", "-f"]).arg(&file);
        let process = Process::spawn(command);
        eventually(SOON, "the load balancer's port opens", || accepts(port));
        Self {
            address,
            _process: process,
            _folder: folder,
        }
    }
}

#[test]
fn all_checks_of_the_chat_hold_where_each_connection_goes_to_another_server() {
    let _machine = heavy();
    let (_database, servers) = three(&[]);
    let balancer = Balancer::start(&servers);
    let folder = planted("none", "none");
    let server = [Peer::Foreign(balancer.address.clone())];
    let bridges = [Peer::Ours, Peer::Python];
    // One after the other: each check wants the chat for itself.
    let mut tables = run_all(vec![plan(folder.path(), &server, &bridges[..1], &[])]);
    let python = ["flush", "send-text", "order"];
    tables.extend(run_all(vec![plan(
        folder.path(),
        &server,
        &bridges[1..],
        &python,
    )]));
    let (mut passed, mut others) = (0, Vec::new());
    for (column, row, outcome) in cells(&tables) {
        match outcome {
            Outcome::Pass => passed += 1,
            // Ends and restarts of a server that is not the check's own.
            Outcome::Skipped { .. } => {}
            other => others.push(format!("{column}: {}: {other:?}", row.name)),
        }
    }
    println!("{passed} checks passed");
    assert!(others.is_empty(), "{others:#?}");
    assert!(passed > 50, "{passed}");
}
