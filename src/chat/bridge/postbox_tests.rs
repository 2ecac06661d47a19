//! Tests of the postbox: fixed cases, and random histories against a plain model.
//! Interleavings of its threads are explored in `link_tests`.

use super::*;
use crate::fanout::clock::Timestamp;

fn message(number: usize) -> Message {
    Message {
        author: String::new(),
        text: "x".repeat(number % 3),
        send_time: Timestamp::from_nanos(number as i64),
    }
}

fn numbers(flushed: &Flushed) -> Vec<usize> {
    let number = |kept: &Kept| kept.message.send_time.nanos() as usize;
    flushed.messages.iter().map(number).collect()
}

mod cases {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn put_back_messages_come_before_newer_ones() {
        let postbox = Postbox::new(Capacity::default());
        for number in 0..3 {
            postbox.deliver(message(number));
        }
        let flushed = postbox.flush();
        postbox.deliver(message(3));
        postbox.put_back(flushed);
        assert_eq!(numbers(&postbox.flush()), [0, 1, 2, 3]);
        assert_eq!(postbox.flush(), Flushed::default());
    }

    #[test]
    fn what_two_flushes_put_back_is_in_order_whichever_comes_first() {
        let capacity = Capacity {
            messages: 4,
            bytes: 100,
        };
        for first_back in [0, 1] {
            let postbox = Postbox::new(capacity);
            let mut flushed = [[0, 1], [2, 3]].map(|pair| {
                for number in pair {
                    postbox.deliver(message(number));
                }
                Some(postbox.flush())
            });
            postbox.deliver(message(4));
            let dropped = [first_back, 1 - first_back].map(|back| {
                let flushed = flushed[back].take().unwrap();
                postbox.put_back(flushed)
            });
            assert_eq!(dropped, [0, 1]);
            let flushed = postbox.flush();
            assert_eq!((numbers(&flushed), flushed.dropped), (vec![1, 2, 3, 4], 1));
        }
    }

    #[test]
    fn the_count_of_the_dropped_comes_back_with_what_was_put_back() {
        let postbox = Postbox::new(Capacity {
            messages: 2,
            bytes: 100,
        });
        let dropped: Vec<u64> = (0..3).map(|n| postbox.deliver(message(n))).collect();
        assert_eq!(dropped, [0, 0, 1]);
        let flushed = postbox.flush();
        assert_eq!((numbers(&flushed), flushed.dropped), (vec![1, 2], 1));
        postbox.deliver(message(3));
        assert_eq!(postbox.put_back(flushed), 1);
        let flushed = postbox.flush();
        assert_eq!((numbers(&flushed), flushed.dropped), (vec![2, 3], 2));
    }

    #[test]
    fn a_gap_is_told_once_and_again_when_it_was_put_back() {
        let postbox = Postbox::new(Capacity::default());
        postbox.missed();
        let told = postbox.flush();
        assert!(told.gap && !postbox.flush().gap);
        postbox.put_back(told);
        assert!(postbox.flush().gap && !postbox.flush().gap);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let postbox = Postbox::new(Capacity {
            messages: 100,
            bytes: 3,
        });
        postbox.deliver(message(1));
        postbox.deliver(message(2));
        assert_eq!(postbox.deliver(message(5)), 2);
        assert_eq!(numbers(&postbox.flush()), [5]);
    }

    proptest! {
        /// Each message is fetched once or counted as dropped, in order.
        #[test]
        fn nothing_is_doubled_reordered_or_lost_without_being_counted(
            steps in prop::collection::vec((0u8..8, any::<prop::sample::Index>()), 1..300),
            capacity in 1usize..20
        ) {
            let postbox = Postbox::new(Capacity { messages: capacity, bytes: usize::MAX });
            let (mut sent, mut fetched, mut dropped) = (0, Vec::new(), 0);
            // Flushes that are on their way; all of them are lost, in any order.
            let mut lost = Vec::new();
            for (step, which) in steps {
                match step {
                    // A flush that is taken while another is lost comes out of order.
                    0 if lost.is_empty() => {
                        let flushed = postbox.flush();
                        dropped += flushed.dropped;
                        fetched.extend(numbers(&flushed));
                    }
                    1 | 2 => lost.push(postbox.flush()),
                    3 | 4 if !lost.is_empty() => {
                        let flushed = lost.swap_remove(which.index(lost.len()));
                        postbox.put_back(flushed);
                    }
                    _ => { postbox.deliver(message(sent)); sent += 1; }
                }
            }
            for flushed in lost {
                postbox.put_back(flushed);
            }
            let flushed = postbox.flush();
            dropped += flushed.dropped;
            fetched.extend(numbers(&flushed));
            prop_assert!(fetched.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(fetched.len() as u64 + dropped, sent as u64);
            prop_assert!(sent == 0 || fetched.last() == Some(&(sent - 1)));
        }
    }
}
