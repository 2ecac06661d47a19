//! What the shell around the program does to it.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::support::SOON;
use crate::support::eventually;
use crate::support::process::{Process, Signal, command};
use crate::support::programs::{accepts, free_port, messenger};

const MESSENGER: &str = env!("CARGO_BIN_EXE_messenger");

/// A shell that runs this, with `$0` as the program and `$1` as the port.
fn shell(line: &str, port: u16) -> Process {
    let mut shell = command("sh");
    shell.args(["-c", line, MESSENGER, &port.to_string()]);
    Process::spawn(shell)
}

#[test]
fn a_server_whose_output_nobody_reads_serves() {
    let port = free_port();
    // The reader is gone before the server has anything to say.
    let line = "(sleep 0.3; exec $0 server --host 127.0.0.1 --port $1) | true";
    let mut shell = command("sh");
    shell.args(["-c", line, MESSENGER, &port.to_string()]);
    shell.stdin(Stdio::null()).process_group(0);
    let mut child = shell.spawn().unwrap();
    eventually(SOON, "the port opens", || accepts(port));
    assert!(child.try_wait().unwrap().is_none(), "it still runs");
    let group = format!("-{}", child.id());
    let killed = Command::new("kill").args(["-TERM", "--", &group]).status();
    assert!(killed.unwrap().success());
    child.wait().unwrap();
    eventually(SOON, "the port is closed", || !accepts(port));
}

#[test]
fn a_hang_up_ends_no_server_under_nohup() {
    let port = free_port();
    let mut server = shell("exec nohup $0 server --host 127.0.0.1 --port $1", port);
    eventually(SOON, "the port opens", || accepts(port));
    server.signal(Signal::HUP);
    server.signal(Signal::HUP);
    assert!(accepts(port) && server.is_alive());
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(SOON), 0);
}

#[test]
fn a_duration_without_an_end_is_refused() {
    let settle = ["client", "--settle", "18000000000000000000s"];
    let mut bridge = messenger(&settle);
    assert_eq!(bridge.wait_exit(SOON), 2);
    let log = bridge.log();
    assert!(
        log.contains("duration out of range: 0 to 31536000s"),
        "{log}"
    );
}
