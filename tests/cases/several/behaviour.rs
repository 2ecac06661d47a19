//! All checks of `messenger compare`, Python programs among them, where each connection
//! goes to another server: behind the load balancer of the compose file.

use messenger::compare::behaviour::names;
use messenger::compare::peer::Peer;
use messenger::compare::report::Outcome;

use super::three;
use crate::cases::compare_behaviour::faults::BRIDGE_FAULTS;
use crate::cases::compare_behaviour::{cells, plan, planted, run_all};
use crate::support::haproxy::Haproxy;
use crate::support::heavy;

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
