//! A stream without the C core: fixed cases, and under the feature `shuttle` random
//! interleavings of publisher, stream thread, completion queue and peer.

use std::task::{Wake, Waker};

use super::*;
use crate::fanout::broadcast::{Broadcast, Capacity};
use crate::sync::MutexGuard;

#[cfg(feature = "shuttle")]
use ::shuttle::thread;
#[cfg(not(feature = "shuttle"))]
use std::thread;

/// A call as the C core has it: one message at a time is under way to the peer.
#[derive(Default)]
struct Wire {
    messages: Vec<u32>,
    under_way: bool,
    gone: bool,
    status: Option<(End, Option<Timestamp>)>,
    ended: Option<(Option<End>, u64)>,
    over: bool,
    /// Woken when what is under way is taken, and when the peer goes: only who has
    /// asked, as in the C core.
    on_taken: Option<Waker>,
    on_gone: Option<Waker>,
}

#[derive(Default)]
struct Shared {
    wire: Mutex<Wire>,
    changed: Condvar,
}

impl Shared {
    fn change(&self) -> MutexGuard<'_, Wire> {
        let wire = lock(&self.wire);
        self.changed.notify_all();
        wire
    }

    fn wait_until(&self, condition: impl Fn(&Wire) -> bool) -> MutexGuard<'_, Wire> {
        let mut wire = lock(&self.wire);
        while !condition(&wire) {
            wire = unpoisoned(self.changed.wait(wire));
        }
        wire
    }

    /// The peer takes what is under way; false if the call is over.
    fn take(&self) -> bool {
        let mut wire = self.wait_until(|wire| wire.under_way || wire.over);
        let taken = std::mem::take(&mut wire.under_way);
        let waker = wire.on_taken.take();
        drop(wire);
        waker.inspect(Waker::wake_by_ref);
        taken
    }

    fn take_all(&self) {
        while self.take() {}
    }

    fn leave(&self) {
        let mut wire = self.change();
        wire.gone = true;
        let wakers = [wire.on_taken.take(), wire.on_gone.take()];
        drop(wire);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

struct Call(Arc<Shared>);

impl Peer for Call {
    type Message = u32;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let mut wire = self.0.change();
        wire.on_gone = Some(cx.waker().clone());
        if wire.gone {
            return Poll::Ready(Err(Gone));
        }
        if wire.under_way {
            wire.on_taken = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn send_first(&mut self, first: u32) -> Result<(), Gone> {
        let mut wire = self.0.change();
        assert!(!wire.under_way, "sent before the last one was taken");
        wire.messages.push(first);
        wire.under_way = true;
        Ok(())
    }

    fn send(&mut self, waiting: &[Envelope<u32>]) -> Result<usize, Gone> {
        self.send_first(waiting[0].payload)?;
        Ok(1)
    }

    fn finish(&mut self, end: End, last: Option<Timestamp>) {
        let mut wire = self.0.change();
        assert!(!wire.under_way, "the status overtakes a message");
        wire.status = Some((end, last));
        wire.under_way = true;
    }

    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut wire = self.0.change();
        if wire.gone || !wire.under_way {
            return Poll::Ready(());
        }
        wire.on_taken = Some(cx.waker().clone());
        Poll::Pending
    }

    fn ended(&mut self, end: Option<End>, messages: u64) {
        let mut wire = self.0.change();
        assert!(wire.ended.is_none(), "ended twice");
        wire.ended = Some((end, messages));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.change().over = true;
    }
}

/// The completion queue's thread, as far as one stream needs it.
#[derive(Default)]
struct Queue {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Queue {
    fn wake(self: Arc<Self>) {
        *lock(&self.woken) = true;
        self.changed.notify_one();
    }
}

fn poll_until_over(delivery: &Delivery<Call>) {
    let queue = Arc::new(Queue::default());
    let waker = Waker::from(queue.clone());
    while delivery.poll(&mut Context::from_waker(&waker)).is_pending() {
        let mut woken = lock(&queue.woken);
        while !*woken {
            woken = unpoisoned(queue.changed.wait(woken));
        }
        *woken = false;
    }
}

/// One stream with its two threads, and the peer's end of it.
struct Stream {
    broadcast: Broadcast<u32>,
    peer: Arc<Shared>,
    delivery: Arc<Delivery<Call>>,
    threads: [thread::JoinHandle<()>; 2],
}

impl Stream {
    fn open(capacity: usize, first: Option<u32>, patience: Duration) -> Self {
        let peer = Arc::new(Shared::default());
        let capacity = Capacity {
            messages: capacity,
            bytes: usize::MAX,
            together: usize::MAX,
        };
        let broadcast = Broadcast::new(capacity);
        let pair = broadcast.subscribe().expect("an open broadcast");
        let wake = |task: &Arc<AtomicWaker>| task.wake();
        let delivery = Arc::new(Delivery::new(pair, Call(peer.clone()), first, wake));
        let (running, polled) = (delivery.clone(), delivery.clone());
        let threads = [
            thread::spawn(move || running.run(patience)),
            thread::spawn(move || poll_until_over(&polled)),
        ];
        Self {
            broadcast,
            peer,
            delivery,
            threads,
        }
    }

    #[cfg(not(feature = "shuttle"))]
    fn publish(&self, value: u32) -> Timestamp {
        publish(&self.broadcast, value)
    }

    /// The call, when both threads have ended.
    fn ended(self) -> Wire {
        for thread in self.threads {
            thread.join().expect("a thread that ends");
        }
        assert_eq!(self.broadcast.subscribers(), 0);
        let wire = std::mem::take(&mut *lock(&self.peer.wire));
        assert!(wire.over);
        wire
    }
}

fn publish(broadcast: &Broadcast<u32>, value: u32) -> Timestamp {
    let published = broadcast.publish(Timestamp::from_nanos(0), |_| (value, 1));
    published.expect("an open broadcast").0
}

#[cfg(not(feature = "shuttle"))]
mod cases {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_peer_gets_each_message_once_in_order_and_then_the_status() {
        let stream = Stream::open(8192, Some(0), LONG);
        let times: Vec<_> = (1..=5000).map(|value| stream.publish(value)).collect();
        stream.broadcast.close();
        stream.peer.take_all();
        let wire = stream.ended();
        assert!(wire.messages.into_iter().eq(0..=5000));
        assert_eq!(wire.status, Some((End::Closed, times.last().copied())));
        assert_eq!(wire.ended, Some((Some(End::Closed), 5000)));
    }

    #[test]
    fn a_peer_that_lags_is_served_by_the_thread_until_it_has_caught_up() {
        let stream = Stream::open(8192, None, LONG);
        stream.publish(0);
        drop(stream.peer.wait_until(|wire| wire.under_way));
        // A whole batch waits, and what comes now has to wait behind it.
        for value in 1..5000 {
            stream.publish(value);
        }
        let lagged = |count| {
            drop(stream.peer.wait_until(|wire| wire.messages.len() > count));
            stream.peer.take();
        };
        // What the task took while they were published comes first.
        let mut taken = 0;
        while !lock(&stream.delivery.state).lagging {
            assert!(taken < 3000, "it never lags");
            lagged(taken);
            taken += 1;
        }
        (taken..4999).for_each(lagged);
        // It keeps up again: its messages come by the short cut.
        stream.peer.take();
        while lock(&stream.delivery.state).lagging {
            thread::yield_now();
        }
        stream.publish(5000);
        drop(stream.peer.wait_until(|wire| wire.messages.len() > 5000));
        let state = lock(&stream.delivery.state);
        assert!(!state.lagging && state.batch.capacity() <= BATCH_KEPT);
        drop(state);
        stream.peer.leave();
        assert!(stream.ended().messages.into_iter().eq(0..=5000));
    }

    #[test]
    fn a_cut_peer_is_told_the_last_time_when_it_has_taken_that_message() {
        let stream = Stream::open(3, None, LONG);
        let first = stream.publish(0);
        drop(stream.peer.wait_until(|wire| wire.under_way));
        for value in 1..=8 {
            stream.publish(value);
        }
        assert_eq!(stream.broadcast.slow_consumers(), 1);
        stream.peer.take_all();
        let wire = stream.ended();
        assert_eq!(wire.messages, [0]);
        assert_eq!(wire.status, Some((End::SlowConsumer, Some(first))));
        assert_eq!(wire.ended, Some((Some(End::SlowConsumer), 1)));
    }

    #[test]
    fn a_stream_that_ends_early_sends_what_was_published_before_and_no_more() {
        let stream = Stream::open(8192, None, LONG);
        let times: Vec<_> = (0..3000).map(|value| stream.publish(value)).collect();
        let mut told = 0;
        stream.delivery.close(|_| told += 1);
        stream.publish(3000);
        assert_eq!((told, stream.broadcast.subscribers()), (1, 0));
        stream.peer.take_all();
        let wire = stream.ended();
        assert!(wire.messages.into_iter().eq(0..3000));
        assert_eq!(wire.status, Some((End::Closed, times.last().copied())));
    }

    #[test]
    fn a_peer_that_reads_nothing_is_let_go_when_its_stream_is_ended_again() {
        let stream = Stream::open(8192, None, LONG);
        stream.publish(0);
        drop(stream.peer.wait_until(|wire| wire.under_way));
        stream.publish(1);
        let mut told = 0;
        for _ in 0..2 {
            stream.delivery.close(|_| told += 1);
        }
        let wire = stream.ended();
        assert_eq!((told, wire.messages, wire.status), (1, vec![0], None));
    }

    #[test]
    fn a_stream_that_is_cut_from_outside_sends_nothing_that_waits() {
        let stream = Stream::open(8192, None, LONG);
        let first = stream.publish(0);
        drop(stream.peer.wait_until(|wire| wire.under_way));
        for value in 1..3000 {
            stream.publish(value);
        }
        let mut told = 0;
        for _ in 0..2 {
            stream.delivery.cut(|_| told += 1);
        }
        assert_eq!((told, stream.broadcast.subscribers()), (1, 0));
        stream.peer.take_all();
        let wire = stream.ended();
        assert_eq!(wire.messages, [0]);
        assert_eq!(wire.status, Some((End::Closed, Some(first))));
        assert_eq!(wire.ended, Some((Some(End::Closed), 1)));
    }

    #[test]
    fn a_peer_that_takes_nothing_is_let_go_without_a_status() {
        let stream = Stream::open(8192, None, Duration::from_millis(20));
        stream.publish(0);
        drop(stream.peer.wait_until(|wire| wire.under_way));
        stream.broadcast.close();
        let wire = stream.ended();
        assert_eq!(
            (wire.status, wire.ended),
            (None, Some((Some(End::Closed), 1)))
        );
    }

    #[test]
    fn a_peer_that_leaves_ends_its_stream_without_a_message() {
        let stream = Stream::open(8192, None, LONG);
        drop(stream.peer.wait_until(|wire| wire.on_gone.is_some()));
        stream.peer.leave();
        assert_eq!(stream.ended().ended, Some((None, 0)));
    }
}

#[cfg(feature = "shuttle")]
mod shuttle {
    use super::*;
    use crate::sync::explore;

    /// Those of this module.
    const TESTS: usize = 6;
    const MESSAGES: u32 = 5;

    /// Publishes and closes while the peer does what `peer` says; returns the
    /// stream's end. A thread that sleeps beside work is a deadlock, which shuttle
    /// reports.
    fn play(capacity: usize, peer: fn(&Shared)) -> Wire {
        let stream = Stream::open(capacity, None, Duration::from_secs(10));
        let broadcast = stream.broadcast.clone();
        let publisher = thread::spawn(move || {
            for value in 0..MESSAGES {
                publish(&broadcast, value);
            }
            broadcast.close();
        });
        let shared = stream.peer.clone();
        let peer = thread::spawn(move || peer(&shared));
        publisher.join().unwrap();
        peer.join().unwrap();
        stream.ended()
    }

    fn is_prefix(messages: &[u32]) -> bool {
        messages.iter().copied().eq(0..messages.len() as u32)
    }

    #[test]
    fn a_peer_that_takes_gets_all_and_the_end() {
        let round = || {
            let wire = play(100, Shared::take_all);
            assert!(wire.messages.into_iter().eq(0..MESSAGES));
            assert_eq!(wire.status.map(|status| status.0), Some(End::Closed));
            assert_eq!(wire.ended, Some((Some(End::Closed), u64::from(MESSAGES))));
        };
        explore(TESTS, round);
    }

    #[test]
    fn a_peer_with_a_small_backlog_gets_all_or_a_prefix_and_is_cut() {
        let round = || {
            let wire = play(2, Shared::take_all);
            assert!(is_prefix(&wire.messages));
            let all = wire.messages.len() == MESSAGES as usize;
            let (end, last) = wire.status.expect("a status");
            assert_eq!(last.is_some(), !wire.messages.is_empty());
            assert!(end == End::SlowConsumer || (end == End::Closed && all));
            assert_eq!(wire.ended, Some((Some(end), wire.messages.len() as u64)));
        };
        explore(TESTS, round);
    }

    /// Ends a stream while it is published to and its peer takes: it has a prefix.
    fn ended_early(end: impl Fn(&Delivery<Call>) + Copy + Send + Sync + 'static) {
        let round = move || {
            let stream = Stream::open(100, None, Duration::from_secs(10));
            let (broadcast, shared) = (stream.broadcast.clone(), stream.peer.clone());
            let delivery = stream.delivery.clone();
            let others = [
                thread::spawn(move || {
                    for value in 0..MESSAGES {
                        publish(&broadcast, value);
                    }
                }),
                thread::spawn(move || shared.take_all()),
                thread::spawn(move || end(&delivery)),
            ];
            for other in others {
                other.join().unwrap();
            }
            let wire = stream.ended();
            assert!(is_prefix(&wire.messages));
            assert_eq!(wire.status.map(|status| status.0), Some(End::Closed));
        };
        explore(TESTS, round);
    }

    #[test]
    fn a_stream_that_is_cut_ends_whatever_happens_meanwhile() {
        ended_early(|delivery| delivery.cut(|_| {}));
    }

    #[test]
    fn a_stream_that_ends_early_has_a_prefix_whatever_happens_meanwhile() {
        ended_early(|delivery| delivery.close(|_| {}));
    }

    #[test]
    fn a_peer_that_leaves_ends_both_threads() {
        let round = || {
            let wire = play(100, |peer| {
                peer.take();
                peer.leave();
            });
            assert!(is_prefix(&wire.messages));
            assert!(wire.over);
        };
        explore(TESTS, round);
    }

    #[test]
    fn a_peer_that_stalls_until_the_end_still_gets_its_messages() {
        let round = || {
            let wire = play(100, |peer| {
                peer.take();
                // Nothing is taken until something else has happened to it.
                for _ in 0..20 {
                    thread::yield_now();
                }
                peer.take_all();
            });
            assert!(wire.messages.into_iter().eq(0..MESSAGES));
        };
        explore(TESTS, round);
    }
}
