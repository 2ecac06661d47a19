//! Readers that come back, again and again, while others send.

use std::thread;
use std::time::Instant;

use crossbeam_channel::unbounded;

use super::{Subscriber, call};
use crate::chaos::proxy::Proxy;
use crate::chaos::schedule::Weather;
use crate::support::http::{Seen, seen};
use crate::support::programs::Server;
use crate::support::rpc::{client, raw, send};
use crate::support::{SOON, heavy};

const MESSAGES: usize = 1000;

#[test]
fn cut_at_every_message_of_a_thousand_each_comes_once_and_in_order() {
    const READERS: usize = 8;
    let _machine = heavy();
    let server = Server::start(&[]);
    let (address, port) = (server.address(), server.port());
    let live = (0..READERS).map(|number| {
        let proxy = Proxy::start(port);
        let subscriber = Subscriber::live(&proxy.address());
        (number, proxy, subscriber)
    });
    let live: Vec<_> = live.collect();
    let read = |number, proxy: Proxy, mut subscriber: Subscriber| {
        let mut read: Vec<Seen> = Vec::new();
        while read.len() < MESSAGES {
            read.push(subscriber.next().unwrap());
            // Each of the thousand places is one reader's.
            if read.len() % READERS == number {
                proxy.set(Weather::Reset);
                subscriber = Subscriber::resume(&proxy.address(), &subscriber.place);
            }
        }
        read
    };
    thread::scope(|scope| {
        let read = &read;
        let readers = live.into_iter();
        let readers: Vec<_> = readers
            .map(|(number, proxy, subscriber)| scope.spawn(move || read(number, proxy, subscriber)))
            .collect();
        let sender = client(&address);
        let text = |n: usize| n.to_string();
        let sent: Vec<_> = (0..MESSAGES)
            .map(|n| seen("a", &text(n), send(&sender, "a", &text(n))))
            .collect();
        for reader in readers {
            assert!(reader.join().unwrap() == sent, "another order");
        }
    });
}

#[test]
fn who_comes_back_while_twenty_send_sees_the_one_order_without_a_seam() {
    const SENDERS: usize = 20;
    let _machine = heavy();
    let server = Server::start(&[]);
    let address = &server.address();
    let subscribers: Vec<_> = (0..8).map(|_| Subscriber::live(address)).collect();
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|author| {
                scope.spawn(move || {
                    let (sender, author) = (client(address), author.to_string());
                    let text = |n: usize| n.to_string();
                    let sent = (0..MESSAGES / SENDERS)
                        .map(|n| seen(&author, &text(n), send(&sender, &author, &text(n))));
                    sent.collect::<Vec<_>>()
                })
            })
            .collect();
        let readers = subscribers.into_iter().enumerate().map(|(n, subscriber)| {
            scope.spawn(move || {
                let (mut subscriber, mut read) = (subscriber, Vec::new());
                while read.len() < MESSAGES {
                    read.push(subscriber.next().unwrap());
                    if read.len() % (3 + n) == 0 {
                        subscriber = Subscriber::resume(address, &subscriber.place);
                    }
                }
                read
            })
        });
        let readers: Vec<_> = readers.collect();
        let mut sent: Vec<_> = senders
            .into_iter()
            .flat_map(|sender| sender.join().unwrap())
            .collect();
        sent.sort_by_key(|message| message.nanos);
        for reader in readers {
            assert!(reader.join().unwrap() == sent, "another order");
        }
    });
}

#[test]
fn a_thousand_that_come_back_at_once_get_all_while_a_live_one_goes_on() {
    let _machine = heavy();
    let server = Server::start(&[]);
    let address = server.address();
    let start = Subscriber::live(&address).place;
    let sender = client(&address);
    let sent: Vec<_> = (0..MESSAGES).map(|_| send(&sender, "a", "b")).collect();
    let mut live = Subscriber::live(&address);
    let clients: Vec<_> = (0..10).map(|_| raw(&address)).collect();
    let (all, came) = unbounded();
    let began = Instant::now();
    for number in 0..1000 {
        let client = &clients[number % clients.len()];
        let mut stream = call(client, Some(start.cursor()));
        let all = all.clone();
        client.spawn(async move {
            let first = stream.next().await.expect("a subscription");
            let mut times = vec![];
            while !first.subscribed.gap && times.len() < MESSAGES {
                let response = stream.next().await.expect("messages");
                let messages = response.messages.into_iter();
                times.extend(messages.map(|it| messenger::chat::wire::message(it).send_time));
            }
            all.send(times).unwrap();
        });
    }
    drop(all);
    let mut slowest = 0;
    for _ in 0..20 {
        let began = Instant::now();
        let time = send(&sender, "c", "live");
        assert_eq!(live.next().unwrap(), seen("c", "live", time));
        slowest = slowest.max(began.elapsed().as_millis());
    }
    for number in 0..1000 {
        let times = came.recv_timeout(SOON).expect("all that was missed");
        let same = times.iter().zip(&sent).all(|(a, b)| a.nanos() == *b);
        assert!(same && times.len() >= MESSAGES, "reader {number}");
    }
    println!(
        "{:?}; the live one waited {slowest} ms at most",
        began.elapsed()
    );
}
