//! What one sees of a process from outside: metrics, and the access log.

mod access_log;
mod all;
mod server;
mod services;

use crate::support::http::request;
use crate::support::jobs::Place;
use crate::support::programs::{Server, messenger, metrics_port};

#[test]
fn the_metrics_port_says_what_it_has() {
    let server = Server::start(&["--metrics-port", "0"]);
    let port = server.metrics_port();
    let scrape = request("GET", port, "/metrics", &[], "");
    let format = "text/plain; version=0.0.4";
    assert_eq!(
        (scrape.status, scrape.header("Content-Type")),
        (200, Some(format))
    );
    assert!(
        scrape.body.contains("\nprocess_open_fds "),
        "{}",
        scrape.body
    );
    let head = request("HEAD", port, "/metrics", &[], "");
    assert_eq!((head.status, &*head.body), (200, ""));
    let post = request("POST", port, "/metrics", &[], "");
    assert_eq!(
        (post.status, post.header("Allow")),
        (405, Some("GET, HEAD"))
    );
    let other = request("GET", port, "/metrics/", &[], "");
    assert!(
        other.status == 404 && other.body.contains("/metrics"),
        "{}",
        other.body
    );
}

#[test]
fn a_port_for_metrics_that_is_taken_is_an_error() {
    let server = Server::start(&["--metrics-port", "0"]);
    let port = server.metrics_port().to_string();
    let mut second = messenger(&["server", "--port", "0", "--metrics-port", &port]);
    assert_eq!(second.wait_exit(crate::support::SOON), 1);
    let told = format!("cannot listen on 127.0.0.1:{port}");
    assert!(second.log().contains(&told), "{}", second.log());
}

#[test]
fn a_worker_has_a_port_for_metrics_too() {
    let place = Place::embedded();
    let worker = place.jobs(&["work", "--target", "127.0.0.1:1", "--metrics-port", "0"]);
    let scrape = request("GET", metrics_port(&worker), "/metrics", &[], "");
    assert!(
        scrape.body.contains("\nprocess_open_fds "),
        "{}",
        scrape.body
    );
}
