//! The bridge's threads as they meet, in interleavings that shuttle chooses: the stream
//! reader delivers, loses its stream and reconnects, while "http-loop" flushes and the
//! connections of clients who left put back. Each does what [`super::super::api`] and
//! [`super::super::stream_reader`] do, in their order. Shuttle knows no time, so a wait
//! that only its timeout would end is reported as a deadlock.

use ::shuttle::thread::{self, JoinHandle};
use futures_util::stream::AbortHandle;

use super::*;
use crate::chat::bridge::postbox::{Capacity, Flushed, Place, Postbox};
use crate::chat::message::Message;
use crate::sync::{Arc, explore};

/// Those of this module.
const TESTS: usize = 11;

/// Longer than any wait here.
const LONG: Duration = Duration::from_secs(3600);

/// What the threads share.
#[derive(Clone)]
struct Bridge {
    postbox: Arc<Postbox>,
    link: Arc<Link>,
    /// Held by the request that "http-loop" answers.
    turn: Arc<Mutex<()>>,
}

fn time(number: i64) -> Timestamp {
    Timestamp::from_nanos(number)
}

fn numbers(flushed: &Flushed) -> Vec<i64> {
    let messages = flushed.messages.iter();
    messages.map(|it| it.message.send_time.nanos()).collect()
}

impl Bridge {
    /// With a live subscription.
    fn start(messages: usize) -> Self {
        let capacity = Capacity {
            messages,
            ..Capacity::default()
        };
        let bridge = Self {
            postbox: Arc::new(Postbox::new(capacity)),
            link: Arc::default(),
            turn: Arc::default(),
        };
        bridge.connect();
        bridge
    }

    fn connect(&self) {
        self.link.set(Some(AbortHandle::new_pair().0));
    }

    fn deliver(&self, number: i64) -> u64 {
        let (author, text, send_time) = (String::new(), "x".into(), time(number));
        let dropped = self.postbox.deliver(Message {
            author,
            text,
            send_time,
        });
        self.link.delivered(send_time);
        dropped
    }

    /// Those from 1 on; how many were dropped.
    fn deliver_all(&self, last: i64) -> u64 {
        (1..=last).map(|number| self.deliver(number)).sum()
    }

    /// A flush after the bridge has sent the message of this number.
    fn flush(&self, own: i64) -> Flushed {
        self.link.wait_for(time(own), LONG);
        self.postbox.flush()
    }

    fn line_up(&self, least: usize) -> Place {
        Postbox::line_up(&self.postbox, least)
    }

    /// A flush that has waited in this place.
    fn flush_after(&self, place: Place, least: usize) -> Vec<i64> {
        loop {
            assert!(place.wait(LONG));
            let turn = lock(&self.turn);
            if self.postbox.has(least) {
                return numbers(&self.postbox.flush());
            }
            drop(turn);
        }
    }

    fn does<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let bridge = self.clone();
        thread::spawn(move || work(bridge))
    }
}

#[test]
fn a_flush_has_the_bridges_own_message_and_each_message_once() {
    explore(TESTS, || {
        let bridge = Bridge::start(100);
        let reader = bridge.does(|it| it.deliver_all(4));
        let first = numbers(&bridge.flush(2));
        assert!(first.contains(&2), "{first:?}");
        let second = numbers(&bridge.flush(4));
        reader.join().unwrap();
        assert_eq!([first, second].concat(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_flush_does_not_wait_for_a_subscription_that_is_lost() {
    explore(TESTS, || {
        let bridge = Bridge::start(100);
        let reader = bridge.does(|it| {
            it.deliver(1);
            it.link.set(None);
        });
        // The message 2 was missed.
        let first = numbers(&bridge.flush(2));
        reader.join().unwrap();
        assert_eq!(first, [1]);
    });
}

#[test]
fn a_flush_goes_on_when_the_reader_has_reconnected_and_is_past_the_own_message() {
    explore(TESTS, || {
        let bridge = Bridge::start(100);
        let reader = bridge.does(|it| {
            it.deliver(1);
            it.link.set(None);
            it.connect();
            it.deliver(3);
        });
        let first = numbers(&bridge.flush(2));
        assert!(first.starts_with(&[1]), "{first:?}");
        reader.join().unwrap();
        let second = numbers(&bridge.postbox.flush());
        assert_eq!([first, second].concat(), [1, 3]);
    });
}

#[test]
fn what_two_flushes_put_back_is_in_order_among_what_comes_meanwhile() {
    explore(TESTS, || {
        let bridge = Bridge::start(100);
        let reader = bridge.does(|it| it.deliver_all(5));
        let lost = [(), ()].map(|()| {
            bridge.does(|it| {
                let flushed = it.postbox.flush();
                assert!(numbers(&flushed).is_sorted());
                assert_eq!(it.postbox.put_back(flushed), 0);
            })
        });
        let first = numbers(&bridge.flush(3));
        assert!(first.is_sorted(), "{first:?}");
        reader.join().unwrap();
        for lost in lost {
            lost.join().unwrap();
        }
        let second = bridge.postbox.flush();
        assert!(numbers(&second).is_sorted(), "{second:?}");
        assert_eq!(second.dropped, 0);
        let mut all = [first, numbers(&second)].concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_full_postbox_loses_the_oldest_and_tells_how_many() {
    explore(TESTS, || {
        let bridge = Bridge::start(2);
        let reader = bridge.does(|it| it.deliver_all(5));
        let lost = bridge.does(|it| {
            let flushed = it.postbox.flush();
            it.postbox.put_back(flushed)
        });
        let first = bridge.postbox.flush();
        let counted = reader.join().unwrap() + lost.join().unwrap();
        let second = bridge.postbox.flush();
        // What either thread was told is what the flushes tell.
        assert_eq!(first.dropped + second.dropped, counted);
        let [first, second] = [first, second].map(|flushed| numbers(&flushed));
        assert!(first.len() <= 2 && second.len() <= 2);
        assert!(first.is_sorted() && second.is_sorted());
        let mut all = [first, second].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len() as u64 + counted, 5, "{all:?}");
        assert_eq!(all.last(), Some(&5), "the newest is never dropped");
    });
}

#[test]
fn a_reader_that_reconnects_while_a_flush_is_put_back_loses_nothing() {
    explore(TESTS, || {
        let bridge = Bridge::start(100);
        let reader = bridge.does(|it| {
            it.deliver(1);
            it.deliver(2);
            it.link.set(None);
            it.connect();
            it.deliver(4);
        });
        let flushed = bridge.flush(2);
        let lost = bridge.does(move |it| it.postbox.put_back(flushed));
        let first = numbers(&bridge.flush(0));
        reader.join().unwrap();
        assert_eq!(lost.join().unwrap(), 0);
        let second = numbers(&bridge.postbox.flush());
        assert!(first.is_sorted() && second.is_sorted());
        let mut all = [first, second].concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 4]);
    });
}

#[test]
fn a_gap_is_told_by_one_flush_that_is_taken() {
    explore(TESTS, || {
        let bridge = Bridge::start(100);
        let reader = bridge.does(|it| {
            it.deliver(1);
            it.link.set(None);
            it.postbox.missed();
            it.connect();
            it.deliver(3);
        });
        let lost = bridge.does(|it| {
            let flushed = it.postbox.flush();
            it.postbox.put_back(flushed)
        });
        let first = bridge.flush(0);
        reader.join().unwrap();
        lost.join().unwrap();
        let second = bridge.postbox.flush();
        assert!(first.gap != second.gap, "{first:?}, {second:?}");
    });
}

#[test]
fn those_who_wait_get_their_messages_in_order_of_arrival() {
    explore(TESTS, || {
        let bridge = Bridge::start(100);
        let [first, second] = [bridge.line_up(2), bridge.line_up(1)];
        let [first, second] = [(first, 2), (second, 1)]
            .map(|(place, least)| bridge.does(move |it| it.flush_after(place, least)));
        let reader = bridge.does(|it| it.deliver_all(2));
        assert_eq!(first.join().unwrap(), [1, 2]);
        reader.join().unwrap();
        bridge.deliver(3);
        assert_eq!(second.join().unwrap(), [3]);
    });
}

#[test]
fn a_flush_waits_on_when_another_was_faster_and_for_what_that_one_puts_back() {
    explore(TESTS, || {
        let bridge = Bridge::start(100);
        let place = bridge.line_up(1);
        let waiter = bridge.does(|it| it.flush_after(place, 1));
        let reader = bridge.does(|it| it.deliver(1));
        let rivals = [true, false].map(|lost| {
            bridge.does(move |it| {
                let turn = lock(&it.turn);
                let flushed = it.postbox.flush();
                drop(turn);
                match lost {
                    true => (it.postbox.put_back(flushed), vec![]).1,
                    false => numbers(&flushed),
                }
            })
        });
        let rivals = rivals.map(|rival| rival.join().unwrap()).concat();
        reader.join().unwrap();
        let mut last = 1;
        if !rivals.is_empty() {
            last = 2;
            bridge.deliver(last);
        }
        assert_eq!(waiter.join().unwrap(), [last]);
    });
}

#[test]
fn whoever_leaves_the_line_is_in_nobodys_way() {
    explore(TESTS, || {
        let bridge = Bridge::start(100);
        let places = [1, 5, 1].map(|least| bridge.line_up(least));
        let [first, second, third] = places;
        let leavers = [
            // Its client turns out to have left when its turn comes, and before.
            bridge.does(move |_| drop((first.wait(LONG), first))),
            bridge.does(move |_| drop(second)),
        ];
        let waiter = bridge.does(|it| it.flush_after(third, 1));
        bridge.deliver(1);
        assert_eq!(waiter.join().unwrap(), [1]);
        for leaver in leavers {
            leaver.join().unwrap();
        }
    });
}

#[test]
fn a_full_postbox_ends_a_wait_for_more() {
    explore(TESTS, || {
        let bridge = Bridge::start(2);
        let place = bridge.line_up(5);
        let waiter = bridge.does(|it| it.flush_after(place, 5));
        bridge.deliver_all(2);
        assert_eq!(waiter.join().unwrap(), [1, 2]);
    });
}
