//! Durations on the command line, as people write them.

use std::time::Duration;

/// A year: what is longer means for ever, and the system's clock cannot add any
/// number.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Parses "250ms", "5s", "2m", "12h", "30d" or a plain number of seconds.
///
/// # Errors
/// What is wrong, for people.
pub fn parse(written: &str) -> Result<Duration, String> {
    let (number, unit) = match written.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => written.split_at(at),
        None => (written, "s"),
    };
    let seconds_per_unit = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 24.0 * 3600.0,
        _ => {
            return Err(format!(
                "unknown unit {unit:?}: write it like 250ms, 5s, 2m, 12h or 30d"
            ));
        }
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write it like 250ms, 5s, 2m, 12h or 30d".to_owned())?;
    match Duration::try_from_secs_f64(number * seconds_per_unit) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(format!("duration out of range: 0 to {}", text(LONGEST))),
    }
}

/// A duration as [`parse`] takes it, in seconds or milliseconds.
pub fn text(duration: Duration) -> String {
    match duration.as_millis() {
        millis if !millis.is_multiple_of(1000) => format!("{millis}ms"),
        millis => format!("{}s", millis / 1000),
    }
}

/// A duration of at least a second.
pub fn at_least_1s(text: &str) -> Result<Duration, String> {
    let age = parse(text)?;
    let fits = (age >= Duration::from_secs(1)).then_some(age);
    fits.ok_or_else(|| "has to be at least 1s".into())
}

/// A wait for a database, in a sensible range.
pub fn of_database(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(1)..=Duration::from_secs(3600);
    let time = parse(text)?;
    let fits = range.contains(&time).then_some(time);
    fits.ok_or_else(|| "has to be from 1ms to 60m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("12h"), Ok(Duration::from_secs(43200)));
        assert_eq!(parse("365d"), Ok(LONGEST));
        for time in ["250ms", "5s", "310s"] {
            assert_eq!(parse(time).map(text), Ok(time.to_owned()));
        }
        assert_eq!(parse("525600m"), Ok(LONGEST));
        for wrong in [
            "",
            "s",
            "-1s",
            "5w",
            "1e300s",
            "NaN",
            "31536001s",
            "18000000000000000000s",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
