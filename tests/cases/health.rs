//! grpc.health.v1, and `messenger healthcheck` for containers.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use grpcio::{CallOption, Client, Method, RpcStatusCode};
use messenger::grpc::health::wire::{CHECK, HealthCheckRequest, HealthCheckResponse, Status};
use messenger::grpc::method;

use crate::support::process::Signal;
use crate::support::programs::{Bridge, Server, free_port, messenger, messenger_with};
use crate::support::rpc::{Stream, raw};
use crate::support::{SOON, eventually};

const WATCH: Method<HealthCheckRequest, HealthCheckResponse> =
    method::server_stream("/grpc.health.v1.Health/Watch");

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
        ..Default::default()
    }
}

fn check(client: &Client, service: &str) -> Result<Status, RpcStatusCode> {
    let options = CallOption::default().timeout(SOON);
    match client.unary_call(&CHECK, &request(service), options) {
        Ok(response) => Ok(response.status.unwrap()),
        Err(grpcio::Error::RpcFailure(status)) => Err(status.code()),
        Err(other) => panic!("{other}"),
    }
}

/// The next status of a Watch, or its end.
fn next(watch: &mut Stream<HealthCheckResponse>) -> Result<Status, RpcStatusCode> {
    match watch.wait() {
        Ok(response) => Ok(response.status.unwrap()),
        Err(status) => Err(status.code()),
    }
}

fn watch(client: &Client, service: &str) -> Stream<HealthCheckResponse> {
    Stream::open(client, &WATCH, &request(service))
}

#[test]
fn check_knows_the_server_and_its_service_and_nothing_else() {
    let server = Server::start(&[]);
    let client = raw(&server.address());
    assert_eq!(check(&client, ""), Ok(Status::SERVING));
    assert_eq!(
        check(&client, "mes_grpc.MessengerServer"),
        Ok(Status::SERVING)
    );
    for unknown in [
        "mes_grpc",
        "MessengerServer",
        "mes_grpc.MessengerServer/SendMessage",
    ] {
        assert_eq!(
            check(&client, unknown),
            Err(RpcStatusCode::NOT_FOUND),
            "{unknown}"
        );
    }
}

#[test]
fn watch_tells_the_state_at_once_and_not_serving_before_the_end() {
    let mut server = Server::start(&[]);
    let client = raw(&server.address());
    let mut all = watch(&client, "");
    let mut chat = watch(&client, "mes_grpc.MessengerServer");
    let mut unknown = watch(&client, "unknown");
    assert_eq!(next(&mut all), Ok(Status::SERVING));
    assert_eq!(next(&mut chat), Ok(Status::SERVING));
    assert_eq!(next(&mut unknown), Ok(Status::SERVICE_UNKNOWN));
    server.signal(Signal::TERM);
    // What is not known does not stop serving.
    assert_eq!(next(&mut unknown), Err(RpcStatusCode::UNAVAILABLE));
    for watch in [&mut all, &mut chat] {
        assert_eq!(next(watch), Ok(Status::NOT_SERVING));
        assert_eq!(next(watch), Err(RpcStatusCode::UNAVAILABLE));
    }
    assert_eq!(server.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn a_watch_is_a_stream_that_counts_and_leaves() {
    let server = Server::start(&["--max-streams", "1"]);
    let client = raw(&server.address());
    let mut first = watch(&client, "");
    assert_eq!(next(&mut first), Ok(Status::SERVING));
    let mut second = watch(&client, "");
    assert_eq!(next(&mut second), Err(RpcStatusCode::RESOURCE_EXHAUSTED));
    server.wait_for_threads("health-", 1);
    drop(first);
    eventually(
        Duration::from_secs(2),
        "the thread of the watch has ended",
        || server.threads_named("health-") == 0,
    );
}

/// The exit code, and what was said.
fn healthcheck(arguments: &[&str]) -> (i32, String) {
    let mut process = messenger(&[&["healthcheck"], arguments].concat());
    let code = process.wait_exit(SOON);
    (code, process.log())
}

#[test]
fn healthcheck_exits_with_zero_for_what_serves_and_one_for_what_does_not() {
    let server = Server::start(&[]);
    let address = server.address();
    assert_eq!(healthcheck(&["--server", &address]), (0, String::new()));
    let chat = [
        "--server",
        &address,
        "--service",
        "mes_grpc.MessengerServer",
    ];
    assert_eq!(healthcheck(&chat).0, 0);
    let (code, said) = healthcheck(&["--server", &address, "--service", "nobody"]);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    let nobody = format!("127.0.0.1:{}", free_port());
    let (code, said) = healthcheck(&["--server", &nobody]);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
}

#[test]
fn healthcheck_asks_a_bridge_over_http() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    assert_eq!(healthcheck(&["--http", &bridge.address()]).0, 0);
    let nobody = format!("127.0.0.1:{}", free_port());
    assert_eq!(healthcheck(&["--http", &nobody]).0, 1);
}

#[test]
fn healthcheck_waits_no_longer_than_its_timeout() {
    // Accepts, by its backlog, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for target in ["--server", "--http"] {
        let started = Instant::now();
        assert_eq!(healthcheck(&[target, &address, "--timeout", "300ms"]).0, 1);
        assert!(started.elapsed() < Duration::from_secs(3), "{target}");
    }
}

#[test]
fn healthcheck_asks_what_a_flag_names_then_the_port_of_the_variable() {
    let server = Server::start(&[]);
    let (address, port) = (server.address(), server.port().to_string());
    let nobody = free_port().to_string();
    let ask = |arguments: &[&str], variables: &[(&str, &str)]| {
        let arguments = [&["healthcheck"], arguments].concat();
        messenger_with(&arguments, variables).wait_exit(SOON)
    };
    let by = |port| ("MESSENGER_SERVER_PORT", port);
    assert_eq!(ask(&[], &[by(port.as_str())]), 0);
    assert_eq!(ask(&["--server", &address], &[by(nobody.as_str())]), 0);
    assert_eq!(ask(&["--port", &port], &[by(nobody.as_str())]), 0);
    // Where clients connect to is no part of it.
    let others = ("MESSENGER_SERVER_ADDR", &*address);
    assert_eq!(ask(&[], &[by(nobody.as_str()), others]), 1);
    let bridge = Bridge::start(&address, &[]);
    let (address, port) = (bridge.address(), bridge.port().to_string());
    let by = |port| ("MESSENGER_HTTP_PORT", port);
    assert_eq!(ask(&["--http"], &[by(port.as_str())]), 0);
    assert_eq!(ask(&["--http", &address], &[by(nobody.as_str())]), 0);
    let others = ("MESSENGER_HTTP_ADDR", &*address);
    assert_eq!(ask(&["--http"], &[by(nobody.as_str()), others]), 1);
    // A port that is given out at start cannot be known.
    let (code, said) = healthcheck(&["--port", "0"]);
    assert!(code == 1 && said.contains("--port: 0"), "{said}");
    assert_eq!(healthcheck(&["--server", &address, "--http"]).0, 2);
}
