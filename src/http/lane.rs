//! The lanes: blocking tiny_http loops, each with one handler.
//!
//! Owns the tiny_http server, its Unix socket, and the loop threads. It must not know the public socket. With one lane, [`run`] is the
//! classic single-threaded loop, and the place for a breakpoint: it is passed
//! once per request. tiny_http's own threads carry the name `http-tiny`.

use std::any::Any;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::answer::has_no_body;
use super::exchange::PROBE;
use super::head::token;
use super::message::{Request, Response};
use super::receipt::{Attached, NUMBER_HEADER, Receipts, WAITED_HEADER};
use crate::access_log;
use crate::retry::supervised;
use crate::sync::spawn;
use crate::trace::{self, Point};

use rustix::fs::{Mode, OFlags};

/// How long a shutdown waits for handlers that are still busy.
const HANDLER_TIME: Duration = Duration::from_millis(500);

/// The running loops. Dropping this ends them.
pub(super) struct Lanes {
    server: Arc<tiny_http::Server>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    listener: UnixListener,
    /// The folder and the socket, which have no names any more.
    _folder: File,
    socket: OwnedFd,
}

impl Lanes {
    /// Starts one loop per handler, named `name`, or `name-0`, `name-1`, ... if
    /// there are several.
    pub(super) fn start<H>(
        handlers: Vec<H>,
        name: &str,
        receipts: &Arc<Receipts>,
    ) -> io::Result<Lanes>
    where
        H: FnMut(Request) -> Response + Send + 'static,
    {
        // Nobody but this process may connect: that would bypass the front. So the
        // names are gone as soon as it is bound, and nothing stays behind a kill.
        let named = tempfile::Builder::new()
            .prefix("http-lane-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()?;
        let folder = File::open(named.path())?;
        // By its number, since a socket's path has at most 107 bytes.
        let listener = UnixListener::bind(path_of(&folder).join("lane.sock"))?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let socket = rustix::fs::openat(&folder, "lane.sock", flags, Mode::empty())?;
        named.close()?;
        let server = Arc::new(start_tiny_http(listener.try_clone()?)?);
        let mut lanes = Lanes {
            server,
            stopping: Arc::default(),
            threads: Vec::new(),
            listener,
            _folder: folder,
            socket,
        };
        let several = handlers.len() > 1;
        for (n, mut handler) in handlers.into_iter().enumerate() {
            let name = if several {
                format!("{name}-{n}")
            } else {
                name.to_owned()
            };
            let server = Arc::clone(&lanes.server);
            let stopping = Arc::clone(&lanes.stopping);
            let receipts = Arc::clone(receipts);
            lanes.threads.push(spawn(name, move || {
                supervised(|| run(&server, &stopping, &receipts, &mut handler));
            })?);
        }
        Ok(lanes)
    }

    /// Where this process can connect to it.
    pub(super) fn socket(&self) -> PathBuf {
        path_of(&self.socket)
    }

    /// Ends the loops. A handler that is still busy after half a second is left
    /// behind: a thread cannot be ended from outside.
    fn stop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        for _ in &self.threads {
            self.server.unblock();
        }
        let deadline = Instant::now() + HANDLER_TIME;
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                let _ = thread.join();
            } else {
                tracing::warn!(thread = ?thread.thread().name(), "handler still busy at shutdown");
            }
        }
        // tiny_http would wake its own thread by the path, which is gone.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A path for whatever this descriptor has open. Source: proc(5), /proc/PID/fd.
fn path_of(open: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", open.as_raw_fd()).into()
}

/// tiny_http names no thread, and a thread without a name takes its parent's.
/// So the parent is a thread that is made for the name.
fn start_tiny_http(listener: UnixListener) -> io::Result<tiny_http::Server> {
    let start = spawn("http-tiny", move || {
        tiny_http::Server::from_listener(listener, None)
    })?;
    match start.join() {
        Ok(server) => server.map_err(io::Error::other),
        Err(_) => Err(io::Error::other("tiny_http panicked at start")),
    }
}

/// The loop: takes requests one at a time, and answers each before the next.
fn run(
    server: &tiny_http::Server,
    stopping: &AtomicBool,
    receipts: &Receipts,
    handler: &mut impl FnMut(Request) -> Response,
) {
    while !stopping.load(Ordering::SeqCst) {
        let mut incoming = match server.recv() {
            Ok(incoming) => incoming,
            Err(error) => {
                // Also how `unblock` wakes this loop. The lanes are open by now,
                // so it goes on even if tiny_http has lost its listener.
                if !stopping.load(Ordering::SeqCst) {
                    tracing::error!(%error, "tiny_http accepts no more connections");
                }
                continue;
            }
        };
        let (number, request) = match read(&mut incoming) {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "the connection to a lane broke within a request");
                continue;
            }
        };
        if number == PROBE {
            respond(
                incoming,
                Response {
                    status: 204,
                    ..Response::default()
                },
            );
            continue;
        }
        access_log::work_for(|| request.header(access_log::HEADER));
        let mut span = trace::span("handle");
        span.request(Point::Step, request.header(access_log::HEADER));
        let mut response = catch_unwind(AssertUnwindSafe(|| handler(request)))
            .unwrap_or_else(|panic| internal_error(&*panic));
        // Before the answer leaves, so that the front finds it there.
        if let Some(mut attached) = Attached::take_from(&mut response) {
            if has_no_body(Some(response.status)) {
                attached.stream = None;
            }
            receipts.put(number, attached);
        }
        respond(incoming, response);
    }
}

/// The request as the handler sees it, and the number that the front gave it.
fn read(incoming: &mut tiny_http::Request) -> io::Result<(u64, Request)> {
    let (path, query) = match incoming.url().split_once('?') {
        Some((path, query)) => (path.to_owned(), query.to_owned()),
        None => (incoming.url().to_owned(), String::new()),
    };
    let (mut number, mut waited) = (None, false);
    let mut headers = Vec::with_capacity(incoming.headers().len());
    for header in incoming.headers() {
        if header.field.equiv(NUMBER_HEADER) {
            number = header.value.as_str().parse().ok();
        } else if header.field.equiv(WAITED_HEADER) {
            waited = true;
        } else if !header.field.equiv("Content-Length") {
            headers.push((header.field.to_string(), header.value.to_string()));
        }
    }
    let number = number.ok_or_else(|| io::Error::other("a request that is not the front's"))?;
    let length = incoming.body_length().unwrap_or(0);
    let mut body = Vec::with_capacity(length);
    if length > 0 {
        incoming
            .as_reader()
            .take(length as u64)
            .read_to_end(&mut body)?;
    }
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let method = incoming.method().to_string();
    Ok((
        number,
        Request {
            method,
            path,
            query,
            headers,
            body,
            waited,
        },
    ))
}

fn respond(incoming: tiny_http::Request, response: Response) {
    let status = match response.status {
        status @ 200..=599 => status,
        status => {
            tracing::error!(status, "a handler answered with an invalid status");
            500
        }
    };
    let headers = response.headers.iter().filter_map(|(name, value)| {
        let header = tiny_http::Header::from_bytes(name.as_bytes(), value.as_bytes()).ok();
        // A line end in a value would be a header of its own on the wire.
        let is_name = !name.is_empty() && token(name.as_bytes()) == name.len();
        let sound = is_name && !value.bytes().any(|byte| byte.is_ascii_control());
        if name.eq_ignore_ascii_case("content-length") {
            // tiny_http would believe it, and the body's own length is right.
            return None;
        }
        if header.is_none() || !sound {
            tracing::error!(name, "a handler answered with a header that cannot be sent");
        }
        header.filter(|_| sound)
    });
    let length = response.body.len();
    // Only a known length lets the front tell a whole answer from a torn one.
    let answer = tiny_http::Response::new(
        tiny_http::StatusCode(status),
        headers.collect(),
        Cursor::new(response.body),
        Some(length),
        None,
    )
    .with_chunked_threshold(usize::MAX);
    if let Err(error) = incoming.respond(answer) {
        tracing::error!(%error, "the connection to a lane broke within an answer");
    }
}

fn internal_error(panic: &(dyn Any + Send)) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = text, "a handler panicked");
    Response::error(500, "INTERNAL", "the request could not be handled")
}
