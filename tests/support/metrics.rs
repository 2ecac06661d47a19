//! A scrape of a metrics port, parsed strictly: what a test does not expect is a panic.

use std::collections::{BTreeMap, BTreeSet};

use super::http::request;
use super::{SOON, eventually};

pub struct Scrape {
    pub text: String,
    /// `name{label="value",...}`, the labels in their order, and its value.
    series: BTreeMap<String, f64>,
    /// Of each family.
    pub kinds: BTreeMap<String, String>,
}

impl Scrape {
    pub fn of(port: u16) -> Self {
        let answer = request("GET", port, "/metrics", &[], "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        Self::parse(&answer.body)
    }

    fn parse(text: &str) -> Self {
        let (mut series, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a kind");
                let twice = kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(twice, None, "{name}");
            } else if !line.starts_with("# HELP ") {
                let (name, value) = line.rsplit_once(' ').expect("a value");
                let value = value.parse().unwrap_or_else(|e| panic!("{e} in {line}"));
                let twice = series.insert(name.to_owned(), value);
                assert_eq!(twice, None, "{name}");
            }
        }
        let text = text.to_owned();
        Self {
            text,
            series,
            kinds,
        }
    }

    /// The value of exactly this series.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// The names of all series, with their labels.
    pub fn series(&self) -> impl Iterator<Item = &String> {
        self.series.keys()
    }

    /// Whether there is a series of this name.
    pub fn has(&self, name: &str) -> bool {
        self.series
            .keys()
            .any(|it| it.split('{').next() == Some(name))
    }

    /// The names of the labels of a family.
    pub fn labels(&self, family: &str) -> BTreeSet<String> {
        let parts = ["", "_bucket", "_sum", "_count"].map(|part| format!("{family}{part}"));
        let mut labels = BTreeSet::new();
        for series in self.series.keys() {
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            if parts.iter().any(|part| part == name) {
                let fields = rest.split("\",").filter_map(|it| it.split_once("=\""));
                labels.extend(fields.map(|(label, _)| label.to_owned()));
            }
        }
        labels
    }

    /// The number of all series, without those that scrapes themselves make.
    pub fn len(&self) -> usize {
        let own = "service=\"metrics\"";
        self.series.keys().filter(|it| !it.contains(own)).count()
    }

    /// The sum of all series of this name with these labels, or parts of them.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let found = self.find(name, labels);
        found.unwrap_or_else(|| panic!("no {name} with {labels:?} in\n{}", self.text))
    }

    fn find(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let of = |series: &&String| {
            let rest = series.strip_prefix(name).unwrap_or("-");
            (rest.is_empty() || rest.starts_with('{')) && labels.iter().all(|it| rest.contains(it))
        };
        let found = self.series.keys().filter(of);
        let values = found.map(|series| self.series[series]);
        values.reduce(|sum, value| sum + value)
    }
}

/// Scrapes until such a sum has this value: some counts follow the answer.
pub fn wait_for(port: u16, name: &str, labels: &[&str], value: f64) {
    let mut last = None;
    eventually(SOON, &format!("{name} {labels:?} is {value}"), || {
        let now = Scrape::of(port).find(name, labels);
        if now != last {
            eprintln!("{name} {labels:?} is {now:?}, and is to be {value}");
        }
        last = now;
        now == Some(value)
    });
}
