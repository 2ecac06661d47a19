//! What is told: each difference when it is seen, and a summary at the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::sequence::Found;
use crate::compare::differences;
use crate::latency::Latencies;

/// The most of an answer that is shown, and that is in a line of JSON, in characters.
const SHOWN: usize = 300;
const WRITTEN: usize = 16 * 1024;

/// Where it is told.
#[derive(Default)]
pub struct Report {
    /// As lines of JSON.
    pub json: bool,
    /// Each known difference, and not only the first of its row.
    pub all: bool,
    /// Lines of JSON, too.
    pub file: Option<File>,
    /// How often, by the name of a row and by what is in none.
    pub counts: BTreeMap<(bool, String), u64>,
}

impl Report {
    /// What the left and the right side have there.
    pub fn differs(&mut self, at: &str, what: &str, sides: [String; 2]) {
        let known = differences::of_live(at, what, &sides).map(|row| &*row.name);
        let name = known.map_or_else(|| format!("{at}: {what}"), str::to_owned);
        let count = self.counts.entry((known.is_none(), name)).or_default();
        *count += 1;
        let shown = *count == 1 || known.is_none() || self.all;
        let [left, right] = sides.each_ref().map(|text| cut(text, WRITTEN));
        self.write(
            json!({"difference": what, "at": at, "known": known, "left": left, "right": right}),
        );
        if shown && !self.json {
            let [left, right] = [left, right].map(|text| cut(&text, SHOWN));
            let time = Utc::now().format("%H:%M:%S%.3f");
            let known = known.map_or_else(|| "NEW".into(), |row| format!("known: {row}"));
            print(&format!(
                "{time}  {at}: {what}  [{known}]\n  left   {left}\n  right  {right}"
            ));
        }
    }

    pub fn found(&mut self, at: &str, found: Found) {
        found
            .into_iter()
            .for_each(|(what, sides)| self.differs(at, what, sides));
    }

    pub fn note(&mut self, text: &str) {
        self.write(json!({"note": text}));
        if !self.json {
            print(text);
        }
    }

    pub fn summary(&mut self, compared: u64, uncompared: u64, latencies: &[Latencies; 2]) {
        let quantiles = latencies.each_ref().map(|of| {
            let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| of.quantile_us(part).round());
            json!({"p50": p50, "p99": p99, "max": max})
        });
        let rows = self
            .counts
            .iter()
            .map(|((new, name), count)| json!({"new": new, "name": name, "count": count}));
        let rows: Vec<_> = rows.collect();
        let [left, right] = &quantiles;
        let mut text = format!("\ncompared     {compared}\nnot compared {uncompared}\n");
        for (name, of) in [("left", left), ("right", right)] {
            let [p50, p99, max] = ["p50", "p99", "max"].map(|name| &of[name]);
            text += &format!("{name:<12} p50 {p50} us, p99 {p99} us, max {max} us\n");
        }
        text += &format!("differences  {}", self.counts.values().sum::<u64>());
        for ((new, name), count) in &self.counts {
            let kind = if *new { "NEW" } else { "known" };
            text += &format!("\n{count:>10} x {kind:<5}  {name}");
        }
        self.write(json!({"summary": {
            "compared": compared, "not_compared": uncompared, "differences": rows,
            "latency_us": {"left": left, "right": right},
        }}));
        if !self.json {
            print(&text);
        }
    }

    fn write(&mut self, mut line: Value) {
        line["time"] = Utc::now()
            .to_rfc3339_opts(SecondsFormat::Millis, true)
            .into();
        if self.json {
            print(&line.to_string());
        }
        let written = self.file.as_mut().map(|file| writeln!(file, "{line}"));
        if let Some(Err(error)) = written {
            tracing::error!(%error, "cannot write the report: no more of it is written");
            self.file = None;
        }
    }
}

/// As the standard library's, which panics when nobody reads any more.
fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// In one line, and not too long.
fn cut(text: &str, most: usize) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let cut: String = line.take(most).collect();
    match cut.len() < text.len() {
        true => format!("{cut}... ({} bytes)", text.len()),
        false => cut,
    }
}
