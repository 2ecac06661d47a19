//! All checks of `messenger compare`, Python programs among them, where each connection
//! goes to another server: behind the load balancer of the compose file.

use messenger::compare::behaviour::names;
use messenger::compare::peer::Peer;
use messenger::compare::report::Outcome;

use super::three;
use crate::cases::compare::{compare, report};
use crate::cases::compare_behaviour::faults::BRIDGE_FAULTS;
use crate::cases::compare_behaviour::{cells, plan, planted, run_all};
use crate::support::haproxy::Haproxy;
use crate::support::heavy;
use crate::support::programs::Server;

#[test]
fn all_checks_of_the_chat_hold_where_each_connection_goes_to_another_server() {
    let _machine = heavy();
    let (_database, servers) = three(&["--metrics-port", "0"]);
    let balancer = Haproxy::several(&servers);
    let folder = planted("none", "none");
    let server = [Peer::Foreign(balancer.address.clone())];
    let bridges = [Peer::Ours, Peer::Python];
    // Without what looks at HTTP alone, or for 18 s at one connection, and without the one
    // that the proxy refuses itself.
    let names = names().into_iter().map(|(name, _)| name);
    let of_the_order = |name: &&str| {
        let bridge = BRIDGE_FAULTS.iter().any(|(check, _)| check == name);
        let messages = ["send-", "flush", "bridge-times"].map(|it| name.starts_with(it));
        !["vanished-reader", "metadata-20k"].contains(name) && (!bridge || messages.contains(&true))
    };
    let only: Vec<_> = names.filter(of_the_order).collect();
    // One after the other: each check wants the chat for itself.
    let mut tables = run_all(vec![plan(folder.path(), &server, &bridges[..1], &only)]);
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
    assert!(passed > 45, "{passed}");
}

#[test]
fn the_order_check_holds_at_two_addresses_of_one_chat_and_not_at_those_of_two() {
    let _machine = heavy();
    let (_database, servers) = three(&[]);
    let alone = Server::start(&[]);
    let check = |first: &str, second: &str| {
        let folder = tempfile::tempdir().unwrap();
        let only = "order,answer-time";
        let flags = ["--only", only, "--server", first, "--server", second];
        let (code, text, _) = compare(folder.path(), &flags);
        assert_eq!(code, 0, "{text}");
        let table = &report(folder.path())["behaviour"][0];
        // Ours, Python's, and both addresses in one column.
        assert_eq!(table["columns"][2], format!("{first},{second}"));
        let rows = table["rows"].as_array().unwrap().iter();
        rows.map(|row| row["outcomes"][2]["outcome"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let addresses = servers.each_ref().map(|server| server.address());
    assert_eq!(check(&addresses[0], &addresses[1]), ["pass", "pass"]);
    for [first, second] in [
        [&addresses[2], &alone.address()],
        [&alone.address(), &addresses[2]],
    ] {
        assert_eq!(check(first, second), ["differs", "differs"]);
    }
}
