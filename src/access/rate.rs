//! How often each may ask: one bucket of tokens for each name or address.
//!
//! Owns the buckets. It must not know transports. Any thread; a check holds a lock for
//! the look into a map.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::nanos::Nanos;
use governor::state::keyed::{HashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::error::{Code, Error};

/// Buckets that are kept at the same time. One that is full again is forgotten. As
/// long as there are so many others, all who come anew share one.
pub const BUCKETS: usize = 10_000;

/// Between two looks for buckets that are full again.
const SWEEP: Duration = Duration::from_secs(1);

/// The highest rate, in each unit, and the largest burst.
pub const MOST: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();

/// So many a second or a minute, as `100/s` or `30/m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    a_minute: bool,
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "write it like 100/s or 30/m; from 1 to 1000000";
        let (count, unit) = text.split_once('/').ok_or(wrong)?;
        let a_minute = match unit {
            "s" => false,
            "m" => true,
            _ => return Err(wrong),
        };
        match count.parse() {
            Ok(count) if count <= MOST => Ok(Self { count, a_minute }),
            _ => Err(wrong),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.a_minute { "m" } else { "s" };
        write!(f, "{}/{unit}", self.count)
    }
}

/// Whose bucket it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// That of an access token, by its name.
    Token(Arc<str>),
    /// Calls or requests from an address.
    Peer(IpAddr),
    /// New connections from an address.
    Connection(IpAddr),
    /// All for whom there is no bucket left.
    Others,
}

impl Key {
    /// Calls or requests from this address. An IPv6 network of 64 bits counts as one
    /// address, since one customer has at least that.
    pub fn peer(address: IpAddr) -> Self {
        Self::Peer(network(address))
    }

    /// New connections, as [`Key::peer`].
    pub fn connection(address: IpAddr) -> Self {
        Self::Connection(network(address))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// The buckets of a process.
#[derive(Debug)]
pub struct Limiter {
    buckets: RateLimiter<Key, Bounded, DefaultClock>,
    rate: Rate,
    swept: Mutex<Instant>,
}

impl Limiter {
    /// Each may ask `burst` times at once, and at `rate` in the long run. Without a
    /// burst, it is what the rate allows in its unit of time.
    pub fn new(rate: Rate, burst: Option<NonZeroU32>) -> Self {
        let quota = match rate.a_minute {
            true => Quota::per_minute(rate.count),
            false => Quota::per_second(rate.count),
        };
        let quota = quota.allow_burst(burst.unwrap_or(rate.count));
        Self {
            buckets: RateLimiter::new(quota, Bounded::default(), DefaultClock::default()),
            rate,
            swept: Mutex::new(Instant::now()),
        }
    }

    /// Takes one out of the bucket; who is refused takes nothing. Never waits.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED, with the time after which there is one again.
    pub fn check(&self, key: &Key) -> Result<(), Error> {
        if self.buckets.len() > BUCKETS {
            self.sweep();
        }
        self.buckets.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.buckets.clock().now());
            let whose = match key {
                Key::Token(_) => "this token's calls",
                Key::Connection(_) => "new connections from this address",
                Key::Peer(_) | Key::Others => "calls from this address",
            };
            let (rate, burst) = (self.rate, not_until.quota().burst_size());
            let message = format!("{whose}: over the limit of {rate}, {burst} at once");
            Error::new(Code::ResourceExhausted, message).retry_after(wait)
        })
    }

    /// Forgets the buckets that are full again.
    fn sweep(&self) {
        // Whoever finds it locked need not do it too.
        if let Ok(mut swept) = self.swept.try_lock()
            && swept.elapsed() >= SWEEP
        {
            self.buckets.retain_recent();
            *swept = Instant::now();
        }
    }
}

/// [`BUCKETS`] buckets, and one for those who come when all are in use.
#[derive(Debug, Default)]
struct Bounded(HashMapStateStore<Key>);

impl StateStore for Bounded {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut buckets = self.0.lock();
        let (full, all) = (buckets.len() >= BUCKETS, &NotKeyed::NonKey);
        if let Some(known) = buckets.get(key) {
            return known.measure_and_replace(all, decide);
        }
        let key = if full { Key::Others } else { key.clone() };
        let bucket = buckets.entry(key).or_default();
        bucket.measure_and_replace(all, decide)
    }
}

impl ShrinkableKeyedStateStore<Key> for Bounded {
    fn retain_recent(&self, older: Nanos) {
        self.0.retain_recent(older);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
