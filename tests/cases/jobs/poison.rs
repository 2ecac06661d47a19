//! Tasks that no store, no broker or no server takes, and those behind them.

use lapin::BasicProperties;
use lapin::protocol::basic::gen_properties;
use lapin::types::{AMQPValue, FieldTable};
use messenger::jobs::queue::message::mended;
use serde_json::Value;

use crate::support::eventually;
use crate::support::jobs::{A_WHILE, Place, expected, on_both_queues, text};
use crate::support::postgres::Database;
use crate::support::programs::Server;
use crate::support::rabbitmq::Broker;

use super::message_server;

on_both_queues!(
    a_null_character_reaches_postgresql_and_comes_back,
    a_result_that_the_database_refuses_is_a_dead_letter,
);

fn a_null_character_reaches_postgresql_and_comes_back(mut place: Place) {
    let database = Database::new();
    place.store = Some(database.url.clone());
    let server = message_server();
    let address = server.address();
    place.publish("a\0b", "fact:3");
    place.publish("nulls", "x \0 \u{fdd0}y");
    let good = place.send(&["fact:4"]);
    // All three are stored, and come again.
    let flags = ["work", "--target", &address, "--prefetch", "3"];
    let mut worker = place.jobs_with(&flags, &[("MESSENGER_FAILPOINT", "before-ack")]);
    worker.wait_exit(A_WHILE);
    let _worker = place.work(&address, &[]);
    let jobs = place.wait_for(3);
    assert_eq!(jobs["a\0b"]["result"], "6");
    assert_eq!(
        jobs["nulls"]["result"],
        expected("x \0 \u{fdd0}y"),
        "every character"
    );
    assert_eq!(jobs[&good[0]]["result"], "24");
    let desk = place.desk();
    eventually(A_WHILE, "all are acknowledged", || {
        desk.depth(A_WHILE).is_ok_and(|depth| depth.waiting == 0)
    });
}

fn a_result_that_the_database_refuses_is_a_dead_letter(mut place: Place) {
    let database = Database::new();
    place.store = Some(database.url.clone());
    let server = message_server();
    // Makes the table.
    place.list(&[]);
    let mut client = postgres::Client::connect(&database.url, postgres::NoTls).unwrap();
    let refuse = "ALTER TABLE jobs ADD CHECK (result <> '6'), ADD CHECK (id <> 'x.2')";
    client.batch_execute(refuse).unwrap();
    place.publish("x", "user1, fact:3, fact:5");
    let ids = place.send(&["fact:3", "fact:4"]);
    let _worker = place.work(&server.address(), &["--prefetch", "9"]);
    let jobs = place.wait_for(3);
    assert_eq!(jobs[&ids[1]]["result"], "24", "it does not hold up others");
    assert_eq!(jobs["x.3"]["result"], "120");
    eventually(A_WHILE, "two are dead", || {
        let dead = place.dead(&["list"]);
        let of = |id: &str| {
            dead.lines().any(|line| {
                line.starts_with(&format!("{id} fact:3 ")) && line.contains("cannot be stored")
            })
        };
        dead.lines().count() == 2 && of(&ids[0]) && of("x.2")
    });
}

/// Its producer's name is checked by the broker, and its end of life would come in the
/// dead-letter queue too.
#[test]
fn what_only_the_producer_may_say_is_dropped_from_dead_letters() {
    let broker = Broker::start();
    let place = Place::at(&broker.url());
    // UNIMPLEMENTED: the server lacks the service.
    let server = Server::start(&["--services", "chat"]);
    let worker = place.work(&server.address(), &["--attempts", "1"]);
    place.of(&broker.url_of("producer")).pika(
        "channel.queue_declare(queue=queue, durable=True)\n\
         properties = pika.BasicProperties(message_id='m', user_id='producer',\n\
             expiration='3600000', priority=3, headers={'CC': [queue + '.copy'], 'x-own': 'kept'})\n\
         channel.basic_publish('', queue, b'fact:3', properties)",
    );
    let dead = || place.dead(&["list"]);
    eventually(A_WHILE, "it is dead", || dead().starts_with("m fact:3 "));
    drop(worker);
    let look = |queue: &str| {
        place.pika(&format!(
            "_, p, body = channel.basic_get({queue})\n\
             print(p.message_id, p.user_id, p.expiration, p.priority, body, p.headers.get('CC'),\n\
                 p.headers['x-own'])"
        ))
    };
    let kept = "m None None 3 b'fact:3' None kept\n";
    assert_eq!(look("queue + '.dead'"), kept);
    // As somebody else has put it there.
    place.of(&broker.url_of("producer")).pika(
        "channel.basic_publish('', queue + '.dead', b'fact:3', pika.BasicProperties(\n\
             message_id='n', user_id='producer', expiration='3600000', priority=3,\n\
             headers={'x-own': 'kept'}))",
    );
    assert_eq!(place.dead(&["requeue", "n"]), "1 requeued\n");
    assert_eq!(look("queue"), kept.replacen('m', "n", 1));
    assert!(
        text(&"m".into()) == "m" && dead().starts_with("m "),
        "the other one stays"
    );
}

/// What AMQP takes as a string, and lapin does not: bytes that are not UTF-8.
#[test]
fn a_message_with_binary_properties_is_a_dead_letter_and_holds_up_nothing() {
    let place = Place::rabbitmq();
    let server = message_server();
    let first = place.send(&["fact:3", "fact:4"]);
    place.pika(
        "own = {'x-own': 'kept'}\n\
         poison = [dict(message_id=b'caf\\xe9', headers=own, user_id='user', expiration='3600000'),\n\
             dict(message_id='named', correlation_id=b'\\x00\\xff\\xfe', priority=3),\n\
             dict(message_id='third', app_id=b'\\xc3', headers={'n': [1, {'deep': True}]})]\n\
         for each in [pika.BasicProperties(**each) for each in poison]:\n  \
             channel.basic_publish('', queue, b'fact:5', each)\n\
         channel.basic_publish('', queue, b'\\xff' * 300000, pika.BasicProperties(type=b'\\xff'))",
    );
    let last = place.send(&["fact:6"]);
    let worker = place.work(&server.address(), &["--prefetch", "2"]);
    let jobs = place.wait_for(3);
    assert_eq!(jobs[&first[0]]["result"], "6");
    assert_eq!(jobs[&first[1]]["result"], "24");
    assert_eq!(jobs[&last[0]]["result"], "720");
    let lost = worker.log().matches("io_loop: parse error").count();
    assert!(
        lost <= 8,
        "two losses of the connection are enough for each: {lost}"
    );
    let listed = place.dead(&["list", "--json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let ids: Vec<_> = listed.iter().map(|dead| dead["id"].as_str()).collect();
    assert_eq!(ids, [Some("caf?"), Some("named"), Some("third"), None]);
    for (dead, name) in listed
        .iter()
        .zip(["message_id", "correlation_id", "app_id", "type"])
    {
        let reason = text(&dead["reason"]);
        assert!(reason.contains(name), "{reason}");
    }
    assert_eq!(listed[1]["task"], "fact:5");
    let kept = place.pika(
        "for p, body in [channel.basic_get(queue + '.dead')[1:] for _ in range(4)]:\n  \
             print(p.message_id, p.correlation_id, p.priority, len(body), p.user_id, p.expiration,\n\
                 p.delivery_mode, (p.headers or {}).get('x-own'), (p.headers or {}).get('n'))",
    );
    assert_eq!(
        kept,
        "caf? None None 6 None None 2 kept None\n\
         named \0?? 3 6 None None 2 None None\n\
         third None None 6 None None 2 None [1, {'deep': True}]\n\
         \x20None None 300000 None None 2 None None\n"
    );
    assert_eq!(place.dead(&["requeue", "named"]), "1 requeued\n");
    assert_eq!(place.wait_for(4)["named"]["result"], "120");
    // Somebody else's dead letter.
    place.pika(
        "channel.basic_publish('', queue + '.dead', b'fact:9', pika.BasicProperties(app_id=b'\\xff'))",
    );
    let mut lister = place.jobs(&["dead", "list"]);
    assert_eq!(lister.wait_exit(A_WHILE), 1);
    assert!(lister.log().contains("try again"), "{}", lister.log());
    let listed = place.dead(&["list"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(
        listed.contains("- fact:9 (0 attempts: not UTF-8"),
        "{listed}"
    );
}

/// Arrays in arrays, and tables in tables, as deep as one frame of AMQP holds them; and
/// headers beside which no reason has room.
#[test]
fn headers_that_fill_a_frame_hold_up_nothing() {
    let place = Place::rabbitmq();
    let server = message_server();
    let first = place.send(&["fact:4"]);
    let publish = |kind: &str| {
        let script = "import struct\n\
             class Raw(pika.BasicProperties):\n  \
                 def encode(self): return [self.raw]\n\
             def nested(kind, key, depth):\n  \
                 sizes = [n * (len(key) + 5) for n in range(depth)]\n  \
                 return b''.join(kind + struct.pack('>I', size) + key * (size > 0)\n      \
                     for size in reversed(sizes))\n\
             def publish(name, value):\n  \
                 table = b'\\1k' + value\n  \
                 properties = Raw()\n  \
                 properties.raw = (struct.pack('>HI', 1 << 13 | 1 << 7, len(table)) + table\n      \
                     + bytes([len(name)]) + name.encode())\n  \
                 channel.basic_publish('', queue, b'fact:3', properties)\n";
        let size = 131_072 - 20 - 21 - kind.len();
        place.pika(&format!(
            "{script}publish('{kind} arrays', nested(b'A', b'', 26000))\n\
             publish('{kind} tables', nested(b'F', b'\\0', 21000))\n\
             publish('{kind} long', b'S' + struct.pack('>I', {size}) + b'x' * {size})"
        ));
    };
    publish("good");
    let last = place.send(&["fact:6"]);
    let worker = place.work(&server.address(), &["--prefetch", "2"]);
    let jobs = place.wait_for(5);
    for id in ["good arrays", "good tables", "good long"] {
        assert_eq!(jobs[id]["result"], "6");
    }
    assert_eq!(jobs[&first[0]]["result"], "24");
    assert_eq!(jobs[&last[0]]["result"], "720");
    drop(worker);

    // UNIMPLEMENTED: it lacks the service.
    let chat = Server::start(&["--services", "chat"]);
    publish("bad");
    let worker = place.work(&chat.address(), &["--attempts", "1"]);
    let dead = || place.dead(&["list"]);
    eventually(A_WHILE, "all are dead", || dead().lines().count() == 3);
    assert!(!worker.log().contains("FRAME_ERROR"), "{}", worker.log());
    drop(worker);
    let listed = dead();
    let noted: Vec<_> = listed
        .lines()
        .map(|line| line.contains("without its headers"))
        .collect();
    assert_eq!(noted, [false, false, true], "{listed}");
    assert_eq!(place.dead(&["requeue"]), "3 requeued\n");
    let _worker = place.work(&server.address(), &[]);
    let jobs = place.wait_for(8);
    for id in ["bad arrays", "bad tables", "bad long"] {
        assert_eq!(jobs[id]["result"], "6");
    }
}

fn header(properties: &BasicProperties) -> Vec<u8> {
    let (bytes, _) = gen_properties(properties)(vec![0; 12].into())
        .unwrap()
        .into_inner();
    bytes
}

#[test]
fn what_is_not_utf_8_is_replaced_and_the_rest_stays() {
    let mut headers = FieldTable::default();
    headers.insert("x-own".into(), AMQPValue::LongString("kept".into()));
    let sound = BasicProperties::default()
        .with_headers(headers)
        .with_priority(3)
        .with_message_id("a-b".into())
        .with_timestamp(17);
    let bytes = header(&sound);
    assert_eq!(mended(&bytes), (sound.clone(), vec!["routing key"]));
    let at = |bytes: &[u8], text: &[u8]| {
        bytes
            .windows(text.len())
            .position(|found| found == text)
            .unwrap()
    };
    let mut binary = bytes.clone();
    binary[at(&bytes, b"a-b") + 1] = 0xff;
    let expected = sound.clone().with_message_id("a?b".into());
    assert_eq!(mended(&binary), (expected, vec!["message_id"]));
    let mut binary = bytes.clone();
    binary[at(&bytes, b"x-own")] = 0xff;
    let (found, names) = mended(&binary);
    assert_eq!(
        (found.headers(), found.priority(), names),
        (&None, &Some(3), vec!["headers"])
    );
    assert_eq!(
        mended(&bytes[..bytes.len() - 1]).1,
        ["timestamp"],
        "cut off"
    );
}
