//! One run of a check: its subject, its deadline, and what most checks do with
//! them. Every wait in here ends at the deadline.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::chat::{Chat, MARKER, Reader, unique};
use super::http::{self, Connection, Reply};
use super::subject::{Slot, Subject};
use super::trouble::{Trouble, said};
use crate::chat::client::Message;
use crate::compare::load::process::Program;
use crate::compare::peer::Peer;

/// How long a bridge gets to come to a known state before a check.
const SETTLE: Duration = Duration::from_secs(10);

/// Between two flushes: a bridge does not tell when a message comes.
const PAUSE: Duration = Duration::from_millis(3);

/// A check at work.
pub struct Case {
    pub subject: Arc<Subject>,
    pub deadline: Instant,
}

impl Case {
    /// What is left of the check's time.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// # Errors
    /// `Skip` behind a foreign bridge whose server is not known.
    pub fn server(&self) -> Result<&Slot, Trouble> {
        let server = self.subject.server.as_ref();
        server.ok_or_else(|| Trouble::Skip("its server is not known".into()))
    }

    /// # Errors
    /// `Skip` where the server itself is checked.
    pub fn bridge(&self) -> Result<&Slot, Trouble> {
        let bridge = self.subject.bridge.as_ref();
        bridge.ok_or_else(|| Trouble::Skip("there is no bridge".into()))
    }

    /// A gRPC connection of its own to the server.
    pub fn chat(&self) -> Result<Chat, Trouble> {
        Ok(Chat::new(self.server()?.address(), self.deadline))
    }

    /// Subscriptions that are live, each on a connection of its own.
    pub fn readers(&self, count: usize) -> Result<Vec<Reader>, Trouble> {
        let readers = (0..count).map(|_| self.chat()?.reader());
        let mut readers = readers.collect::<Result<Vec<_>, _>>()?;
        self.chat()?.make_live(&mut readers)?;
        Ok(readers)
    }

    /// An HTTP connection of its own to the bridge.
    pub fn connect(&self) -> Result<Connection, Trouble> {
        Connection::open(self.bridge()?.address(), self.deadline)
    }

    /// Another bridge of the same kind in front of this server, in the state in
    /// which it starts to accept connections.
    ///
    /// # Errors
    /// `Skip` of a foreign one.
    pub fn another_bridge(&self, server: &str) -> Result<Self, Trouble> {
        let peer = self.bridge()?.peer();
        if matches!(peer, Peer::Foreign(_)) {
            return Err(Trouble::Skip("it was not started here".into()));
        }
        let toolbox = self.subject.toolbox.clone();
        let bridge = Slot::new(peer, toolbox.bridge(peer, server)?);
        let foreign = Peer::Foreign(server.to_owned());
        let subject = Subject {
            toolbox,
            server: Some(Slot::new(&foreign, Program::foreign(server))),
            bridge: Some(bridge),
        };
        Ok(Self {
            subject: Arc::new(subject),
            deadline: self.deadline,
        })
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: &[u8]) -> Result<Reply, Trouble> {
        let mut connection = self.connect()?;
        connection.send(request)?;
        connection.reply()
    }

    /// `POST /sendMessage` with this body.
    pub fn post(&self, body: &str) -> Result<Reply, Trouble> {
        self.ask(&http::post(http::SEND, "", body.as_bytes()))
    }

    /// Sends through the bridge, as ASCII, and returns the message as it has to
    /// arrive.
    pub fn send(&self, author: &str, text: &str) -> Result<Message, Trouble> {
        let reply = self.post(&http::send_body(author, text))?;
        Ok(Message {
            author: author.into(),
            text: text.into(),
            send_time: http::send_time(&reply)?,
        })
    }

    /// Sends straight to the server.
    pub fn tell(&self, author: &str, text: &str) -> Result<Message, Trouble> {
        Ok(self.chat()?.send(author, text)?)
    }

    /// One flush.
    pub fn flush(&self) -> Result<Vec<Message>, Trouble> {
        http::messages(&self.ask(&http::post(http::FLUSH, "", b""))?)
    }

    /// Everything that the bridge has or is about to get: sends a marker, and
    /// flushes until it is there. All markers are left out.
    pub fn drain(&self) -> Result<Vec<Message>, Trouble> {
        let marker = self.mark()?;
        let mut all = Vec::new();
        loop {
            let flushed = self.flush()?;
            let last = flushed.iter().any(|message| message.text == marker);
            all.extend(flushed.into_iter().filter(|m| m.author != MARKER));
            if last {
                return Ok(all);
            }
            self.pause()?;
        }
    }

    /// Returns when the bridge's subscription is live and its postbox empty, with
    /// what was in it. A Python program does not show when the former is so, hence
    /// markers are sent until one is in a flush, and then the last of them.
    pub fn settle(&self) -> Result<Vec<Message>, Trouble> {
        let mut all = Vec::new();
        while !all.iter().any(|message: &Message| message.author == MARKER) {
            // A bridge that is not connected yet has its reasons.
            if self.mark().is_ok() {
                all.extend(self.flush()?);
            }
            self.pause()?;
        }
        all.extend(self.drain()?);
        all.retain(|message| message.author != MARKER);
        Ok(all)
    }

    /// Waits for something that nothing tells of.
    ///
    /// # Errors
    /// `Hang` at the deadline.
    pub fn pause(&self) -> Result<(), Trouble> {
        if self.left().is_zero() {
            return Err(Trouble::Hang);
        }
        thread::sleep(PAUSE);
        Ok(())
    }

    /// Sends a marker, straight to the server where it is known, and returns its
    /// text.
    pub fn mark(&self) -> Result<String, Trouble> {
        let text = unique();
        match self.subject.server {
            Some(_) => self.tell(MARKER, &text)?,
            None => self.send(MARKER, &text)?,
        };
        Ok(text)
    }

    /// Sends so many messages from so many threads at a time, straight to the
    /// server, each thread over a connection of its own.
    pub fn tell_concurrently(&self, threads: usize, count: usize) -> Result<Vec<Message>, Trouble> {
        let send = |sender: usize| -> Result<Vec<Message>, Trouble> {
            let chat = self.chat()?;
            let texts = (0..count).map(|n| format!("{sender}.{n}"));
            let sent = texts.map(|text| Ok(chat.send("concurrent", &text)?));
            sent.collect()
        };
        concurrently(threads, send)
    }
}

/// Calls this with 0 to `threads - 1`, each in a thread of its own, and returns
/// the results one after the other.
pub fn concurrently<T: Send>(
    threads: usize,
    call: impl Fn(usize) -> Result<Vec<T>, Trouble> + Sync,
) -> Result<Vec<T>, Trouble> {
    thread::scope(|scope| {
        let call = &call;
        let running: Vec<_> = (0..threads)
            .map(|index| scope.spawn(move || call(index)))
            .collect();
        let mut all = Vec::new();
        for thread in running {
            match thread.join() {
                Ok(part) => all.extend(part?),
                Err(_) => return said("the check itself has failed"),
            }
        }
        Ok(all)
    })
}

/// What was seen of so many, in words that do not depend on luck.
pub fn all_of(count: usize, of: usize) -> String {
    if count == of {
        "all of them".into()
    } else {
        "not all of them".into()
    }
}

/// Author and text of each, for comparison.
pub fn words(messages: &[Message]) -> Vec<(&str, &str)> {
    let words = messages.iter().map(|m| (&*m.author, &*m.text));
    words.collect()
}

/// Brings a bridge to a known state, as far as it can be; see [`Case::settle`].
pub fn settle(subject: &Arc<Subject>) {
    if subject.bridge.is_some() {
        let case = Case {
            subject: subject.clone(),
            deadline: Instant::now() + SETTLE,
        };
        // The check runs in any case, and finds for itself what does not work.
        let _ = case.settle();
    }
}
