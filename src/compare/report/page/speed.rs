//! The measurements: figures, and the tables they are drawn from.

use std::fmt::Write as _;

use super::{head, id_of, scrolling};
use crate::compare::report::grid::{self, Cell};
use crate::compare::report::number::{self, Ratio, Verdict};
use crate::compare::report::plot::Spread;
use crate::compare::report::plot::bars::{Bar, Value, bars};
use crate::compare::report::plot::lines::{Line, lines};
use crate::compare::report::shown::{escape, html, line};
use crate::compare::report::{Measurement, Metric, PeerResult, Speed};

/// The metrics that are worth a figure; the tables have all.
const DRAWN: [Metric; 4] = [
    Metric::Throughput,
    Metric::ServerCpu,
    Metric::P50,
    Metric::P99,
];

pub fn id(measurement: &Measurement) -> String {
    id_of("speed", &measurement.name)
}

pub fn section(speed: &Speed) -> String {
    let warning = warning(speed);
    let mut out = format!(
        "<section id=\"speed\">\n<h2>Speed</h2>\n<p>{}</p>\n",
        html(&grid::method(speed))
    );
    if let (Some(first), true) = (speed.peers.first(), speed.peers.len() > 1) {
        let _ = writeln!(out, "<p>{}</p>", html(&number::convention(first)));
    }
    let _ = writeln!(
        out,
        "<p>{} A bar is a median, its whisker goes from the least to the greatest repetition.</p>",
        grid::ABSENT_MEANS
    );
    out += &warning;
    let mut over_readers = Some(over_readers(speed));
    for measurement in &speed.measurements {
        if grid::readers(measurement).is_some() {
            out += &over_readers.take().unwrap_or_default();
        }
        out += &one(speed, measurement);
    }
    out + &warning + "</section>\n"
}

/// Stands before and after the figures.
fn warning(speed: &Speed) -> String {
    let warning = speed.warning.as_ref();
    warning.map_or_else(String::new, |warning| {
        let warning = html(warning);
        format!("<p class=\"warning\" role=\"note\"><strong>Warning:</strong> {warning}</p>\n")
    })
}

fn one(speed: &Speed, measurement: &Measurement) -> String {
    let mut out = format!(
        "<section>\n<h3 id=\"{}\"><code>{}</code> {}</h3>\n",
        id(measurement),
        html(&measurement.name),
        html(&measurement.title)
    );
    let metrics = grid::metrics(measurement);
    let drawn = DRAWN.iter().filter(|metric| metrics.contains(metric));
    let figures = drawn.filter_map(|&metric| figure(speed, measurement, metric));
    let figures: String = figures.collect();
    if !figures.is_empty() {
        let _ = write!(out, "<div class=\"figures\">\n{figures}</div>\n");
    }
    if !metrics.is_empty() {
        out += &table(speed, measurement, &metrics);
    }
    for (peer, why) in grid::failures(speed, measurement) {
        let (peer, why) = (html(peer), html(why));
        let _ = writeln!(
            out,
            "<p class=\"failure\"><strong>{peer} fails:</strong> {why}</p>"
        );
    }
    out + "</section>\n"
}

fn figure(speed: &Speed, measurement: &Measurement, metric: Metric) -> Option<String> {
    let (mut shown, mut told) = (Vec::new(), Vec::new());
    for (peer, result) in grid::results(speed, measurement) {
        let name = line(peer);
        let samples = grid::samples(result, metric);
        let value = match (samples.and_then(Spread::of), result) {
            (Some(spread), _) => Value::Figure(spread),
            (None, PeerResult::Failed { why }) => Value::Word(grid::failure_word(why)),
            (None, _) => Value::Word(grid::ABSENT),
        };
        told.push(match (samples, &value) {
            (Some(samples), _) => format!("{name} {}", number::samples(samples)),
            (None, Value::Word(word)) => format!("{name} {word}"),
            (None, Value::Figure(_)) => name.clone(),
        });
        shown.push(Bar { name, value });
    }
    let unit = metric.unit(&line(&measurement.operation));
    let title = metric.title();
    let description = format!("{title}, {unit}: {}", told.join("; "));
    Some(format!(
        "<figure>\n<figcaption>{title} <span>({})</span></figcaption>\n{}</figure>\n",
        number::good(metric),
        bars(&description, &unit, &shown)?
    ))
}

/// Server CPU per delivery over the number of readers.
fn over_readers(speed: &Speed) -> String {
    let mut sizes: Vec<_> = speed
        .measurements
        .iter()
        .filter_map(|measurement| Some((grid::readers(measurement)?, measurement)))
        .collect();
    sizes.sort_by_key(|size| size.0);
    let all = (0..speed.peers.len()).map(|peer| one_line(speed, peer, &sizes));
    let all: Vec<_> = all
        .filter(|line| !line.points.is_empty() || line.fails.is_some())
        .collect();
    let Some((_, measurement)) = sizes.first() else {
        return String::new();
    };
    let unit = Metric::ServerCpu.unit(&line(&measurement.operation));
    let told: Vec<_> = all.iter().map(describe).collect();
    let description = format!("server CPU, {unit}, over readers: {}", told.join("; "));
    let Some(svg) = lines(&description, &format!("server CPU, {unit}"), &all) else {
        return String::new();
    };
    format!(
        "<h3>Fan-out: server CPU over readers</h3>\n<figure>\n<figcaption>server CPU, {} \
         <span>({}; a cross is where a peer fails)</span></figcaption>\n{}</figure>\n",
        escape(&unit),
        number::good(Metric::ServerCpu),
        scrolling("server CPU over readers", &svg),
    )
}

fn one_line(speed: &Speed, peer: usize, sizes: &[(u64, &Measurement)]) -> Line {
    let name = speed.peers.get(peer).map(|name| line(name));
    let mut found = Line {
        name: name.unwrap_or_default(),
        peer,
        points: Vec::new(),
        fails: None,
    };
    for &(readers, measurement) in sizes {
        match measurement.results.get(peer) {
            Some(PeerResult::Failed { why }) => {
                // What is measured beyond a failure would hide it.
                found.fails = Some((readers, grid::failure_word(why)));
                break;
            }
            Some(result) => {
                let samples = grid::samples(result, Metric::ServerCpu);
                let spread = samples.and_then(Spread::of);
                found.points.extend(spread.map(|spread| (readers, spread)));
            }
            None => {}
        }
    }
    found
}

fn describe(line: &Line) -> String {
    let points = line.points.iter();
    let mut told: Vec<_> = points
        .map(|(readers, spread)| format!("{} at {readers}", number::number(spread.median)))
        .collect();
    told.extend(
        line.fails
            .map(|(readers, word)| format!("{word} at {readers}")),
    );
    format!("{} {}", line.name, told.join(", "))
}

fn table(speed: &Speed, measurement: &Measurement, metrics: &[Metric]) -> String {
    let peers: String = speed.peers.iter().map(|peer| head(&html(peer))).collect();
    let mut out = format!(
        "<table class=\"figures\">\n\
         <thead><tr><th scope=\"col\">metric</th>{peers}</tr></thead>\n<tbody>\n"
    );
    for &metric in metrics {
        let cells = grid::row(speed, measurement, metric);
        let cells: String = cells.iter().map(cell).collect();
        let unit = metric.unit(&html(&measurement.operation));
        let (title, good) = (metric.title(), number::good(metric));
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{title}, {unit} <span>{good}</span></th>{cells}</tr>"
        );
    }
    out += "</tbody>\n</table>\n";
    scrolling(&html(&measurement.name), &out)
}

fn cell(cell: &Cell) -> String {
    let (median, range, ratio) = match cell {
        Cell::Absent => return format!("<td>{}</td>", grid::ABSENT),
        Cell::Fails => return "<td class=\"hangs\">fails</td>".into(),
        Cell::Figure {
            median,
            range,
            ratio,
        } => (median, range, ratio),
    };
    let mut out = format!("<td>{median}");
    if let Some(range) = range {
        let _ = write!(out, " <span>({range})</span>");
    }
    if let Some(Ratio { text, verdict }) = ratio {
        let (class, word) = match verdict {
            Verdict::Better => ("pass", ", better"),
            Verdict::Worse => ("differs", ", worse"),
            Verdict::Open => ("open", ""),
        };
        let _ = write!(out, "<div class=\"{class}\">{text}{word}</div>");
    }
    out + "</td>"
}
