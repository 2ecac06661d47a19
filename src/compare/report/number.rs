//! How figures are written, the same in the terminal and on the page.

use super::{Metric, Samples};
use crate::number::thousands;

/// Three significant digits, thousands apart by commas; `-` for what is none.
pub fn number(value: f64) -> String {
    rounded(value, 3)
}

/// Like `number`, without the zeros that only say how exact it is.
pub fn short(value: f64) -> String {
    let text = number(value);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// All digits of a count.
pub fn whole(count: u64) -> String {
    thousands(&count.to_string())
}

/// A part of one.
pub fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// The least and the greatest; none of a single value.
pub fn range(samples: &Samples) -> Option<String> {
    let (least, greatest) = samples.range();
    (samples.values.len() > 1).then(|| format!("{} to {}", number(least), number(greatest)))
}

/// `median (min to max)`
pub fn samples(samples: &Samples) -> String {
    let median = number(samples.median());
    match range(samples) {
        Some(range) => format!("{median} ({range})"),
        None => median,
    }
}

/// A size of memory in the largest fitting unit.
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (bytes.max(1).ilog2() / 10).min(4);
    let value = bytes as f64 / 1024f64.powi(power as i32);
    format!("{} {}", short(value), units[power as usize])
}

/// Which way a metric is good. The load is the same for all, so neither way
/// says anything about a peer.
pub fn good(metric: Metric) -> &'static str {
    match metric {
        Metric::LoadCpu => "of the load, not of the peer",
        _ if metric.more_is_better() => "more is better",
        _ => "less is better",
    }
}

/// How a peer's figure compares with the first peer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// `27x less`, `~1.1x more`, `about equal`: never a bare factor, whose
    /// direction one would have to guess.
    pub text: String,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Better,
    Worse,
    /// The ranges overlap, or the metric does not judge.
    Open,
}

/// One line that says how to read a `Ratio`.
pub fn convention(first: &str) -> String {
    format!(
        "27x less: a 27th of {first}'s figure. 27x more: 27 times {first}'s figure. \
         ~: the ranges overlap, so there may be no difference."
    )
}

/// None where there is nothing to divide by.
pub fn ratio(metric: Metric, first: &Samples, other: &Samples) -> Option<Ratio> {
    let (base, value) = (first.median(), other.median());
    let usable = |v: f64| v.is_finite() && v > 0.0;
    if !usable(base) || !usable(value) {
        return None;
    }
    let more = value > base;
    let times = if more { value / base } else { base / value };
    if times < 1.05 {
        let text = "about equal".into();
        let verdict = Verdict::Open;
        return Some(Ratio { text, verdict });
    }
    let ((low, high), (least, greatest)) = (first.range(), other.range());
    let overlap = least <= high && low <= greatest;
    let mark = if overlap { "~" } else { "" };
    let word = if more { "more" } else { "less" };
    Some(Ratio {
        text: format!("{mark}{}x {word}", rounded(times, 2)),
        verdict: match metric {
            _ if overlap => Verdict::Open,
            Metric::LoadCpu => Verdict::Open,
            _ if more == metric.more_is_better() => Verdict::Better,
            _ => Verdict::Worse,
        },
    })
}

/// `digits` significant ones.
fn rounded(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    // Through the scientific form, so that 999.6 becomes 1,000, not 1,000.0.
    let scientific = format!("{value:.*e}", digits - 1);
    let exponent = scientific.split_once('e').map(|(_, e)| e.parse::<i64>());
    let (Some(Ok(exponent)), Ok(value)) = (exponent, scientific.parse::<f64>()) else {
        return "-".into();
    };
    if value == 0.0 {
        return "0".into();
    }
    let decimals = (digits as i64 - 1 - exponent).clamp(0, 12);
    thousands(&format!("{value:.*}", decimals as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Samples {
        let values = values.to_vec();
        let metric = Metric::ServerCpu;
        Samples { metric, values }
    }

    fn compared(metric: Metric, first: &[f64], other: &[f64]) -> (String, Verdict) {
        let ratio = ratio(metric, &of(first), &of(other)).unwrap();
        (ratio.text, ratio.verdict)
    }

    #[test]
    fn numbers_have_three_digits_and_thousands() {
        for (value, text) in [
            (514_321.0, "514,000"),
            (1_234_567.0, "1,230,000"),
            (999.6, "1,000"),
            (1000.0, "1,000"),
            (99.96, "100"),
            (27.04, "27.0"),
            (5.301, "5.30"),
            (0.012_345, "0.0123"),
            (0.0, "0"),
            (-1234.0, "-1,230"),
            (-123.0, "-123"),
            (f64::NAN, "-"),
            (f64::INFINITY, "-"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(short(5.0), "5");
        assert_eq!(short(2.5), "2.5");
        assert_eq!(short(100.0), "100");
        assert_eq!(whole(1024), "1,024");
        assert_eq!(percent(0.0345), "3.5 %");
        assert_eq!(bytes(25_769_803_776), "24 GiB");
        assert_eq!(bytes(0), "0 B");
    }

    #[test]
    fn a_range_is_shown_where_there_is_one() {
        assert_eq!(samples(&of(&[3.0, 2.5, 3.2])), "3.00 (2.50 to 3.20)");
        assert_eq!(samples(&of(&[3.0])), "3.00");
    }

    #[test]
    fn a_ratio_says_its_direction_and_whether_it_is_good() {
        use Verdict::{Better, Open, Worse};
        let cpu = Metric::ServerCpu;
        let more = |text: &str, verdict| (text.to_owned(), verdict);
        assert_eq!(compared(cpu, &[3.0], &[81.0]), more("27x more", Worse));
        assert_eq!(compared(cpu, &[3.0], &[2.5]), more("1.2x less", Better));
        assert_eq!(compared(cpu, &[3.0], &[3.1]), more("about equal", Open));
        let throughput = Metric::Throughput;
        assert_eq!(
            compared(throughput, &[27.0], &[1.0]),
            more("27x less", Worse)
        );
        assert_eq!(compared(cpu, &[1.0], &[1234.0]), more("1,200x more", Worse));
        let (low, high) = ([2.0, 3.0, 4.0], [3.5, 4.5, 5.0]);
        assert_eq!(compared(cpu, &low, &high), more("~1.5x more", Open));
        assert_eq!(
            compared(Metric::LoadCpu, &[1.0], &[3.0]),
            more("3.0x more", Open)
        );
        assert_eq!(ratio(cpu, &of(&[0.0]), &of(&[1.0])), None);
        assert_eq!(ratio(cpu, &of(&[1.0]), &of(&[f64::NAN])), None);
    }
}
