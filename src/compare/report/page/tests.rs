use super::*;
use crate::compare::report::sample::{self, HOSTILE};
use crate::compare::report::{Metric, Outcome, PeerResult};

/// Checks that tags are closed in order, and gives the content of all `name="..."`.
fn walk(page: &str, name: &str) -> Vec<String> {
    let (mut open, mut values) = (Vec::new(), Vec::new());
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('\u{1b}'));
        let tag = &rest[start + 1..];
        let end = tag.find('>').unwrap();
        let (tag, after) = (&tag[..end], &tag[end + 1..]);
        // A quote that is not closed would make the number of quotes odd.
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        let word = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(word), "</{word}>");
        } else if !tag.ends_with('/') {
            open.push(word);
        }
        let attribute = format!(" {name}=\"");
        let value = tag
            .split_once(&attribute)
            .and_then(|(_, v)| v.split_once('"'));
        values.extend(value.map(|(value, _)| value.to_owned()));
        rest = after;
    }
    assert_eq!(open, Vec::<&str>::new());
    values
}

#[test]
fn tags_are_balanced_and_ids_unique() {
    let mut ids = walk(&page(&sample::report()), "id");
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn every_link_leads_to_something_on_the_page() {
    let page = page(&sample::report());
    let ids = walk(&page, "id");
    let links = walk(&page, "href");
    assert!(links.len() > 15);
    // A difference may link into the Web.
    for link in links.iter().filter(|link| !link.starts_with("https://")) {
        let target = link.strip_prefix('#').unwrap_or_default();
        assert!(ids.iter().any(|id| id == target), "{link}");
    }
    assert!(page.contains("<strong>unexplained</strong>"));
}

#[test]
fn every_difference_is_there_once() {
    let page = page(&sample::report());
    for row in differences::rows() {
        let start = format!("<tr id=\"{}\">", anchor(row));
        assert_eq!(page.matches(&start).count(), 1, "{}", row.name);
    }
}

#[test]
fn nothing_from_outside_is_markup() {
    let mut report = sample::report();
    report.machine.cpu = HOSTILE.into();
    report.machine.versions[0] = (HOSTILE.into(), HOSTILE.into());
    report.date = HOSTILE.into();
    let table = &mut report.behaviour[0];
    table.title = HOSTILE.into();
    table.columns[3] = HOSTILE.into();
    table.rows[0].name = HOSTILE.into();
    table.rows[0].title = HOSTILE.into();
    table.rows[0].expected = HOSTILE.into();
    table.rows[0].difference = Some(HOSTILE.into());
    table.rows[0].outcomes[3] = Outcome::Dies {
        how: HOSTILE.into(),
    };
    let speed = report.speed.as_mut().unwrap();
    speed.peers[4] = HOSTILE.into();
    speed.warning = Some(HOSTILE.into());
    let measurement = &mut speed.measurements[0];
    measurement.name = HOSTILE.into();
    measurement.title = HOSTILE.into();
    measurement.operation = HOSTILE.into();
    measurement.results[4] = PeerResult::Failed {
        why: HOSTILE.into(),
    };
    speed.measurements[1].results[4] = measured_cpu();
    speed.measurements[2].results[4] = measured_cpu();

    let page = page(&report);
    walk(&page, "id");
    for bad in [
        "<script",
        "alert('x')",
        "\u{1b}",
        "\u{7}",
        "\u{9b}",
        " \"quoted\"",
    ] {
        assert!(!page.contains(bad), "{bad:?}");
    }
}

/// So that the hostile peer has a line too.
fn measured_cpu() -> PeerResult {
    PeerResult::Measured {
        metrics: vec![crate::compare::report::Samples {
            metric: Metric::ServerCpu,
            values: vec![1.0],
        }],
    }
}

#[test]
fn every_peer_every_figure_and_every_failure_is_there() {
    let report = sample::report();
    let page = page(&report);
    let speed = report.speed.unwrap();
    for peer in &speed.peers {
        assert!(page.contains(&format!("<th scope=\"col\">{peer}</th>")));
    }
    for result in speed.measurements.iter().flat_map(|m| &m.results) {
        match result {
            PeerResult::Measured { metrics } => {
                let median = number::number(metrics[0].median());
                assert!(page.contains(&format!("<td>{median} ")), "{median}");
            }
            PeerResult::Failed { why } => assert!(page.contains(&html(why))),
            PeerResult::Absent => {}
        }
    }
    assert_eq!(page.matches("<strong>Warning:</strong>").count(), 2);
}

#[test]
fn figures_are_drawn_and_named() {
    let page = page(&sample::report());
    let descriptions = walk(&page, "aria-label");
    // Five measurements with four figures each, and the lines.
    assert_eq!(page.matches("<svg role=\"img\" aria-label=\"").count(), 21);
    assert_eq!(page.matches("<svg ").count(), 21);
    let over_readers = descriptions
        .iter()
        .find(|d| d.contains("over readers: "))
        .unwrap();
    assert!(over_readers.contains("Python 910 at 1, 134 at 10, hangs at 100"));
    assert!(page.contains("logarithmic scale"));
    assert!(page.contains(">\nPython hangs\n</text>"));
}

#[test]
fn an_empty_report_is_a_page_too() {
    let mut report = sample::report();
    report.behaviour.clear();
    report.speed = None;
    walk(&page(&report), "id");
    let mut report = sample::report();
    let speed = report.speed.as_mut().unwrap();
    speed.peers.clear();
    speed.measurements.truncate(1);
    speed.measurements[0].results.clear();
    walk(&page(&report), "id");
}
