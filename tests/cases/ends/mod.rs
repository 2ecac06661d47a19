//! What one sees of a process from outside, and how it ends.

mod age;
mod drain;
mod readiness;
mod reflection;
mod systemd;

use grpcio::{Client, Method, RpcStatusCode};
use messenger::grpc::health::wire::{HealthCheckRequest, HealthCheckResponse, Status};
use messenger::grpc::method;
use messenger::ticker::client::{TickerClient, TickerRequests};
use messenger::ticker::wire::Update;

use crate::support::SOON;
use crate::support::feed::Feed;
use crate::support::http::{Answer, request};
use crate::support::rpc::{Stream, connection};

const WATCH: Method<HealthCheckRequest, HealthCheckResponse> =
    method::server_stream("/grpc.health.v1.Health/Watch");

/// What /readyz says.
fn readyz(port: u16) -> Answer {
    request("GET", port, "/readyz", &[], "")
}

/// The lines of /readyz?verbose, and its status.
fn verbose(port: u16) -> (u16, Vec<String>) {
    let answer = request("GET", port, "/readyz?verbose", &[], "");
    let lines = answer.body.lines().map(str::to_owned).collect();
    (answer.status, lines)
}

fn watch(client: &Client) -> Stream<HealthCheckResponse> {
    let all = HealthCheckRequest::default();
    Stream::open(client, &WATCH, &all)
}

/// The next status of a Watch, or its end.
fn next(watch: &mut Stream<HealthCheckResponse>) -> Result<Status, RpcStatusCode> {
    match watch.wait() {
        Ok(response) => Ok(response.status.unwrap()),
        Err(status) => Err(status.code()),
    }
}

/// A stream in both directions, with a first quote.
fn ticker(server: &str) -> (TickerRequests, Feed<Update>) {
    let client = TickerClient::over(connection(server), SOON);
    let (mut requests, mut stream) = client.open().unwrap();
    requests.ask("AAPL").unwrap();
    let feed = Feed::start(stream.abort_handle(), move || {
        let _connection = &client;
        stream.recv()
    });
    feed.next();
    (requests, feed)
}
