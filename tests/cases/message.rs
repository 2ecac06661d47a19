//! The jobs' synchronous half, called from a terminal and from a program.

use messenger::error::Code;
use messenger::grpc::client::{Connection, Settings};
use messenger::jobs::client::MessageClient;
use messenger::jobs::task::Task;

use crate::support::SOON;
use crate::support::programs::{Server, messenger};
use crate::support::rpc::environment;

/// Exit code, standard output and the last line of the log.
fn call(server: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut process = messenger(&[&["call"], arguments, &["--server", server]].concat());
    let mut lines = Vec::new();
    while let Some(line) = process.line(SOON) {
        lines.push(line);
    }
    (process.wait_exit(SOON), lines.join("\n"), process.log())
}

#[test]
fn the_terminal_shows_answers_and_refusals() {
    let server = Server::start(&[]);
    for (arguments, answer) in [
        (
            ["process", "straße, мир"],
            "Обработано сервером: STRASSE, МИР",
        ),
        (["ab", "user42"], "B"),
        (["ab", "alice"], "A"),
        (["fact", "0"], "1"),
        (["fact", "25"], "15511210043330985984000000"),
        (["freq", "Hello, World"], "l 3"),
    ] {
        let (code, said, log) = call(&server.address(), &arguments);
        assert_eq!((code, &*said), (0, answer), "{arguments:?}: {log}");
    }
    for (arguments, named) in [
        (["fact", "-1"], "-1"),
        (["fact", "20001"], "20000"),
        (["freq", "123"], "letters"),
    ] {
        let (code, said, log) = call(&server.address(), &arguments);
        assert_eq!((code, &*said), (1, ""));
        assert!(
            log.contains("InvalidArgument") && log.contains(named),
            "{log}"
        );
    }
}

#[test]
fn ten_thousand_factorial_is_exact() {
    let server = Server::start(&["--services", "message"]);
    let (code, digits, _) = call(&server.address(), &["fact", "10000"]);
    assert_eq!((code, digits.len()), (0, 35_660));
    // Every fifth number brings zeros: 2000 + 400 + 80 + 16 + 3 of them.
    assert_eq!(digits.trim_end_matches('0').len(), 35_660 - 2499);
    let sum: u32 = digits.bytes().map(|digit| u32::from(digit - b'0')).sum();
    assert_eq!(sum, 149_346, "worked out with Python");
}

#[test]
fn large_factorials_hold_up_no_other_call() {
    let server = Server::start(&["--services", "message", "--grpc-threads", "1"]);
    let connection = Connection::new(environment(), &server.address(), &Settings::default());
    let client = MessageClient::over(connection, SOON);
    let (finished, order) = crossbeam_channel::unbounded();
    std::thread::scope(|scope| {
        let large = (0..64).map(|_| {
            scope.spawn(|| {
                client.answer(&Task::Factorial(20_000)).unwrap();
                finished.send(()).unwrap();
            })
        });
        let large: Vec<_> = large.collect();
        order.recv_timeout(SOON).expect("they have begun");
        let group = client.answer(&Task::AssignGroup("user42".into()));
        assert_eq!(group.as_deref(), Ok("B"));
        assert!(order.len() < 62, "the small call waited for the large ones");
        drop(large);
    });
}

#[test]
fn every_number_is_answered_or_refused() {
    let server = Server::start(&["--services", "message"]);
    let connection = Connection::new(environment(), &server.address(), &Settings::default());
    let client = MessageClient::over(connection, SOON);
    for n in [i64::MIN, -1, 20_001, i64::MAX] {
        let error = client.answer(&Task::Factorial(n)).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
    }
    let long = "freq:".to_owned() + &"ab".repeat(100_000) + "b";
    let answer = client.answer(&Task::parse("freq:x").unwrap());
    assert_eq!(answer.as_deref(), Ok("x 1"));
    let answer = client.answer(&Task::MostFrequentLetter(long));
    assert_eq!(answer.as_deref(), Ok("b 100001"), "long texts too");
}
