//! HTTP in front of two bridges, byte for byte: a thread for each connection reads a
//! request, asks the first side over a connection of its own, and passes on what comes.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Header, Status::Complete};
use rustix::event::{PollFd, PollFlags, poll};

use super::judge::{Answer, GONE, Judge};
use super::sequence::of;
use super::{ANSWER_TIME, Place, Watch};
use crate::sync::spawn;

const READ: usize = 64 * 1024;
/// Clients' connections; further ones are closed.
const CONNECTIONS: usize = 1024;
/// The largest request and answer that are compared.
const COMPARED: usize = 16 * 1024 * 1024;
const FIELDS: usize = 256;
/// Until the next try to accept, where there are no descriptors for instance.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens until the process ends.
///
/// # Errors
/// A port that is taken, or no thread to be had.
pub fn start(host: &str, place: &Place, watch: &Arc<Watch>) -> io::Result<SocketAddr> {
    let ((port, sides), watch) = (place.clone(), watch.clone());
    let named = |error| io::Error::other(format!("cannot listen on {host}:{port}: {error}"));
    let listener = TcpListener::bind((host, port)).map_err(|error: io::Error| named(error))?;
    let address = listener.local_addr()?;
    let open = Arc::new(AtomicUsize::new(0));
    let accept = move || {
        let (watch, sides, open) = (watch.clone(), sides.clone(), open.clone());
        let (client, _) = listener.accept()?;
        on_thread(move || {
            if open.fetch_add(1, Relaxed) < CONNECTIONS
                && let Err(error) = serve(client, &sides, &watch)
            {
                tracing::debug!(%error, "a connection broke");
            }
            open.fetch_sub(1, Relaxed);
        })
    };
    on_thread(move || {
        loop {
            if let Err(error) = accept() {
                tracing::warn!(%error, "cannot accept a connection");
                thread::sleep(PAUSE);
            }
        }
    })?;
    Ok(address)
}

fn on_thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    spawn("shadow-http", work).map(drop)
}

/// Serves a client until either end closes.
fn serve(mut client: TcpStream, sides: &[String; 2], watch: &Arc<Watch>) -> io::Result<()> {
    let [first, second] = of(watch.first, sides.clone());
    let mut first = connect(&first).inspect_err(|error| {
        tracing::warn!(%error, "cannot connect to {first}, whose answers clients get");
    })?;
    client.set_nodelay(true)?;
    let (mut buffer, mut request) = (vec![0; READ], Vec::new());
    loop {
        let mut ready = [
            PollFd::new(&client, PollFlags::IN),
            PollFd::new(&first, PollFlags::IN),
        ];
        poll(&mut ready, None)?;
        if ready[0].revents().is_empty() {
            // The first side says something unasked, mostly that it closes.
            return pass(&client, &first);
        }
        let length = client.read(&mut buffer)?;
        request.extend_from_slice(&buffer[..length]);
        first.write_all(&buffer[..length])?;
        if length == 0 || request.len() > COMPARED || is_odd(&request) {
            watch
                .uncompared
                .fetch_add(u64::from(!request.is_empty()), Relaxed);
            return pass(&client, &first);
        }
        if !is_whole(&request) {
            continue;
        }
        let (request, asked) = (std::mem::take(&mut request), Instant::now());
        let mut bytes = Vec::new();
        // Before the client has the end of it.
        let mut leave = |answer: Answer| {
            let (line, size) = (line(&request), request.len() + answer.body.len());
            let (side, second) = (watch.first, second.clone());
            let request = request.clone();
            watch.leave(size, move |judge: &mut Judge, _hold| {
                let theirs = ask(&second, &request);
                judge.answers(&line, None, of(side, [answer, theirs]));
            });
        };
        loop {
            let length = first.read(&mut buffer).unwrap_or_default();
            bytes.extend_from_slice(&buffer[..length]);
            let answer = answer(&request, &bytes, length == 0, asked);
            let done = answer.is_some();
            answer.map(&mut leave);
            client.write_all(&buffer[..length])?;
            if length == 0 || bytes.len() > COMPARED {
                return pass(&client, &first);
            }
            if done {
                break;
            }
        }
    }
}

/// Passes everything on, in both directions, until both are closed.
fn pass(client: &TcpStream, first: &TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (first.try_clone()?, client.try_clone()?);
    on_thread(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    })?;
    let _ = io::copy(&mut &*client, &mut &*first);
    first.shutdown(Shutdown::Write)
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(address)?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

/// The second side's answer.
fn ask(address: &str, request: &[u8]) -> Answer {
    let Ok(mut connection) = connect(address) else {
        return Answer::none(GONE);
    };
    let (asked, mut bytes, mut buffer) = (Instant::now(), Vec::new(), vec![0; READ]);
    // It may answer, and close, before it has all.
    let _ = connection
        .set_write_timeout(Some(ANSWER_TIME))
        .and_then(|()| connection.write_all(request));
    loop {
        let left = ANSWER_TIME.saturating_sub(asked.elapsed());
        let timeout = connection.set_read_timeout(Some(left.max(Duration::from_millis(1))));
        let length = match timeout.and_then(|()| connection.read(&mut buffer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Answer::none(format!("no answer within {ANSWER_TIME:?}"));
            }
            read => read.unwrap_or_default(),
        };
        bytes.extend_from_slice(&buffer[..length]);
        let closed = length == 0 || bytes.len() > COMPARED;
        if let Some(answer) = answer(request, &bytes, closed, asked) {
            return answer;
        }
    }
}

/// A request's first line without the version, and whether it lacks a length.
fn line(request: &[u8]) -> String {
    let mut room = [EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut room);
    let _ = head.parse(request);
    let (method, path) = (head.method.unwrap_or("?"), head.path.unwrap_or("?"));
    let known = field(head.headers, "content-length").is_some();
    let lacks = method == "POST" && !known;
    format!("{method} {path}{}", if lacks { " (no length)" } else { "" })
}

fn field<'a>(fields: &'a [Header<'_>], name: &str) -> Option<&'a str> {
    let field = fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(field.value).ok()
}

/// Where the body of a request begins and how long it is to be, once the head is there.
fn body(request: &[u8]) -> Option<(usize, Option<usize>)> {
    let mut room = [EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut room);
    let begin = match head.parse(request) {
        Ok(Complete(begin)) => begin,
        Ok(_) => return None,
        Err(_) => return Some((0, None)),
    };
    let length = field(head.headers, "content-length").map_or(Ok(0), str::parse);
    let odd = ["transfer-encoding", "expect"].map(|name| field(head.headers, name));
    Some((begin, length.ok().filter(|_| odd == [None; 2])))
}

fn is_whole(request: &[u8]) -> bool {
    body(request).is_some_and(|(begin, length)| length == Some(request.len() - begin))
}

/// Its end cannot be told, or another request follows: it is passed on, and not compared.
fn is_odd(request: &[u8]) -> bool {
    body(request).is_some_and(|(begin, length)| length.is_none_or(|it| it < request.len() - begin))
}

/// An answer, once it is whole.
fn answer(request: &[u8], bytes: &[u8], closed: bool, asked: Instant) -> Option<Answer> {
    let mut room = [EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut room);
    let begin = match head.parse(bytes) {
        Ok(Complete(begin)) => begin,
        _ if closed => return Some(Answer::none("closed without an answer")),
        _ => return None,
    };
    let code = head.code.unwrap_or_default();
    let length = field(head.headers, "content-length").and_then(|it| it.parse().ok());
    let bodyless = request.starts_with(b"HEAD ") || code == 204 || code == 304;
    let length = if bodyless { Some(0) } else { length };
    if !closed && length.is_none_or(|length| bytes.len() - begin < length) {
        return None;
    }
    let text = |it: &Header<'_>| {
        (
            it.name.to_ascii_lowercase(),
            it.value.escape_ascii().to_string(),
        )
    };
    let version = (
        "version".to_owned(),
        format!("HTTP/1.{}", head.version.unwrap_or_default()),
    );
    Some(Answer {
        status: code.to_string(),
        fields: head.headers.iter().map(text).chain([version]).collect(),
        body: bytes[begin..].to_vec(),
        took: asked.elapsed(),
    })
}
