//! Strictly increasing time stamps, also when the wall clock steps back.

use chrono::{DateTime, SecondsFormat, Utc};

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not
/// counted. The range of the 64 bits ends in the year 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    pub fn nanos(self) -> i64 {
        self.0
    }

    /// From protobuf's pair of fields; out-of-range values saturate.
    pub fn from_parts(seconds: i64, nanos: i32) -> Self {
        Self(
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(i64::from(nanos)),
        )
    }

    /// Whole seconds and the rest, 0..1_000_000_000, as protobuf has them.
    pub fn parts(self) -> (i64, i32) {
        let nanos = self.0.rem_euclid(1_000_000_000);
        (self.0.div_euclid(1_000_000_000), nanos as i32)
    }

    /// The wall clock's time now.
    pub fn now() -> Self {
        Self(Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX))
    }

    /// RFC 3339 in UTC with `Z` and always nine digits of fraction.
    pub fn rfc3339(self) -> String {
        DateTime::from_timestamp_nanos(self.0).to_rfc3339_opts(SecondsFormat::Nanos, true)
    }

    /// Parses RFC 3339 in any time zone. `None` if malformed or out of range.
    pub fn parse(text: &str) -> Option<Self> {
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        time.timestamp_nanos_opt().map(Self)
    }
}

/// Issues strictly increasing time stamps, all behind 1970-01-01T00:00:00Z.
#[derive(Debug, Default)]
pub struct Clock {
    last: Timestamp,
}

impl From<Timestamp> for Clock {
    /// All time stamps are later.
    fn from(last: Timestamp) -> Self {
        Self { last }
    }
}

impl Clock {
    /// `max(now, last + 1 ns)`: the wall clock's time unless that has stepped
    /// back or stood still.
    pub fn tick(&mut self, now: Timestamp) -> Timestamp {
        self.last = now.max(Timestamp(self.last.0.saturating_add(1)));
        self.last
    }

    /// The last time stamp; all to come are later.
    pub fn last(&self) -> Timestamp {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_always_has_nine_digits() {
        assert_eq!(
            Timestamp::from_nanos(0).rfc3339(),
            "1970-01-01T00:00:00.000000000Z"
        );
        assert_eq!(
            Timestamp::from_parts(1_767_323_045, 123_456_789).rfc3339(),
            "2026-01-02T03:04:05.123456789Z"
        );
        let time = Timestamp::from_nanos(7);
        assert_eq!(Timestamp::parse(&time.rfc3339()), Some(time));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    proptest! {
        #[test]
        fn rises_strictly_and_never_lags_behind_the_wall_clock(
            readings in prop::collection::vec(-4_000_000_000_000_000_000i64..4_000_000_000_000_000_000, 1..200)
        ) {
            let mut clock = Clock::default();
            let mut last = None;
            for reading in readings {
                let now = Timestamp::from_nanos(reading);
                let time = clock.tick(now);
                prop_assert!(time >= now);
                prop_assert!(last.is_none_or(|last| time > last));
                last = Some(time);
            }
        }

        #[test]
        fn parts_are_in_range_and_whole(nanos in any::<i64>()) {
            let time = Timestamp::from_nanos(nanos);
            let (seconds, rest) = time.parts();
            prop_assert!((0..1_000_000_000).contains(&rest));
            prop_assert_eq!(i128::from(seconds) * 1_000_000_000 + i128::from(rest), i128::from(nanos));
        }
    }
}
