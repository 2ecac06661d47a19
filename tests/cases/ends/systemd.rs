//! The systemd unit, and what systemd is told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use super::super::layout::root;
use crate::support::SOON;
use crate::support::process::Signal;
use crate::support::programs::{Server, accepts, free_port, messenger_with};

const UNIT: &str = "docker/messenger.service";

/// Where a program's notifications arrive.
fn notified(folder: &Path) -> (UnixDatagram, String) {
    let path = folder.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    (socket, path.to_str().unwrap().to_owned())
}

fn told(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let length = socket.recv(&mut bytes).expect("a notification in time");
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn systemd_is_told_when_it_listens_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, path) = notified(folder.path());
    let port = free_port().to_string();
    let flags = [
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--drain",
        "1s",
    ];
    let process = messenger_with(&flags, &[("NOTIFY_SOCKET", &path)]);
    assert_eq!(told(&socket).trim(), "READY=1");
    assert!(accepts(port.parse().unwrap()), "it listens");
    let mut server = Server::listening(process, 1);
    server.signal(Signal::TERM);
    assert_eq!(told(&socket).trim(), "STOPPING=1");
    assert_eq!(server.wait_exit(SOON), 0);
}

#[test]
fn the_unit_is_one_that_systemd_takes_and_calls_safe() {
    let unit = fs::read_to_string(root().join(UNIT)).unwrap();
    let program = env!("CARGO_BIN_EXE_messenger");
    let start = "ExecStart=/usr/local/bin/messenger server";
    assert!(unit.lines().any(|line| line == start) && unit.contains("\nType=notify\n"));
    // Only where there is such a tool, as on every machine with systemd.
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).output();
    if analyze(&["--version"]).is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("messenger.service");
    fs::write(&copy, unit.replace("/usr/local/bin/messenger", program)).unwrap();
    let copy = copy.to_str().unwrap();
    let verified = analyze(&["verify", "--man=no", copy]).unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(
        verified.status.success() && !said.contains("messenger.service"),
        "{said}"
    );
    // Tenths; over the threshold it fails.
    let security = analyze(&[
        "security",
        "--offline=true",
        "--threshold=20",
        "--no-pager",
        copy,
    ]);
    let security = security.unwrap();
    assert!(
        security.status.success(),
        "{}",
        String::from_utf8_lossy(&security.stdout)
    );
}
