//! Queues of RabbitMQ that somebody else has made, that are full, or that are forbidden.

use crate::support::eventually;
use crate::support::jobs::{A_WHILE, Place, everything};
use crate::support::programs::{Server, free_port};
use crate::support::rabbitmq::Broker;

use super::message_server;

#[test]
fn queues_are_used_as_they_are() {
    let place = Place::rabbitmq();
    place.pika(
        "channel.queue_declare(queue=queue, durable=True, arguments={'x-queue-type': 'quorum',\n\
             'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': queue + '.dead'})\n\
         channel.queue_declare(queue=queue + '.dead', durable=True,\n\
             arguments={'x-max-priority': 3})",
    );
    let server = Server::start(&["--services", "chat"]);
    let ids = place.send(&["fact:3", "fact:4"]);
    let worker = place.work(&server.address(), &["--attempts", "1"]);
    eventually(A_WHILE, "both are dead", || {
        place.dead(&["list"]).lines().count() == 2
    });
    drop((server, worker));
    let server = message_server();
    let _worker = place.work(&server.address(), &[]);
    assert_eq!(place.dead(&["requeue", &ids[1]]), "1 requeued\n");
    assert_eq!(place.dead(&["requeue"]), "1 requeued\n");
    eventually(A_WHILE, "both are done", || {
        place.list(&["--state", "done"]).len() == 2
    });
}

#[test]
fn what_the_broker_forbids_is_final() {
    let broker = Broker::start();
    let place = Place::at(&broker.url_of("guest"));
    // Neither queue is there, and this user may not make them.
    let server = format!("127.0.0.1:{}", free_port());
    for arguments in [
        &["send", "--timeout", "40s", "user1"][..],
        &["work", "--target", &server],
    ] {
        let mut process = place.jobs(arguments);
        assert_eq!(process.wait_exit(A_WHILE), 1, "{}", process.log());
        let log = process.log();
        assert!(
            log.contains("ACCESS_REFUSED") && log.contains("set_permissions"),
            "{log}"
        );
    }
    // Those that are there, it may use.
    place.of(&broker.url()).send(&["fact:3"]);
    let server = message_server();
    let worker = place.work(&server.address(), &[]);
    assert_eq!(worker.line(A_WHILE).as_deref(), Some("fact:3 -> 6"));
}

#[test]
fn only_what_the_broker_refuses_is_sent_again() {
    let place = Place::rabbitmq();
    place.pika(
        "channel.queue_declare(queue=queue, durable=True,\n\
             arguments={'x-max-length': 10, 'x-overflow': 'reject-publish'})",
    );
    let tasks: Vec<_> = (0..20).map(|n| format!("fact:{n}")).collect();
    let mut arguments = vec!["send".to_owned(), "--timeout".into(), "120s".into()];
    arguments.extend(tasks.iter().cloned());
    let sender = place.jobs(&arguments);
    eventually(A_WHILE, "some are refused", || {
        sender.log().contains("refuses")
    });
    let server = message_server();
    let worker = place.work(&server.address(), &[]);
    let mut sender = sender;
    assert_eq!(everything(&sender).lines().count(), tasks.len());
    assert_eq!(sender.wait_exit(A_WHILE), 0);
    let log = sender.log();
    assert_eq!(log.matches("connected to RabbitMQ").count(), 1, "{log}");
    let lines: Vec<_> = tasks
        .iter()
        .map(|_| worker.line(A_WHILE).unwrap())
        .collect();
    let desk = place.desk();
    eventually(A_WHILE, "nothing is left", || {
        desk.depth(A_WHILE).is_ok_and(|depth| depth.waiting == 0)
    });
    for task in &tasks {
        let count = lines
            .iter()
            .filter(|line| line.starts_with(&format!("{task} -> ")));
        assert_eq!(count.count(), 1, "one copy of {task}");
    }
}

#[test]
fn a_full_queue_is_named_when_the_time_is_over() {
    let place = Place::rabbitmq();
    place.pika(
        "channel.queue_declare(queue=queue, durable=True,\n\
             arguments={'x-max-length': 1, 'x-overflow': 'reject-publish'})",
    );
    let mut sender = place.jobs(&["send", "--timeout", "1s", "fact:1", "fact:2", "fact:3"]);
    assert_eq!(sender.wait_exit(A_WHILE), 1);
    let log = sender.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.contains("2 of 3 tasks") && last.contains("reject-publish"),
        "{log}"
    );
}
