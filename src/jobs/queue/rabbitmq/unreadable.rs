//! Messages that lapin cannot read: AMQP's strings are bytes, lapin's are UTF-8, and it ends
//! the connection over any other. A small AMQP client takes such messages out of the queue
//! and adds them to the dead letters, with "?" for each byte that is not UTF-8. It has a
//! connection of its own, on the thread "amqp", and holds one frame at a time.
//! Source: <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>, 2.3 and 4.2

use std::io::{self, BufReader, Read, Write};
use std::time::Instant;

use amq_protocol::auth::Credentials;
use amq_protocol::frame::parsing::parse_content_header;
use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, gen_frame};
use amq_protocol::protocol::constants::{FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD};
use amq_protocol::protocol::parse_class;

use super::broker::{Broker, dead_name, dial};
use super::exchange::CONFIRM;
use super::message::{array, dead_letter_properties, id, mended};
use crate::jobs::queue::DeadLetter;

/// The largest frame that is read, as RabbitMQ's own limit is.
const MAX_FRAME: u32 = 128 * 1024;

/// Our one channel; 0 is the connection.
const CHANNEL: u16 = 1;

/// Class and method.
type Method = (u16, u16);
const START: Method = (10, 10);
const START_OK: Method = (10, 11);
const TUNE: Method = (10, 30);
const TUNE_OK: Method = (10, 31);
const OPEN: Method = (10, 40);
const OPEN_OK: Method = (10, 41);
const CLOSE: Method = (10, 50);
const CLOSE_OK: Method = (10, 51);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const CHANNEL_CLOSE: Method = (20, 40);
const PUBLISH: Method = (60, 40);
const RETURN: Method = (60, 50);
const GET: Method = (60, 70);
const GET_OK: Method = (60, 71);
const GET_EMPTY: Method = (60, 72);
const ACK: Method = (60, 80);
const NACK: Method = (60, 120);
const SELECT: Method = (85, 10);
const SELECT_OK: Method = (85, 11);

/// Looks at so many messages of this queue, from its head, and buries those that lapin cannot
/// read; the others go back to their places. Counts what it buries in `buried`, also when it
/// fails.
///
/// # Errors
/// A broker that cannot be reached, refuses something, or takes longer than [`CONFIRM`].
pub fn bury(broker: &Broker, queue: &str, most: usize, buried: &mut u64) -> io::Result<()> {
    let mut client = Client::open(dial(broker)?, broker)?;
    let (mut looked, dead) = (0, dead_name(&broker.queue));
    while looked < most && client.look(queue, &dead, buried)? {
        looked += 1;
    }
    let reason = [&200_u16.to_be_bytes()[..], &short("done")?, &[0; 4]];
    client.tell(0, CLOSE, &reason)?;
    client.answer(&[CLOSE_OK]).map(drop)
}

struct Client<S: Read> {
    stream: BufReader<S>,
    until: Instant,
    /// The largest frame that the broker takes.
    frame: u32,
}

impl<S: Read + Write> Client<S> {
    /// With a channel that confirms what is published.
    fn open(stream: S, broker: &Broker) -> io::Result<Self> {
        let mut client = Self {
            stream: BufReader::new(stream),
            until: Instant::now() + CONFIRM,
            frame: MAX_FRAME,
        };
        client.stream.get_mut().write_all(b"AMQP\0\0\x09\x01")?;
        client.answer(&[START])?;
        let mechanism = broker.uri.query.auth_mechanism.unwrap_or_default();
        let credentials = Credentials::from(broker.uri.authority.userinfo.clone());
        let response = credentials.sasl_auth_string(mechanism);
        let size = u32::try_from(response.as_bytes().len()).map_err(io::Error::other)?;
        let (name, size) = (short(mechanism.name())?, size.to_be_bytes());
        let start: [&[u8]; 5] = [&[0; 4], &name, &size, response.as_bytes(), &short("en_US")?];
        client.tell(0, START_OK, &start)?;
        let (_, tune) = client.answer(&[TUNE])?;
        // 0 is no limit.
        client.frame = match u32::from_be_bytes(array(&tune, 6)?) {
            0 => MAX_FRAME,
            size => size.min(MAX_FRAME),
        };
        let (channel, size) = (CHANNEL.to_be_bytes(), client.frame.to_be_bytes());
        let tune = [&channel[..], &size, &[0; 2]];
        client.tell(0, TUNE_OK, &tune)?;
        client.tell(0, OPEN, &[&short(&broker.uri.vhost)?, &[0; 2]])?;
        client.answer(&[OPEN_OK])?;
        client.tell(CHANNEL, CHANNEL_OPEN, &[&[0]])?;
        client.answer(&[CHANNEL_OPEN_OK])?;
        client.tell(CHANNEL, SELECT, &[&[0]])?;
        client.answer(&[SELECT_OK])?;
        Ok(client)
    }

    /// Looks at the next message; returns whether there is one.
    fn look(&mut self, queue: &str, dead_queue: &str, buried: &mut u64) -> io::Result<bool> {
        self.tell(CHANNEL, GET, &[&[0; 2], &short(queue)?, &[0]])?;
        let (GET_OK, got) = self.answer(&[GET_OK, GET_EMPTY])? else {
            return Ok(false);
        };
        let tag: [u8; 8] = array(&got, 4)?;
        let header = self.content(FRAME_HEADER)?;
        let size = u64::from_be_bytes(array(&header, 4)?);
        let strict = parse_content_header(&header[..]);
        if strict.is_ok_and(|(rest, _)| rest.is_empty()) && parse_class(&got[..]).is_ok() {
            self.body(size, |_, _| Ok(()))?;
            return Ok(true);
        }
        let (properties, mended) = mended(&header);
        let dead = DeadLetter {
            id: id(&properties),
            body: Vec::new(),
            reason: format!("not UTF-8, or not to be read: {}", mended.join(", ")),
            attempts: 0,
        };
        // Mandatory: it comes back if there is no such queue.
        let publish: [&[u8]; 4] = [&[0; 2], &[0], &short(dead_queue)?, &[1]];
        self.tell(CHANNEL, PUBLISH, &publish)?;
        let header = AMQPContentHeader {
            class_id: 60,
            body_size: size,
            properties: dead_letter_properties(&properties, &dead, self.frame),
        };
        self.stream.get_mut().write_all(&encoded(header)?)?;
        self.body(size, |client, piece| {
            client.send(FRAME_BODY, CHANNEL, &piece)
        })?;
        let (ACK, _) = self.answer(&[ACK, NACK, RETURN])? else {
            return Err(io::Error::other("the dead-letter queue takes no message"));
        };
        self.tell(CHANNEL, ACK, &[&tag, &[0]])?;
        *buried += 1;
        Ok(true)
    }

    /// Takes a body piece by piece.
    fn body(
        &mut self,
        mut left: u64,
        mut take: impl FnMut(&mut Self, Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        while left > 0 {
            let piece = self.content(FRAME_BODY)?;
            let rest = left.checked_sub(piece.len() as u64);
            left = rest.ok_or_else(|| io::Error::other("a body is longer than it says"))?;
            take(self, piece)?;
        }
        Ok(())
    }

    fn content(&mut self, kind: u8) -> io::Result<Vec<u8>> {
        let (found, payload) = self.frame()?;
        let wrong = || io::Error::other(format!("a frame of type {found} instead of {kind}"));
        (found == kind).then_some(payload).ok_or_else(wrong)
    }

    /// The next of these methods, whose arguments begin behind four bytes.
    fn answer(&mut self, wanted: &[Method]) -> io::Result<(Method, Vec<u8>)> {
        loop {
            let (FRAME_METHOD, payload) = self.frame()? else {
                continue;
            };
            let u16_at = |at| array(&payload, at).map(u16::from_be_bytes);
            let said = (u16_at(0)?, u16_at(2)?);
            if wanted.contains(&said) {
                return Ok((said, payload));
            }
            if [CLOSE, CHANNEL_CLOSE].contains(&said) {
                let [size] = array(&payload, 6)?;
                let text = payload.get(7..7 + usize::from(size)).unwrap_or_default();
                let text = String::from_utf8_lossy(text);
                return Err(io::Error::other(format!("{} {text}", u16_at(4)?)));
            }
        }
    }

    fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        if Instant::now() >= self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        read_frame(&mut self.stream)
    }

    fn tell(&mut self, channel: u16, method: Method, arguments: &[&[u8]]) -> io::Result<()> {
        let (class, method) = (method.0.to_be_bytes(), method.1.to_be_bytes());
        let payload = [&class[..], &method, &arguments.concat()].concat();
        self.send(FRAME_METHOD, channel, &payload)
    }

    fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) -> io::Result<()> {
        let size = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let (channel, size) = (channel.to_be_bytes(), size.to_be_bytes());
        let frame = [&[kind], &channel[..], &size, payload, &[FRAME_END]].concat();
        self.stream.get_mut().write_all(&frame)
    }
}

/// A frame's type and what is in it.
fn read_frame(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 7];
    stream.read_exact(&mut head)?;
    let [kind, _, _, size @ ..] = head;
    let size = u32::from_be_bytes(size);
    if size > MAX_FRAME {
        let message = format!("a frame of {size} bytes; at most {MAX_FRAME} are read");
        return Err(io::Error::other(message));
    }
    let mut payload = vec![0; size as usize + 1];
    stream.read_exact(&mut payload)?;
    match payload.pop() {
        Some(FRAME_END) => Ok((kind, payload)),
        _ => Err(io::Error::other("a frame does not end where it says")),
    }
}

fn encoded(header: AMQPContentHeader) -> io::Result<Vec<u8>> {
    let frame = AMQPFrame::Header(CHANNEL, header);
    let written = gen_frame(&frame)(Vec::new().into());
    Ok(written.map_err(io::Error::other)?.into_inner().0)
}

fn short(text: &str) -> io::Result<Vec<u8>> {
    let size = u8::try_from(text.len()).map_err(io::Error::other)?;
    Ok([&[size], text.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &size[..], payload, &[FRAME_END]].concat()
    }

    /// Of a broker that says this, whatever it is told.
    fn client(said: &[u8]) -> (Client<UnixStream>, UnixStream) {
        let (stream, mut broker) = UnixStream::pair().unwrap();
        broker.write_all(said).unwrap();
        broker.shutdown(Shutdown::Write).unwrap();
        let (stream, until) = (BufReader::new(stream), Instant::now() + CONFIRM);
        let frame = MAX_FRAME;
        let client = Client {
            stream,
            until,
            frame,
        };
        (client, broker)
    }

    #[test]
    fn frames_and_bodies_have_bounds() {
        let read = |bytes: Vec<u8>| read_frame(&mut &bytes[..]);
        assert_eq!(read(frame(8, b"ab")).unwrap(), (8, b"ab".to_vec()));
        let large = read(vec![3, 0, 1, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert!(large.to_string().contains("at most 131072"), "{large}");
        assert!(read(vec![3, 0, 1, 0, 0, 0, 1, 7, 0]).is_err(), "no end");
        let body = |size| {
            client(&frame(FRAME_BODY, b"abc"))
                .0
                .body(size, |_, _| Ok(()))
        };
        assert!(body(3).is_ok());
        assert!(body(2).is_err(), "longer than it says");
        assert!(body(u64::MAX).is_err(), "cut off");
        let refusal = [&[0, 20, 0, 40, 1, 0x94, 2][..], b"no", &[0; 4]].concat();
        let refused = client(&frame(FRAME_METHOD, &refusal)).0.answer(&[GET_OK]);
        assert_eq!(refused.unwrap_err().to_string(), "404 no");
    }

    proptest! {
        #[test]
        fn whatever_a_broker_says_ends_in_an_error(
            said in vec((1_u8..4, vec(any::<u8>(), 0..64)), 0..8), method in any::<bool>(),
        ) {
            let method = if method { &[0, 60, 0, 71][..] } else { &[] };
            let frames = said.iter().map(|(kind, rest)| frame(*kind, &[method, rest].concat()));
            let (mut client, _broker) = client(&frames.collect::<Vec<_>>().concat());
            let mut buried = 0;
            while client.look("queue", "dead", &mut buried).is_ok_and(|more| more) {}
            prop_assert_eq!(buried, 0, "nobody confirms");
        }
    }
}
