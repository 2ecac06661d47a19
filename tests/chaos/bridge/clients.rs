//! Clients of a bridge: some stall, some leave in the middle, some send the half.

use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, RwLock};
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use serde_json::json;

use super::event::BridgeEvent;
use super::http::Http;
use crate::chaos::chat::event::ChatEvent;
use crate::chaos::chat::senders::{first, message, text};
use crate::chaos::record::Pen;
use crate::chaos::run::Stop;
use crate::support::http::messages;
use crate::support::{SOON, nanos};

/// The senders at bridges have numbers from here on, ten for each.
const SENDERS: usize = 100;

/// Who sends after the faults, until all have seen something of it.
pub const TAIL: usize = 50;

/// Through which bridge a message was sent.
pub fn bridge_of(message: u64) -> Option<usize> {
    let sender = usize::try_from(message / first(0)).expect("few senders") - 1;
    Some(sender.checked_sub(SENDERS)? / 10)
}

pub fn is_tail(message: u64) -> bool {
    (first(TAIL)..first(TAIL + 1)).contains(&message)
}

/// One of the clients of a bridge, on a link or past it.
pub struct Client<'a> {
    pub seed: u64,
    pub bridge: usize,
    pub number: usize,
    pub port: u16,
    pub direct: bool,
    /// It never stalls, and never leaves in the middle of a flush.
    pub calm: bool,
    /// Of those that flush here: to be written while two flushes are torn.
    pub others: &'a RwLock<()>,
    pub stop: &'a Stop,
}

impl Client<'_> {
    fn rng(&self, what: u64) -> Rng {
        let own = what * 10_000 + (self.bridge * 100 + self.number) as u64;
        Rng::with_seed(self.seed ^ (own << 32))
    }

    pub fn send(&self, mut pen: Pen<BridgeEvent>) {
        let mut rng = self.rng(1);
        let mut http = Http::new(self.port, rng.bool());
        for message in first(SENDERS + 10 * self.bridge + self.number).. {
            if self.stop.wait(Duration::from_millis(rng.u64(..30))) {
                return;
            }
            let author = match rng.u8(..) {
                // Too long: it has to be refused.
                0 => "a".repeat(300),
                _ => format!("bridge {}", self.bridge),
            };
            let body = json!({"author": author, "text": text(message, rng.usize(..200))});
            pen.note(ChatEvent::Asked { message });
            let half = rng.u8(..50) == 0;
            let missing = rng.usize(1..100);
            if half {
                http.half("/sendMessage", &body.to_string(), missing);
                let status = "only a part of it was sent".into();
                pen.note(ChatEvent::Refused { message, status });
                continue;
            }
            let answer = http.ask("/sendMessage", &body.to_string(), Duration::ZERO);
            let whole = answer.and_then(|mut answer| http.finish(&mut answer).map(|()| answer));
            pen.note(match whole {
                Ok(answer) if answer.status == 200 => {
                    let body: serde_json::Value =
                        serde_json::from_slice(&answer.body).expect("JSON");
                    let time = nanos(body["sendTime"].as_str().expect("a time"));
                    ChatEvent::Answered { message, time }
                }
                Ok(answer) => {
                    let status = answer.status.to_string();
                    match answer.status {
                        400..500 => ChatEvent::Refused { message, status },
                        _ => ChatEvent::Unknown { message, status },
                    }
                }
                Err(error) => ChatEvent::Unknown {
                    message,
                    status: error.to_string(),
                },
            });
            // What has just been sent is in the next flush.
            if rng.u8(..3) == 0 || self.calm {
                let flush = 1_000_000_000 * (10 * self.bridge + 5 + self.number) as u64 + message;
                self.flush_at_once(flush, &mut http, &mut pen, &AtomicBool::new(false));
            }
        }
    }

    fn flush_at_once(
        &self,
        flush: u64,
        http: &mut Http,
        pen: &mut Pen<BridgeEvent>,
        reached: &AtomicBool,
    ) {
        let (bridge, direct) = (self.bridge, self.direct);
        let _turn = self.others.read();
        pen.note(BridgeEvent::Flushes {
            flush,
            bridge,
            direct,
        });
        let took = self.take(flush, http, Duration::ZERO, false, pen, reached);
        pen.note(took.unwrap_or_else(|error| {
            let why = error.to_string();
            BridgeEvent::Unclear { flush, why }
        }));
    }

    /// Until somebody has flushed something from after the faults.
    pub fn flush(&self, mut pen: Pen<BridgeEvent>, reached: &AtomicBool) {
        let mut rng = self.rng(2);
        let mut http = Http::new(self.port, rng.bool());
        let (bridge, direct, mut deadline) = (self.bridge, self.direct, None);
        for flush in 1_000_000 * (10 * bridge + self.number) as u64.. {
            let pause = match rng.u8(..12) {
                0 => rng.u64(..2_500),
                _ => rng.u64(..150),
            };
            let manner = rng.u8(..20);
            let stall = Duration::from_millis(rng.u64(..2_000));
            if self.stop.wait(Duration::from_millis(pause)) {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + 2 * SOON);
                if reached.load(Ordering::SeqCst) || Instant::now() > deadline {
                    return pen.note(BridgeEvent::Over { bridge });
                }
                std::thread::sleep(Duration::from_millis(20));
            } else if manner == 2 && !self.calm {
                http.half(FLUSH, "", 1 + flush as usize % 60);
                continue;
            }
            let _turn = self.others.read();
            let plainly = self.stop.is_stopped() || self.calm;
            let manner = if plainly { 9 } else { manner };
            pen.note(BridgeEvent::Flushes {
                flush,
                bridge,
                direct,
            });
            let stall = if manner == 3 { stall } else { Duration::ZERO };
            let end = match manner {
                0 | 1 if direct && http.ask_and_leave(FLUSH).is_ok() => BridgeEvent::Torn { flush },
                _ => self
                    .take(flush, &mut http, stall, manner == 4, &mut pen, reached)
                    .unwrap_or_else(|error| {
                        let why = error.to_string();
                        BridgeEvent::Unclear { flush, why }
                    }),
            };
            pen.note(end);
        }
    }

    fn take(
        &self,
        flush: u64,
        http: &mut Http,
        stall: Duration,
        leaves: bool,
        pen: &mut Pen<BridgeEvent>,
        reached: &AtomicBool,
    ) -> std::io::Result<BridgeEvent> {
        let mut answer = http.ask(FLUSH, "", stall)?;
        let is_large = answer.missing() > *BUFFERS;
        // A small answer may count as taken once the kernel has it.
        let leaves = leaves && flush.is_multiple_of(3) || is_large && flush.is_multiple_of(2);
        if leaves && !self.calm {
            answer.reset();
            let why = "left in the middle".into();
            return Ok(match is_large && self.direct {
                true => BridgeEvent::Torn { flush },
                false => BridgeEvent::Unclear { flush, why },
            });
        }
        http.finish(&mut answer)?;
        if answer.status != 200 {
            let status = answer.status;
            return Ok(BridgeEvent::Refused { flush, status });
        }
        let body = serde_json::from_slice(&answer.body).expect("JSON");
        for seen in messages(&body) {
            let (message, time) = (message(&seen.text), seen.nanos);
            pen.note(BridgeEvent::Flushed {
                flush,
                message,
                time,
            });
            if is_tail(message) {
                reached.store(true, Ordering::SeqCst);
            }
        }
        if answer.gap {
            pen.note(BridgeEvent::Gap { flush });
        }
        Ok(BridgeEvent::Took {
            flush,
            dropped: answer.dropped,
            subscribed: answer.subscribed,
        })
    }
}

/// Two flushes that both have much of what `burst` sends, and are torn one right after
/// the other, the older one first.
pub fn tear_two(
    (bridge, port): (usize, u16),
    number: u64,
    pen: &mut Pen<BridgeEvent>,
    others: &RwLock<()>,
    mut burst: impl FnMut(&mut Pen<BridgeEvent>),
) {
    let _turn = others.write();
    let asked = [0, 1].map(|second| {
        let flush = TORN + 2 * number + second;
        burst(pen);
        pen.note(BridgeEvent::Flushes {
            flush,
            bridge,
            direct: true,
        });
        (flush, Http::new(port, false).ask(FLUSH, "", Duration::ZERO))
    });
    // Those that nobody can have taken; the others may have been.
    let torn = asked.map(|(flush, answer)| match answer {
        Ok(answer) => {
            let is_large = answer.missing() > *BUFFERS;
            answer.reset();
            (flush, is_large)
        }
        Err(_) => (flush, false),
    });
    for (flush, is_sure) in torn {
        let why = "left in the middle".into();
        pen.note(match is_sure {
            true => BridgeEvent::Torn { flush },
            false => BridgeEvent::Unclear { flush, why },
        });
    }
}

/// The flushes that are torn in pairs have numbers from here on.
const TORN: u64 = 900_000_000;

const FLUSH: &str = "/getAndFlushMessages";

/// More than a kernel takes of an answer that nobody reads.
static BUFFERS: LazyLock<usize> = LazyLock::new(|| {
    // Source: tcp(7), the largest send buffer is the third number.
    let sizes = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").expect("a size");
    let most = sizes.split_whitespace().nth(2).expect("three sizes");
    most.parse::<usize>().expect("a number") + 512 * 1024
});

fn time(text: &str) -> SystemTime {
    let time = chrono::DateTime::parse_from_rfc3339(text);
    time.expect("a time").into()
}

/// What a bridge has logged about its subscription.
pub fn note_log(bridge: usize, mut log: &File, pen: &mut Pen<BridgeEvent>) {
    let mut lines = String::new();
    log.read_to_string(&mut lines).expect("a log");
    for line in lines.lines() {
        let event = if line.contains("live again; nothing was missed") {
            BridgeEvent::Resumed { bridge }
        } else if line.contains("the subscription is live again") {
            let from = line.split("from=").nth(1).expect("a window");
            let from = from.trim_start_matches('"').split(['"', ' ']).next();
            let from = from.expect("a time");
            BridgeEvent::Again {
                bridge,
                from: nanos(from),
                since: pen.moment(time(from)),
            }
        } else if line.contains("the subscription is live") {
            BridgeEvent::Live { bridge }
        } else if line.contains("the subscription is lost") {
            BridgeEvent::Lost { bridge }
        } else {
            continue;
        };
        let logged = line.split(' ').next().expect("a time");
        let at = pen.moment(time(logged));
        pen.note_at(at, event);
    }
}
