//! One run of a check: its subject, its deadline, and what most checks do with
//! them. Every wait in here ends at the deadline.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::chat::{Chat, MARKER, Reader, until_live, up_to_marker};
use super::http::{self, Connection, Reply};
use super::subject::{Slot, Subject};
use super::trouble::{Tried, Trouble, ensure, said};
use crate::chat::client::Message;
use crate::compare::load::process::Program;
use crate::compare::peer::Peer;

/// Between two looks at something that nothing tells of.
const PAUSE: Duration = Duration::from_millis(3);

/// A check at work.
pub struct Case {
    pub subject: Arc<Subject>,
    pub deadline: Instant,
    pub expected: &'static str,
}

impl Case {
    /// Goes on if this is what is expected.
    pub fn sees(&self, what: impl ToString) -> Tried {
        let what = what.to_string();
        ensure(what == self.expected, &what)
    }

    /// `Skip` behind a foreign bridge whose server is not known.
    pub fn server(&self) -> Tried<&Slot> {
        let server = self.subject.server.as_ref();
        server.ok_or_else(|| Trouble::Skip("its server is not known".into()))
    }

    /// `Skip` where the server itself is checked.
    pub fn bridge(&self) -> Tried<&Slot> {
        let bridge = self.subject.bridge.as_ref();
        bridge.ok_or_else(|| Trouble::Skip("there is no bridge".into()))
    }

    /// A gRPC connection of its own to the server.
    pub fn chat(&self) -> Tried<Chat> {
        self.chat_at(0)
    }

    /// The same to one of several servers that are one chat, in turn.
    pub fn chat_at(&self, number: usize) -> Tried<Chat> {
        Ok(Chat::new(self.server()?.address_of(number), self.deadline))
    }

    /// A subscription that is live, on a connection of its own.
    pub fn reader(&self) -> Tried<Reader> {
        self.reader_at(0)
    }

    /// The same at one of several servers that are one chat, in turn.
    pub fn reader_at(&self, number: usize) -> Tried<Reader> {
        self.chat_at(number)?.reader(&self.chat_at(number)?)
    }

    /// An HTTP connection of its own to the bridge.
    pub fn connect(&self) -> Tried<Connection> {
        Connection::open(&self.bridge()?.address, self.deadline)
    }

    /// Another bridge of the same kind in front of this server, in the state in
    /// which it starts to accept connections; `Skip` of a foreign one.
    pub fn another_bridge(&self, server: &str) -> Tried<Self> {
        let (bridge, toolbox) = (self.bridge()?, self.subject.toolbox.clone());
        bridge.is_ours()?;
        let bridge = Slot::new(&bridge.peer, toolbox.bridge(&bridge.peer, server)?);
        let server = Slot::new(&Peer::Foreign(server.into()), Program::foreign(server));
        let subject = Arc::new(Subject {
            toolbox,
            server: Some(server),
            bridge: Some(bridge),
        });
        Ok(Self { subject, ..*self })
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: &[u8]) -> Tried<Reply> {
        let mut connection = self.connect()?;
        connection.send(request)?;
        connection.reply()
    }

    /// Sends through the bridge, and returns the message as it has to arrive.
    pub fn send(&self, author: &str, text: &str) -> Tried<Message> {
        let reply = self.ask(&http::send(author, text))?;
        Ok(Message {
            author: author.into(),
            text: text.into(),
            send_time: reply.send_time()?,
        })
    }

    /// Sends straight to the server.
    pub fn tell(&self, author: &str, text: &str) -> Tried<Message> {
        Ok(self.chat()?.send(author, text)?)
    }

    /// Sends so many messages from so many threads at a time, straight to the
    /// server, each thread over a connection of its own, at several servers in turn.
    pub fn tell_concurrently(&self, threads: usize, count: usize) -> Tried<Vec<Message>> {
        let authors = |sender| sender * count..(sender + 1) * count;
        concurrently(threads, |sender| {
            self.chat_at(sender)?.send_each(authors(sender), "x")
        })
    }

    /// One flush.
    pub fn flush(&self) -> Tried<Vec<Message>> {
        self.ask(&http::flush())?.messages()
    }

    /// Everything that the bridge has or is about to get, by flushes.
    pub fn drain(&self) -> Tried<Vec<Message>> {
        self.drain_by(&http::flush())
    }

    /// The same by this request.
    pub fn drain_by(&self, request: &[u8]) -> Tried<Vec<Message>> {
        let flush = || self.ask(request)?.messages();
        let take = || self.pause().and_then(|()| flush());
        up_to_marker(|text| self.mark(text), take)
    }

    /// Returns when the bridge's subscription is live and its postbox empty, with
    /// what was in it. A Python program does not show when the former is so.
    pub fn settle(&self) -> Tried<Vec<Message>> {
        // A bridge that is not connected yet has its reasons.
        let mark = |text: &str| self.mark(text).or(Ok(()));
        until_live(mark, || self.pause().and_then(|()| self.flush()))
    }

    /// Waits for something that nothing tells of; `Hang` at the deadline.
    pub fn pause(&self) -> Tried {
        thread::sleep(PAUSE);
        let late = Instant::now() > self.deadline;
        if late { Err(Trouble::Hang) } else { Ok(()) }
    }

    /// Sends a marker, straight to the server where it is known.
    fn mark(&self, text: &str) -> Tried {
        match self.subject.server {
            Some(_) => self.chat()?.mark(text),
            None => self.send(MARKER, text).map(drop),
        }
    }
}

/// Calls this with 0 to `threads - 1`, each in a thread of its own, and returns
/// the results one after the other.
pub fn concurrently<T: Send>(
    threads: usize,
    call: impl Fn(usize) -> Tried<Vec<T>> + Sync,
) -> Tried<Vec<T>> {
    thread::scope(|scope| {
        let call = &call;
        let start = |index| scope.spawn(move || call(index));
        let running: Vec<_> = (0..threads).map(start).collect();
        let mut all = Vec::new();
        for thread in running {
            let part = thread.join();
            all.extend(part.or_else(|_| said("the check itself has failed"))??);
        }
        Ok(all)
    })
}

/// Author and text of each, for comparison.
pub fn words(messages: &[Message]) -> Vec<(&str, &str)> {
    let words = messages.iter().map(|m| (&*m.author, &*m.text));
    words.collect()
}
