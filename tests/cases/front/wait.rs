//! Requests that wait before their lane: the lane is free meanwhile, and only the line,
//! the client, its token or a shutdown ends a wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use messenger::http::{
    Asked, Front, Gate, Limits, Line, Pass, Place, Refusal, Request, Response, Serving, Turn,
};

use crate::support::SOON;

use super::{GET, Peer, ask, limits, millis};

const WAIT: &[u8] = b"GET /wait HTTP/1.1\r\nHost: localhost\r\nX-Front-Waited: ready\r\n\r\n";

/// All requests to /wait; each one's place is told to the test.
struct Places(Sender<Held>);

/// The test's side of a place: when its turn has come, and when it is given up.
struct Held {
    turn: Sender<Turn>,
    gone: Receiver<()>,
}

struct OnePlace {
    turns: Receiver<Turn>,
    _gone: Sender<()>,
}

impl Line for Places {
    fn join(&self, asked: &Asked<'_>) -> Option<Box<dyn Place>> {
        let ((turn, turns), (_gone, gone)) = (unbounded(), unbounded());
        (asked.path == "/wait").then(|| {
            let _ = self.0.send(Held { turn, gone });
            Box::new(OnePlace { turns, _gone }) as _
        })
    }
}

impl Place for OnePlace {
    fn wait(&mut self, timeout: Duration) -> Turn {
        match self.turns.recv_timeout(timeout) {
            Ok(turn) => turn,
            Err(RecvTimeoutError::Timeout) => Turn::NotYet,
            Err(RecvTimeoutError::Disconnected) => Turn::Over,
        }
    }
}

/// A front with such a line; the places come in order of arrival.
fn start(
    limits: Limits,
    handler: impl FnMut(Request) -> Response + Send + 'static,
) -> (Serving, Receiver<Held>) {
    let (joined, places) = unbounded();
    let front = Front::bind("127.0.0.1:0").expect("a free port");
    let front = front.with_line(Arc::new(Places(joined)));
    let serving = front.serve(limits, vec![handler], "http-loop").unwrap();
    (serving, places)
}

fn tell(request: Request) -> Response {
    Response::text(200, format!("waited: {}", request.waited))
}

/// A client that waits, and its place.
fn waiting(front: &Serving, places: &Receiver<Held>) -> (Peer, Held) {
    let peer = Peer::connect(front.local_addr());
    peer.send(WAIT);
    (
        peer,
        places.recv_timeout(SOON).expect("a place in the line"),
    )
}

#[test]
fn a_request_waits_without_its_lane_and_without_the_limits_of_one_that_is_slow() {
    let short = limits(|limits| {
        let all = [
            &mut limits.request_time,
            &mut limits.idle_time,
            &mut limits.lane_wait,
            &mut limits.answer_time,
            &mut limits.write_time,
        ];
        all.into_iter().for_each(|time| *time = millis(300));
    });
    let (front, places) = start(short, tell);
    let mut waiters = [(), ()].map(|()| waiting(&front, &places));
    let since = Instant::now();
    while since.elapsed() < millis(700) {
        assert_eq!(ask(front.local_addr(), GET).text(), "waited: false");
    }
    for ((peer, held), turn) in waiters.iter_mut().zip([Turn::Over, Turn::Ready]) {
        held.turn.send(turn).unwrap();
        let reply = peer.answer();
        assert_eq!(reply.text(), format!("waited: {}", turn == Turn::Ready));
        assert!(!reply.closes());
    }
}

#[test]
fn a_handler_sends_a_request_back_to_its_place() {
    let mut calls = 0;
    let (front, places) = start(Limits::default(), move |request| {
        calls += 1;
        match calls {
            1 | 2 | 4 => Response::wait_again(),
            _ => tell(request),
        }
    });
    let (mut peer, held) = waiting(&front, &places);
    for _ in 0..3 {
        held.turn.send(Turn::Ready).unwrap();
    }
    assert_eq!(peer.answer().text(), "waited: true");
    // One whose time is over has to be answered.
    let (mut peer, held) = waiting(&front, &places);
    held.turn.send(Turn::Over).unwrap();
    assert_eq!(peer.answer().status, 500);
}

#[test]
fn half_of_the_connections_wait_and_the_others_are_served() {
    let (front, places) = start(limits(|limits| limits.connections = 5), tell);
    let waiters = [(), (), ()].map(|()| waiting(&front, &places));
    let refused = ask(front.local_addr(), WAIT);
    assert_eq!(
        (refused.status, refused.header("Retry-After")),
        (503, Some("1"))
    );
    let named = "over the limit of 3 waiting requests";
    assert!(refused.text().contains(named), "{}", refused.text());
    assert_eq!(ask(front.local_addr(), GET).status, 200);
    let _ = places.try_recv();
    for (mut peer, held) in waiters {
        held.turn.send(Turn::Ready).unwrap();
        assert_eq!(peer.answer().status, 200);
    }
    waiting(&front, &places);
}

#[test]
fn a_client_that_leaves_gives_up_its_place_and_no_handler_hears_of_it() {
    let heard = Arc::new(AtomicBool::new(false));
    let hears = heard.clone();
    let (front, places) = start(Limits::default(), move |request| {
        hears.fetch_or(request.path == "/wait", Ordering::SeqCst);
        tell(request)
    });
    // Whether its turn comes or not.
    for ready in [false, true] {
        let (peer, held) = waiting(&front, &places);
        drop(peer);
        if ready {
            held.turn.send(Turn::Ready).unwrap();
        }
        let gone = held.gone.recv_timeout(SOON);
        assert_eq!(gone, Err(RecvTimeoutError::Disconnected));
    }
    // One that only says that it will send no more cannot be told from it, but hears why.
    let (mut peer, _held) = waiting(&front, &places);
    peer.half_close();
    let reply = peer.answer();
    assert_eq!(reply.status, 499);
    assert!(reply.text().contains("CANCELLED"), "{}", reply.text());
    assert_eq!(ask(front.local_addr(), GET).status, 200);
    assert!(!heard.load(Ordering::SeqCst));
}

#[test]
fn a_shutdown_ends_the_wait_and_the_request_is_answered() {
    let (front, places) = start(Limits::default(), tell);
    let (mut peer, _held) = waiting(&front, &places);
    let since = Instant::now();
    front.shutdown();
    assert!(
        since.elapsed() < Duration::from_secs(4),
        "{:?}",
        since.elapsed()
    );
    let reply = peer.answer();
    assert_eq!((reply.text(), reply.closes()), ("waited: false", true));
    peer.wait_closed();
}

/// Open until it is closed.
#[derive(Debug, Default)]
struct Closing(Arc<AtomicBool>);

impl Gate for Closing {
    fn connection(&self, _: std::net::IpAddr) -> Result<(), Refusal> {
        Ok(())
    }

    fn request(&self, _: std::net::IpAddr, _: &Asked<'_>) -> Result<Pass, Refusal> {
        if self.0.load(Ordering::SeqCst) {
            return Err(Refusal::new(403, "closed by now"));
        }
        let closed = self.0.clone();
        Ok(Some(Box::new(move || !closed.load(Ordering::SeqCst))))
    }
}

#[test]
fn a_request_whose_pass_is_withdrawn_while_it_waits_gets_what_the_gate_says() {
    let gate = Closing::default();
    let closed = gate.0.clone();
    let gated = limits(|limits| limits.gate = Some(Arc::new(gate)));
    let (front, places) = start(gated, tell);
    let [(mut early, _early), (mut late, held)] = [(), ()].map(|()| waiting(&front, &places));
    closed.store(true, Ordering::SeqCst);
    // Also one whose turn comes before anybody looked.
    held.turn.send(Turn::Ready).unwrap();
    for peer in [&mut late, &mut early] {
        let reply = peer.answer();
        assert_eq!(reply.status, 403);
        assert!(reply.text().contains("closed by now"), "{}", reply.text());
    }
}
