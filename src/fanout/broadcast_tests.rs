//! Tests of the fan-out: fixed cases, random histories, and under the feature
//! `shuttle` random interleavings of threads.

use std::time::Duration;

use super::*;
use crate::sync::{Condvar, unpoisoned};

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn publish(broadcast: &Broadcast<u32>, value: u32) -> Timestamp {
    broadcast
        .publish(at(0), |_| (value, 1))
        .expect("the broadcast is open")
        .0
}

const ANY_AGE: Duration = Duration::from_secs(3600);

/// A broadcast that keeps so many messages.
fn keeping(messages: usize) -> Broadcast<u32> {
    let bound = Bound {
        messages,
        bytes: usize::MAX,
        age: ANY_AGE,
    };
    Broadcast::with_replay(Capacity::default(), bound)
}

/// All that the subscription still gives, and why it ended. Sleeps until the bell
/// rings when there is nothing.
fn drain(subscription: &mut Subscription<u32>) -> (Vec<(Timestamp, u32)>, End) {
    let rung = Arc::new((Mutex::new(false), Condvar::new()));
    let bell = rung.clone();
    subscription.ring(Box::new(move || {
        *lock(&bell.0) = true;
        bell.1.notify_one();
    }));
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    loop {
        match subscription.try_batch(&mut batch, 3) {
            Ok(()) if batch.is_empty() => {
                let mut rung_now = lock(&rung.0);
                while !*rung_now {
                    rung_now = unpoisoned(rung.1.wait(rung_now));
                }
                *rung_now = false;
            }
            Ok(()) => all.extend(batch.iter().map(|e| (e.time, e.payload))),
            Err(end) => return (all, end),
        }
    }
}

#[cfg(not(feature = "shuttle"))]
mod cases {
    use super::*;
    use proptest::prelude::*;

    const TWO: Capacity = Capacity {
        messages: 2,
        bytes: 100,
        together: usize::MAX,
    };

    #[test]
    fn a_subscriber_gets_what_comes_after_it_and_nothing_before() {
        let broadcast = Broadcast::new(Capacity::default());
        publish(&broadcast, 1);
        let (mut early, _membership) = broadcast.subscribe().unwrap();
        let time = publish(&broadcast, 2);
        broadcast.close();
        assert_eq!(drain(&mut early), (vec![(time, 2)], End::Closed));
    }

    /// Values and their times, one at a time and each after a look that finds nothing.
    struct Slow(std::collections::VecDeque<(Timestamp, u32)>, Bell, bool);

    impl Stored<u32> for Slow {
        fn next(&mut self, batch: &mut Vec<Envelope<u32>>) -> Result<bool, Gone> {
            self.2 = !self.2;
            if self.2 {
                (self.1)();
                return Ok(!self.0.is_empty());
            }
            batch.extend(self.0.pop_front().map(|(time, payload)| Envelope {
                time,
                bytes: 1,
                payload,
            }));
            Ok(true)
        }
    }

    #[test]
    fn what_the_replay_buffer_does_not_have_comes_from_elsewhere_and_then_what_is_live() {
        let broadcast = keeping(1);
        drop(broadcast.resume(None).unwrap());
        let sent: Vec<_> = (0..4).map(|n| (publish(&broadcast, n), n)).collect();
        let (after, missed) = (sent[0].0, sent[1..].to_vec());
        let stored = |up_to, bell| {
            assert_eq!(up_to, sent[3].0);
            Some(Box::new(Slow(missed.into(), bell, false)) as _)
        };
        let ((mut subscription, _membership), start) =
            broadcast.resume_with(Some(after), stored).unwrap();
        assert_eq!((start.gap, start.position), (false, after));
        let live = (publish(&broadcast, 4), 4);
        let (mut read, mut batch) = (Vec::new(), Vec::new());
        while read.len() < 4 {
            subscription.try_batch(&mut batch, 3).unwrap();
            read.extend(batch.iter().map(|it| (it.time, it.payload)));
        }
        assert_eq!(read, [&sent[1..], &[live]].concat());
        broadcast.close();
        assert_eq!(drain(&mut subscription), (vec![], End::Closed));
    }

    #[test]
    fn what_is_gone_elsewhere_cuts_its_reader_alone() {
        struct Nothing;
        impl Stored<u32> for Nothing {
            fn next(&mut self, _: &mut Vec<Envelope<u32>>) -> Result<bool, Gone> {
                Err(Gone)
            }
        }
        let broadcast = keeping(0);
        let time = publish(&broadcast, 1);
        drop(broadcast.resume(None).unwrap());
        publish(&broadcast, 2);
        let stored = |_, _| Some(Box::new(Nothing) as _);
        let (mut cut, _) = broadcast.resume_with(Some(time), stored).unwrap();
        let (mut other, _membership) = broadcast.subscribe().unwrap();
        assert_eq!(drain(&mut cut.0), (vec![], End::SlowConsumer));
        let time = publish(&broadcast, 3);
        broadcast.close();
        assert_eq!(drain(&mut other), (vec![(time, 3)], End::Closed));
    }

    #[test]
    fn a_restart_ends_all_and_knows_no_place_from_before() {
        let broadcast = keeping(10);
        let (mut before, _) = broadcast.resume(None).unwrap();
        let time = publish(&broadcast, 1);
        broadcast.restart(at(100));
        assert_eq!(drain(&mut before.0), (vec![(time, 1)], End::Restarted));
        let (_, start) = broadcast.resume(Some(time)).unwrap();
        assert!(start.gap);
        assert_eq!(start.position, at(100));
        assert_eq!(publish(&broadcast, 2), at(101));
    }

    #[test]
    fn a_closed_broadcast_takes_nothing() {
        let broadcast = Broadcast::<u32>::new(TWO);
        broadcast.close();
        assert!(broadcast.subscribe().is_err());
        let refused = broadcast.publish(at(0), |_| unreachable!("build must not be called"));
        assert!(refused.is_err());
    }

    #[test]
    fn too_many_messages_cut_the_slow_consumer_and_no_other() {
        let broadcast = Broadcast::new(TWO);
        let (mut slow, _slow_membership) = broadcast.subscribe().unwrap();
        publish(&broadcast, 0);
        let (mut quick, _quick_membership) = broadcast.subscribe().unwrap();
        publish(&broadcast, 1);
        publish(&broadcast, 2);
        assert_eq!(slow.end(), Some(End::SlowConsumer));
        assert_eq!(drain(&mut slow), (vec![], End::SlowConsumer));
        assert_eq!(
            (broadcast.subscribers(), broadcast.slow_consumers()),
            (1, 1)
        );
        broadcast.close();
        assert_eq!(drain(&mut quick).0.len(), 2);
    }

    #[test]
    fn too_many_bytes_cut_the_slow_consumer() {
        let broadcast = Broadcast::new(TWO);
        let (mut slow, _membership) = broadcast.subscribe().unwrap();
        drop(broadcast.publish(at(0), |_| (1, 100)));
        assert_eq!(slow.end(), None);
        drop(broadcast.publish(at(0), |_| (2, 1)));
        assert_eq!(drain(&mut slow), (vec![], End::SlowConsumer));
    }

    #[test]
    fn over_the_bound_of_all_together_whoever_has_most_is_cut() {
        let broadcast = Broadcast::new(Capacity {
            together: 8 * ENVELOPE_BYTES,
            ..Capacity::default()
        });
        let (mut slow, _slow) = broadcast.subscribe().unwrap();
        let (mut quick, _quick) = broadcast.subscribe().unwrap();
        let mut batch = Vec::new();
        for value in 0..20 {
            publish(&broadcast, value);
            quick.try_batch(&mut batch, 1).unwrap();
        }
        // Six messages of one and two of the other were 8.
        assert_eq!(slow.end(), Some(End::SlowConsumer));
        assert_eq!((quick.end(), broadcast.subscribers()), (None, 1));
        slow.clear();
        assert_eq!(drain(&mut slow), (vec![], End::SlowConsumer));
    }

    #[test]
    fn a_batch_counts_until_the_next_is_taken() {
        let broadcast = Broadcast::new(TWO);
        let (mut reader, _membership) = broadcast.subscribe().unwrap();
        let mut batch = Vec::new();
        publish(&broadcast, 1);
        publish(&broadcast, 2);
        for _ in 0..2 {
            reader.try_batch(&mut batch, 1).unwrap();
        }
        publish(&broadcast, 3);
        assert_eq!(reader.end(), None);
        publish(&broadcast, 4);
        assert_eq!(reader.end(), Some(End::SlowConsumer));
    }

    #[test]
    fn closing_a_membership_ends_that_reader_alone_behind_what_it_has() {
        let broadcast = Broadcast::new(TWO);
        let (mut reader, membership) = broadcast.subscribe().unwrap();
        let (mut other, _membership) = broadcast.subscribe().unwrap();
        publish(&broadcast, 1);
        membership.close();
        membership.close();
        publish(&broadcast, 2);
        broadcast.close();
        drop(membership);
        let (messages, end) = drain(&mut reader);
        assert_eq!((messages.len(), end), (1, End::Closed));
        assert_eq!(drain(&mut other).0.len(), 2);
    }

    #[test]
    fn dropping_the_membership_ends_the_reader() {
        let broadcast = Broadcast::new(TWO);
        let (mut reader, membership) = broadcast.subscribe().unwrap();
        publish(&broadcast, 1);
        drop(membership);
        assert_eq!(broadcast.subscribers(), 0);
        let (messages, end) = drain(&mut reader);
        assert_eq!((messages.len(), end), (1, End::Left));
    }

    #[test]
    fn who_comes_back_reads_what_it_missed_beside_its_backlog() {
        let broadcast = Broadcast::new(TWO);
        let ((_, first), start) = broadcast.resume(None).unwrap();
        assert_eq!((start.position, start.gap), (at(0), false));
        drop(first);
        let times: Vec<_> = (1..=5).map(|value| publish(&broadcast, value)).collect();
        let ((mut reader, _membership), start) = broadcast.resume(Some(times[0])).unwrap();
        assert_eq!((start.position, start.gap), (times[0], false));
        publish(&broadcast, 6);
        publish(&broadcast, 7);
        assert_eq!(reader.end(), None, "four that it missed do not count");
        broadcast.close();
        let (messages, end) = drain(&mut reader);
        assert!(messages.iter().map(|it| it.1).eq(2..=7));
        assert_eq!(end, End::Closed);
    }

    #[test]
    fn who_reads_more_slowly_than_the_buffer_drops_is_a_slow_consumer() {
        let broadcast = keeping(4);
        let start = broadcast.resume(None).unwrap().1;
        for value in 1..=4 {
            publish(&broadcast, value);
        }
        let ((mut reader, membership), _) = broadcast.resume(Some(start.position)).unwrap();
        let mut batch = Vec::new();
        reader.try_batch(&mut batch, 2).unwrap();
        assert_eq!(batch.last().unwrap().payload, 2);
        // The third is not read yet; the stream has even left meanwhile.
        for value in 5..=7 {
            publish(&broadcast, value);
        }
        membership.close();
        assert_eq!(reader.try_batch(&mut batch, 2), Err(End::SlowConsumer));
        assert_eq!((broadcast.slow_consumers(), batch.len()), (1, 0));
    }

    proptest! {
        /// Any history of messages and of readers that come back at any place: each has
        /// all that came after that, or begins live with a gap, or is cut.
        #[test]
        fn who_comes_back_has_everything_since_or_is_told(
            steps in prop::collection::vec((0u8..4, any::<i32>(), 0.0..1.2), 1..100)
        ) {
            const KEPT: usize = 8;
            let broadcast = keeping(KEPT);
            let mut times = vec![at(0)];
            let mut begun = None;
            let mut readers = Vec::new();
            for (step, clock, place) in steps {
                let published = times.len() - 1;
                if step > 0 {
                    let (time, _) = broadcast
                        .publish(at(clock.into()), |_| (published as u32, 1))
                        .unwrap();
                    times.push(time);
                    continue;
                }
                let oldest = published.saturating_sub(KEPT).max(*begun.get_or_insert(published));
                let known = (place * times.len() as f64) as usize;
                let after = times.get(known).copied();
                let later = at(times[published].nanos() + 1);
                let (pair, start) = broadcast.resume(Some(after.unwrap_or(later))).unwrap();
                let gap = after.is_none() || known < oldest;
                prop_assert_eq!(start.gap, gap);
                let from = if gap { published } else { known };
                prop_assert_eq!(start.position, times[from]);
                readers.push((pair, from, published));
            }
            broadcast.close();
            let all: Vec<_> = times.into_iter().skip(1).zip(0..).collect();
            for ((mut reader, _membership), from, joined) in readers {
                let lost = from < joined && from + KEPT < all.len();
                let whole = (all[from..].to_vec(), End::Closed);
                let wanted = if lost { (vec![], End::SlowConsumer) } else { whole };
                prop_assert_eq!(drain(&mut reader), wanted);
            }
        }

        /// Any history of joins, leaves and messages, with a wall clock that
        /// jumps: each reader has exactly the messages of its membership, in
        /// the one order, with strictly rising times.
        #[test]
        fn every_reader_sees_its_stretch_of_the_one_order(
            steps in prop::collection::vec((0u8..8, any::<i32>()), 1..200)
        ) {
            let broadcast = Broadcast::new(Capacity::default());
            let mut published: Vec<(Timestamp, u32)> = Vec::new();
            let mut members = std::collections::VecDeque::new();
            let mut finished = Vec::new();
            for (step, clock) in steps {
                match step {
                    0 => {
                        let (reader, membership) = broadcast.subscribe().unwrap();
                        members.push_back((reader, membership, published.len()));
                    }
                    1 => if let Some((reader, membership, from)) = members.pop_front() {
                        drop(membership);
                        finished.push((reader, from, published.len(), End::Left));
                    }
                    _ => {
                        let value = published.len() as u32;
                        let (time, _) = broadcast.publish(at(i64::from(clock)), |_| (value, 1)).unwrap();
                        published.push((time, value));
                    }
                }
            }
            broadcast.close();
            let until = published.len();
            let mut kept = Vec::new();
            for (reader, membership, from) in members {
                kept.push(membership);
                finished.push((reader, from, until, End::Closed));
            }
            prop_assert!(published.is_sorted_by(|a, b| a.0 < b.0));
            for (mut reader, from, until, end) in finished {
                prop_assert_eq!(drain(&mut reader), (published[from..until].to_vec(), end));
            }
        }
    }
}

#[cfg(feature = "shuttle")]
mod shuttle {
    use super::*;
    use crate::sync::explore;
    use ::shuttle::thread;

    /// Those of this module.
    const TESTS: usize = 6;

    #[test]
    fn all_readers_agree_and_times_rise() {
        explore(TESTS, || {
            let broadcast = Broadcast::new(Capacity::default());
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let (mut reader, membership) = broadcast.subscribe().unwrap();
                    thread::spawn(move || {
                        let all = drain(&mut reader);
                        drop(membership);
                        all
                    })
                })
                .collect();
            let writers: Vec<_> = (0..2)
                .map(|writer| {
                    let broadcast = broadcast.clone();
                    thread::spawn(move || {
                        (0..2).map(|i| publish(&broadcast, writer * 10 + i)).max()
                    })
                })
                .collect();
            for writer in writers {
                writer.join().unwrap();
            }
            broadcast.close();
            let seen: Vec<_> = readers.into_iter().map(|r| r.join().unwrap()).collect();
            assert_eq!(seen[0], seen[1]);
            let (messages, end) = &seen[0];
            assert_eq!((messages.len(), *end), (4, End::Closed));
            assert!(messages.is_sorted_by(|a, b| a.0 < b.0));
        });
    }

    #[test]
    fn a_late_reader_gets_a_suffix() {
        explore(TESTS, || {
            let broadcast = Broadcast::new(Capacity::default());
            let writer = {
                let broadcast = broadcast.clone();
                thread::spawn(move || {
                    for value in 0..3 {
                        publish(&broadcast, value);
                    }
                    broadcast.close();
                })
            };
            if let Ok((mut reader, _membership)) = broadcast.subscribe() {
                let (messages, end) = drain(&mut reader);
                let values: Vec<u32> = messages.iter().map(|m| m.1).collect();
                let suffix: Vec<u32> = (3 - values.len() as u32..3).collect();
                assert_eq!((values, end), (suffix, End::Closed));
            }
            writer.join().unwrap();
        });
    }

    #[test]
    fn a_slow_reader_gets_a_prefix_or_is_cut_and_never_blocks_the_writer() {
        explore(TESTS, || {
            let broadcast = Broadcast::new(Capacity {
                messages: 1,
                bytes: 10,
                together: usize::MAX,
            });
            let (mut reader, _membership) = broadcast.subscribe().unwrap();
            let reading = thread::spawn(move || drain(&mut reader));
            for value in 0..3 {
                publish(&broadcast, value);
            }
            broadcast.close();
            let (messages, end) = reading.join().unwrap();
            let values: Vec<u32> = messages.iter().map(|m| m.1).collect();
            assert!(values.iter().copied().eq(0..values.len() as u32));
            assert_eq!(end == End::Closed, values.len() == 3);
        });
    }

    /// Reads a little, leaves and comes back while another thread publishes; what it sees
    /// has no hole. Returns whether it got all that it came back for.
    fn come_back(kept: usize) -> bool {
        const ALL: u32 = 5;
        let broadcast = keeping(kept);
        let ((mut reader, membership), start) = broadcast.resume(None).unwrap();
        let publishing = broadcast.clone();
        let writer = thread::spawn(move || {
            for value in 0..ALL {
                publish(&publishing, value);
            }
            publishing.close();
        });
        let mut batch = Vec::new();
        let _ = reader.try_batch(&mut batch, 2);
        drop(membership);
        let seen = batch.len() as u32;
        let after = batch.last().map_or(start.position, |last| last.time);
        let whole = match broadcast.resume(Some(after)) {
            Err(Closed) => true,
            Ok((_, start)) if start.gap => false,
            Ok(((mut reader, _membership), _)) => {
                let (messages, end) = drain(&mut reader);
                let until = seen + messages.len() as u32;
                assert!(messages.iter().map(|it| it.1).eq(seen..until));
                assert_eq!(end == End::Closed, until == ALL);
                end == End::Closed
            }
        };
        writer.join().unwrap();
        whole
    }

    #[test]
    fn between_what_was_missed_and_what_is_live_there_is_no_seam() {
        explore(TESTS, || assert!(come_back(100)));
    }

    #[test]
    fn a_buffer_that_drops_what_is_not_read_yet_leaves_no_hole() {
        explore(TESTS, || {
            come_back(1);
        });
    }

    #[test]
    fn leaving_while_others_publish_ends_the_reader() {
        explore(TESTS, || {
            let broadcast = Broadcast::new(Capacity::default());
            let (mut reader, membership) = broadcast.subscribe().unwrap();
            let reading = thread::spawn(move || drain(&mut reader));
            let leaving = thread::spawn(move || drop(membership));
            publish(&broadcast, 0);
            publish(&broadcast, 1);
            leaving.join().unwrap();
            let (messages, end) = reading.join().unwrap();
            assert!(messages.len() <= 2);
            assert_eq!(end, End::Left);
            assert_eq!(broadcast.subscribers(), 0);
        });
    }
}
