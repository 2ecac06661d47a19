use super::*;
use crate::compare::report::PeerResult;
use crate::compare::report::sample;

fn plain(width: Option<usize>) -> String {
    let style = Style {
        colour: false,
        width,
    };
    text(&sample::report(), style)
}

#[test]
fn nothing_but_text_and_line_ends_reaches_the_terminal_without_colour() {
    for width in [None, Some(40), Some(80), Some(200)] {
        let shown = plain(width).replace('\n', "");
        assert!(!shown.contains(char::is_control));
    }
}

#[test]
fn with_colour_the_only_control_characters_are_those_of_colours() {
    let style = Style {
        colour: true,
        width: Some(100),
    };
    let shown = text(&sample::report(), style);
    for part in shown.split('\u{1b}').skip(1) {
        let code = part.strip_prefix('[').and_then(|rest| rest.split_once('m'));
        let (code, rest) = code.unwrap();
        assert!(
            code.chars().all(|c| c.is_ascii_digit() || c == ';'),
            "{code}"
        );
        assert!(!rest.replace('\n', "").contains(char::is_control));
    }
}

#[test]
fn every_check_every_word_and_both_answers_are_there() {
    let shown = plain(None);
    for word in ["pass", "differs", "hangs", "dies", "skipped"] {
        assert!(shown.contains(word), "{word}");
    }
    for table in sample::report().behaviour {
        for row in table.rows {
            assert!(shown.contains(&row.name), "{}", row.name);
        }
    }
    assert!(shown.contains(
        "time-rises [Python | tonic] differs: expected every time is later than the one before; \
         got 17 of 10,000 times repeat (difference: readers)"
    ));
}

#[test]
fn a_difference_that_no_row_explains_is_marked() {
    let marked = plain(None);
    let marked = marked
        .lines()
        .filter(|line| line.contains("(UNEXPLAINED: "));
    let checks = marked.map(|line| line.split(' ').next().unwrap_or_default());
    assert_eq!(
        checks.collect::<Vec<_>>(),
        ["slow-reader", "slow-reader", "empty-author"]
    );
}

#[test]
fn every_figure_is_there_whatever_the_width() {
    let speed = sample::report().speed.unwrap();
    for width in [None, Some(80), Some(200)] {
        let shown = plain(width);
        for measurement in &speed.measurements {
            for result in &measurement.results {
                match result {
                    PeerResult::Measured { metrics } => {
                        let median = number::number(metrics[0].median());
                        assert!(shown.contains(&median), "{median} at {width:?}");
                    }
                    PeerResult::Failed { why } => assert!(shown.contains(&why[..20])),
                    PeerResult::Absent => {}
                }
            }
        }
        assert!(shown.contains("27x less") && shown.contains("34x more"));
        assert_eq!(shown.matches("!!! WARNING: ").count(), 2);
    }
}

#[test]
fn lines_keep_to_the_width() {
    for line in plain(Some(80)).lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
