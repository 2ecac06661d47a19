//! Figures, and the words of other programs, as a report shows them.

use serde::Serialize;

use super::{Metric, PeerResult, Samples};
use crate::number::thousands;

/// A figure of a peer.
#[derive(Default, Serialize)]
pub struct Cell {
    /// The median, or a word for why there is none.
    pub figure: String,
    /// ` (least to greatest)`; nothing of a single value.
    pub range: String,
    /// How it compares with the first peer's: `27x less`, `~1.1x more`, `about
    /// equal`, never a bare factor, whose direction one would have to guess.
    pub ratio: String,
    /// Whether that is `better` or `worse`; neither if the ranges overlap or the
    /// metric does not judge. `hangs` or `fails` if there is no figure for that.
    pub verdict: &'static str,
    /// The least, the median and the greatest.
    pub spread: Option<[f64; 3]>,
}

/// The figure of a peer that does not tell one.
pub const ABSENT: &str = "-";

impl Cell {
    /// Of a peer's result; `first` is that of the first peer.
    pub fn of(metric: Metric, result: &PeerResult, first: Option<&PeerResult>) -> Self {
        let word = |figure: &str, verdict| Self {
            figure: figure.into(),
            verdict,
            ..Self::default()
        };
        let own = match (result, result.samples(metric)) {
            (PeerResult::Failed { why }, _) if why.contains("hangs") => {
                return word("hangs", "hangs");
            }
            (PeerResult::Failed { .. }, _) => return word("fails", "fails"),
            (_, None) => return word(ABSENT, ""),
            (_, Some(own)) => own,
        };
        let first = first.filter(|first| !std::ptr::eq(*first, result));
        let first = first.and_then(|first| first.samples(metric));
        let ratio = first.and_then(|first| ratio(metric, first, own));
        let (ratio, verdict) = ratio.unwrap_or_default();
        let spread @ [least, median, greatest] = own.spread();
        let drawable = spread.iter().all(|v| v.is_finite() && *v >= 0.0);
        Self {
            figure: number(median),
            range: match own.values.len() {
                1 => String::new(),
                _ => format!(" ({} to {})", number(least), number(greatest)),
            },
            ratio,
            verdict,
            spread: drawable.then_some(spread),
        }
    }
}

/// Longer answers say little more, and would bury the rest of the report.
const LIMIT: usize = 400;

/// One line of what may hold anything: characters that could move the terminal's
/// cursor, set its title or turn the order of the text are spelled out.
pub fn line(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(LIMIT) {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    match text.chars().count().saturating_sub(LIMIT) {
        0 => out,
        rest => format!("{out}... ({rest} more characters)"),
    }
}

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

/// None where there is nothing to divide by.
fn ratio(metric: Metric, first: &Samples, other: &Samples) -> Option<(String, &'static str)> {
    let ([low, base, high], [least, value, greatest]) = (first.spread(), other.spread());
    let usable = |v: f64| v.is_finite() && v > 0.0;
    if !usable(base) || !usable(value) {
        return None;
    }
    let more = value > base;
    let times = if more { value / base } else { base / value };
    if times < 1.05 {
        return Some(("about equal".into(), ""));
    }
    let overlap = least <= high && low <= greatest;
    let mark = if overlap { "~" } else { "" };
    let word = if more { "more" } else { "less" };
    let verdict = match metric {
        _ if overlap => "",
        Metric::LoadCpu => "",
        _ if more == (metric == Metric::Throughput) => "better",
        _ => "worse",
    };
    Some((format!("{mark}{}x {word}", rounded(times, 2)), verdict))
}

/// `digits` significant ones.
fn rounded(value: f64, digits: usize) -> String {
    // Through the scientific form, so that 999.6 becomes 1,000, not 1,000.0.
    let scientific = format!("{value:.*e}", digits - 1);
    let exponent = scientific.split_once('e').map(|(_, e)| e.parse::<i64>());
    match (exponent, scientific.parse::<f64>()) {
        (Some(Ok(_)), Ok(0.0)) => "0".into(),
        (Some(Ok(exponent)), Ok(value)) => {
            let decimals = (digits as i64 - 1 - exponent).clamp(0, 12);
            thousands(&format!("{value:.*}", decimals as usize))
        }
        _ => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Samples {
        let (metric, values) = (Metric::ServerCpu, values.to_vec());
        Samples { metric, values }
    }

    #[test]
    fn words_of_others_are_one_line_of_what_can_be_seen() {
        let hostile = "\"a\u{1b}[31m\u{7}\n\u{9b}2J\u{202e}b \u{43f}\u{440}";
        let shown = "\"a\\u{1b}[31m\\u{7}\\n\\u{9b}2J\\u{202e}b \u{43f}\u{440}";
        assert_eq!(line(hostile), shown);
        let long = line(&"x".repeat(LIMIT + 7));
        assert!(long.ends_with("x... (7 more characters)"));
    }

    #[test]
    fn numbers_have_three_digits_and_thousands() {
        for (value, text) in [
            (514_321.0, "514,000"),
            (999.6, "1,000"),
            (99.96, "100"),
            (5.301, "5.30"),
            (0.012_345, "0.0123"),
            (0.0, "0"),
            (-1234.0, "-1,230"),
            (f64::NAN, "-"),
            (f64::INFINITY, "-"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!((short(5.0), short(100.0)), ("5".into(), "100".into()));
    }

    #[test]
    fn a_ratio_says_its_direction_and_whether_it_is_good() {
        let cpu = Metric::ServerCpu;
        for (metric, first, other, text, verdict) in [
            (cpu, &[3.0][..], &[81.0][..], "27x more", "worse"),
            (cpu, &[3.0], &[2.5], "1.2x less", "better"),
            (cpu, &[3.0], &[3.1], "about equal", ""),
            (Metric::Throughput, &[27.0], &[1.0], "27x less", "worse"),
            (cpu, &[2.0, 3.0, 4.0], &[3.5, 4.5, 5.0], "~1.5x more", ""),
            (Metric::LoadCpu, &[1.0], &[3.0], "3.0x more", ""),
        ] {
            let shown = ratio(metric, &of(first), &of(other));
            assert_eq!(shown, Some((text.into(), verdict)));
        }
        assert_eq!(ratio(cpu, &of(&[0.0]), &of(&[1.0])), None);
        assert_eq!(ratio(cpu, &of(&[1.0]), &of(&[f64::NAN])), None);
    }
}
