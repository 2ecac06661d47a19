//! The bridge when its server's clock steps, by libfaketime.

use crate::support::clock::{Clock, borrowed};
use crate::support::eventually;
use crate::support::http::{flush, post, send};
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Server, free_port, messenger_with};
use crate::support::{SOON, heavy};

#[test]
fn a_flush_has_the_own_message_though_the_servers_clock_has_stepped_back() {
    let _machine = heavy();
    let clock = Clock::new("+0");
    let port = free_port().to_string();
    let server = || {
        let arguments = ["server", "--host", "127.0.0.1", "--port", &port];
        let variables = clock.variables();
        Server::listening(messenger_with(&arguments, &borrowed(&variables)), 1)
    };
    let mut first = server();
    let bridge = Bridge::start(&first.address(), &[]);
    let before = send(bridge.port(), "a", "before");
    eventually(SOON, "the message", || !flush(bridge.port()).is_empty());
    first.signal(Signal::KILL);
    first.wait_exit(SOON);
    clock.step("-1h");
    let _second = server();
    // The subscription is live again when the header goes.
    eventually(SOON, "the bridge is back", || {
        let answer = post(bridge.port(), "/getAndFlushMessages", "");
        answer.header("X-Messenger-Subscribed").is_none()
    });
    for number in 0..300 {
        let text = number.to_string();
        let time = send(bridge.port(), "a", &text);
        assert!(time < before, "the clock was believed");
        let own = flush(bridge.port());
        assert!(
            own.iter().any(|m| m.text == text),
            "{text} is not in {own:?}"
        );
    }
}
