//! One client's connection: request in, lane, answer out, until it ends.
//!
//! Owns the order of those steps. It must not know how any step is done. Each
//! connection has a thread `http-conn-N`, which runs [`serve`] and nothing else.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::answer::{Body, Extent, Style, encode_head};
use super::exchange::{Answered, Exchange};
use super::head::Head;
use super::intake::{Failure, Intake, KEPT_BYTES};
use super::journal::{self, Entry};
use super::limits::Limits;
use super::open::{Connection, Connections, Turn};
use super::origin;
use super::receipt::Attached;
use super::refusal::Refusal;
use super::socket::{Client as _, Socket};
use super::stream::Streams;
use super::tls::Failed;
use super::wait::Lines;
use crate::budget::Hold;

/// What all connections share.
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) exchange: Exchange,
    pub(super) streams: Streams,
    pub(super) lines: Lines,
    pub(super) stopping: AtomicBool,
    pub(super) connections: Connections,
    /// The name under which requests are counted and logged.
    pub(super) service: &'static str,
}

/// Serves `connection` until it ends.
pub(super) fn serve(connection: &Connection, shared: &Shared) {
    let limits = &shared.limits;
    let Ok(mut client) = Socket::new(connection.stream(), limits) else {
        return;
    };
    if let Err(failed) = client.secure(limits) {
        let plain = Refusal::malformed("this port speaks TLS: ask for https://");
        match failed {
            Failed::Gone => {}
            Failed::Plain if client.write(&plain.encode(true, true), b"").is_err() => {}
            Failed::Plain | Failed::Refused => client.close_softly(limits),
        }
        return;
    }
    let mut intake = Intake::default();
    let mut buffers = Buffers::default();
    let mut hold = limits.memory.hold();
    loop {
        if intake.is_empty() {
            connection.set(Turn::Idle(Instant::now()));
            // In this order: a shutdown that still saw it busy is seen here.
            if shared.stopping.load(Ordering::SeqCst) {
                return;
            }
        }
        let peer = connection.peer();
        let begun = || connection.set(Turn::Request(Instant::now()));
        let mut head = match intake.next(&mut client, limits, begun, &mut hold) {
            Ok(Some(head)) => head,
            Ok(None) | Err(Failure::Gone) => return,
            Err(Failure::Refused(mut refusal)) => {
                if connection.turn() == Turn::Over {
                    refusal = over(limits);
                }
                connection.set(Turn::Ours);
                intake.free(&mut hold);
                let mut entry = journal::begin(shared.service, peer, None);
                let mut bytes = refusal.encode(true, true);
                journal::mark(&mut entry, &mut bytes);
                if client.write(&bytes, b"").is_ok() {
                    client.close_softly(limits);
                }
                return;
            }
        };
        connection.set(Turn::Ours);
        buffers.entry = journal::begin(shared.service, peer, Some(&mut head));
        let (body, buffers) = (&intake.body, &mut buffers);
        let fate = answer(&mut client, peer, shared, &head, body, buffers, &mut hold);
        hold.force(0);
        match fate {
            Fate::Delivered { keep_alive: true } => {}
            Fate::Delivered { keep_alive: false } => {
                // With nothing unread, a plain close resets nothing. With TLS, the client's
                // goodbye may be.
                if !intake.is_empty() || limits.tls.is_some() {
                    client.close_softly(limits);
                }
                return;
            }
            Fate::Lost => {
                client.reset();
                return;
            }
        }
    }
}

fn over(limits: &Limits) -> Refusal {
    let limit = limits.connections;
    let message = format!("too slow while the limit of {limit} connections is reached");
    Refusal::new(408, message)
}

/// Reused for every request of a connection.
#[derive(Default)]
struct Buffers {
    out: Vec<u8>,
    answer: Vec<u8>,
    /// Of the request that is answered now.
    entry: Option<Entry>,
}

enum Fate {
    /// `keep_alive`: as the client was told.
    Delivered {
        keep_alive: bool,
    },
    Lost,
}

fn answer(
    client: &mut Socket<'_>,
    peer: IpAddr,
    shared: &Shared,
    head: &Head,
    body: &[u8],
    buffers: &mut Buffers,
    hold: &mut Hold,
) -> Fate {
    let Buffers { out, answer, entry } = buffers;
    let limits = &shared.limits;
    let allowed = origin::check(head, client.local(), &shared.limits.hosts);
    // Anything else may change something, and then its answer cannot be refused.
    let only_reads = matches!(&*head.method, "GET" | "HEAD");
    let asked = head.asked();
    let ask = || match &limits.gate {
        Some(gate) => gate.request(peer, &asked),
        None => Ok(None),
    };
    let answered = allowed.and_then(|()| ask()).and_then(|mut pass| {
        if !only_reads {
            limits.memory.take(0)?;
        }
        if head.target == "*" {
            return Ok((methods(answer), pass));
        }
        let mut waiting = shared.lines.join(&asked)?;
        loop {
            let waited = match &mut waiting {
                Some(place) => place.wait(client, &shared.stopping, &mut pass, ask)?,
                None => false,
            };
            let answered = shared.exchange.run(head, waited, body, out, answer)?;
            if !(waited && answered.attached.wait_again) {
                return Ok((answered, pass));
            }
        }
    });
    let keep_alive = head.keep_alive && !shared.stopping.load(Ordering::SeqCst);
    out.clear();
    let admitted = answered.and_then(|(answered, pass)| {
        let Attached { stream, length, .. } = &answered.attached;
        let endless = stream.is_some() && length.is_none() && head.method != "HEAD";
        if answer.capacity() > KEPT_BYTES {
            let held = hold.bytes() + answer.capacity();
            match only_reads {
                true => hold.set(held)?,
                false => hold.force(held),
            }
        }
        let place = endless.then(|| shared.streams.enter(limits.streams));
        Ok((answered, place.transpose()?, pass))
    });
    let message = admitted.as_ref().ok().and_then(|it| it.0.attached.message);
    let writing = entry.as_mut().map(|entry| entry.writing(message));
    let fate = match admitted {
        Ok((Answered { extent, attached }, place, pass)) => {
            let Attached {
                stream,
                length,
                receipt,
                hold: _until_taken,
                ..
            } = attached;
            let streamed = stream.is_some();
            let form = match length {
                _ if !streamed => Body::Whole,
                Some(length) => Body::Sized(length),
                None => Body::Streamed,
            };
            let style = Style {
                http10: head.http10,
                // Nothing but the end of the connection ends a stream of HTTP/1.0.
                keep_alive: keep_alive && !(form == Body::Streamed && head.http10),
                body: form,
            };
            let whole = if streamed { extent.head } else { answer.len() };
            let encoded = encode_head(answer, style, out);
            journal::mark(entry, out);
            let mut written = encoded.and_then(|()| client.write(out, &answer[extent.head..whole]));
            if let (Ok(()), Some(stream), true) = (&written, stream, head.method != "HEAD") {
                let chunked = form == Body::Streamed && !head.http10;
                let hold = (form == Body::Streamed).then_some(hold);
                // What has a length is not ended before.
                let pass = pass.filter(|_| form == Body::Streamed);
                written = stream.send(
                    client,
                    chunked,
                    hold,
                    (place.as_ref(), &pass, &shared.stopping),
                );
            }
            drop(place);
            let keep_alive = style.keep_alive;
            match receipt {
                _ if written.is_err() => Fate::Lost,
                None => Fate::Delivered { keep_alive },
                Some(receipt) if client.delivered() => {
                    receipt.delivered();
                    Fate::Delivered { keep_alive }
                }
                Some(_) => Fate::Lost,
            }
        }
        Err(refusal) => {
            // The request was read whole, so the connection is still in step.
            let mut bytes = refusal.encode(!keep_alive, head.method != "HEAD");
            journal::mark(entry, &mut bytes);
            match client.write(&bytes, b"") {
                Ok(()) => Fate::Delivered { keep_alive },
                Err(_) => Fate::Lost,
            }
        }
    };
    drop(writing);
    *entry = None;
    for buffer in [out, answer] {
        buffer.clear();
        buffer.shrink_to(KEPT_BYTES);
    }
    fate
}

/// The answer to `OPTIONS *`, which asks nobody in particular.
fn methods(answer: &mut Vec<u8>) -> Answered {
    answer.extend_from_slice(b"HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, POST, OPTIONS\r\n\r\n");
    let (head, body) = (answer.len(), 0);
    Answered {
        extent: Extent { head, body },
        attached: Attached::default(),
    }
}
