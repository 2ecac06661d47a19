//! Subscribe: batches in order, resumed at any place without a seam, or a gap that is
//! told.

mod batches;
mod clients;
mod ends;
mod places;
mod resume;

use std::collections::VecDeque;

use grpcio::{Client, RpcStatus};
use messenger::chat::wire::{self, Cursor, SubscribeRequest, SubscribeResponse};
use messenger::fanout::clock::Timestamp;
use protobuf::MessageField;
use protobuf::well_known_types::timestamp;

use crate::support::http::{Seen, seen};
use crate::support::rpc::{Stream, raw};

/// A place in the order of a server's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: String,
    pub(super) nanos: i64,
}

impl Place {
    pub(super) fn of(cursor: &Cursor) -> Self {
        let time = cursor.send_time.as_ref().expect("a time");
        Self {
            epoch: cursor.epoch.clone(),
            nanos: Timestamp::from_parts(time.seconds, time.nanos).nanos(),
        }
    }

    pub(super) fn cursor(&self) -> Cursor {
        let (seconds, nanos) = Timestamp::from_nanos(self.nanos).parts();
        Cursor {
            epoch: self.epoch.clone(),
            send_time: MessageField::some(timestamp::Timestamp {
                seconds,
                nanos,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// As far as this time.
    pub(super) fn at(&self, nanos: i64) -> Self {
        let epoch = self.epoch.clone();
        Self { epoch, nanos }
    }
}

/// The call alone, for those who read without a thread.
pub(super) fn call(client: &Client, after: Option<Cursor>) -> Stream<SubscribeResponse> {
    let request = SubscribeRequest {
        after: after.into(),
        ..Default::default()
    };
    Stream::open(client, &wire::SUBSCRIBE, &request)
}

/// A stream that is live, on a connection of its own.
pub(super) struct Subscriber {
    /// The stream ends with it.
    _client: Client,
    stream: Stream<SubscribeResponse>,
    pub(super) gap: bool,
    /// Behind the last message that was taken.
    pub(super) place: Place,
    waiting: VecDeque<Seen>,
}

impl Subscriber {
    pub(super) fn live(address: &str) -> Self {
        Self::open(address, None)
    }

    /// Goes on behind this place, and does not miss anything.
    pub(super) fn resume(address: &str, place: &Place) -> Self {
        let subscriber = Self::open(address, Some(place.cursor()));
        assert_eq!((subscriber.gap, &subscriber.place), (false, place));
        subscriber
    }

    /// A call whose first answer is not waited for.
    pub(super) fn raw(address: &str) -> (Client, Stream<SubscribeResponse>) {
        let client = raw(address);
        let stream = call(&client, None);
        (client, stream)
    }

    pub(super) fn open(address: &str, after: Option<Cursor>) -> Self {
        Self::call(address, after).expect("a subscription")
    }

    /// Behind this place, or with a gap; `None` where the server does not let it in.
    pub(super) fn try_open(address: &str, place: &Place) -> Option<Self> {
        Self::call(address, Some(place.cursor())).ok()
    }

    fn call(address: &str, after: Option<Cursor>) -> Result<Self, RpcStatus> {
        let client = raw(address);
        let mut stream = call(&client, after);
        let mut first = stream.wait()?;
        assert!(first.messages.is_empty(), "it is told alone");
        let subscribed = first.subscribed.take().expect("where it begins");
        Ok(Self {
            _client: client,
            stream,
            gap: subscribed.gap,
            place: Place::of(&subscribed.position),
            waiting: VecDeque::new(),
        })
    }

    /// The next message, or the end.
    pub(super) fn next(&mut self) -> Result<Seen, RpcStatus> {
        while self.waiting.is_empty() {
            let response = self.stream.wait()?;
            assert!(response.subscribed.is_none(), "told once");
            assert!(!response.messages.is_empty(), "a response for nothing");
            let messages = response.messages.into_iter().map(wire::message);
            self.waiting
                .extend(messages.map(|it| seen(&it.author, &it.text, it.send_time.nanos())));
        }
        let message = self.waiting.pop_front().expect("a message");
        assert!(message.nanos > self.place.nanos, "times rise");
        self.place.nanos = message.nanos;
        Ok(message)
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<Seen> {
        (0..count)
            .map(|_| self.next().expect("a message"))
            .collect()
    }
}
