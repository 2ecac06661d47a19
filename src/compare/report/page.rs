//! A report as one HTML page that needs nothing else: no script, no font, no
//! picture from elsewhere. The template is `page.html`, its style `page.css`.

use minijinja::{AutoEscape, Environment, Error, HtmlEscape, Value, context};

use super::view::{View, WORDS};
use crate::compare::differences;

/// All of the report.
///
/// # Errors
/// A mistake in the template; a test renders all of it.
pub fn page(view: &View) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_filter("code", code);
    let template = environment.template_from_str(include_str!("page.html"))?;
    let rows = view.tables.iter().flat_map(|table| &table.rows);
    let checks: Vec<_> = rows.map(|row| &row.name).collect();
    template.render(context! {
        view,
        words => WORDS,
        differences => differences::all(),
        checks,
        style => include_str!("page.css"),
    })
}

/// The Markdown of the differences, which is code between backticks.
fn code(text: &str) -> Value {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(at, part)| match at % 2 {
        0 => HtmlEscape(part).to_string(),
        _ => format!("<code>{}</code>", HtmlEscape(part)),
    });
    Value::from_safe_string(parts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::report::{PeerResult, Report, sample, words};

    fn shown(report: &Report) -> String {
        page(&View::of(report)).unwrap()
    }

    /// The content of all `name="..."`.
    fn values<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
        let attribute = format!(" {name}=\"");
        let parts = page.split(&attribute).skip(1);
        parts.filter_map(|part| part.split('"').next()).collect()
    }

    #[test]
    fn the_first_screen_is_the_answer() {
        let page = shown(&sample());
        let (first, _) = page.split_once("<section").unwrap();
        let python = View::of(&sample()).tables.remove(0).columns.remove(1);
        assert_eq!(python.counts, [2, 3, 1, 0, 0]);
        assert!(first.contains("<td class=\"differs\">3</td>"));
        // Of the figures that stand for all others, the sample has three.
        assert_eq!(first.matches("<svg ").count(), 3);
        for word in ["514,000", "hangs", "3.00", "<strong>Warning:</strong>"] {
            assert!(first.contains(word), "{word}");
        }
        assert!(first.contains("UNEXPLAINED: no difference names <a href=\"#check-slow-reader\">"));
    }

    #[test]
    fn what_differs_is_open_and_all_else_is_folded() {
        let (page, report) = (shown(&sample()), sample());
        for row in report.behaviour.iter().flat_map(|table| &table.rows) {
            let differs = !["one-order", "health", "send-and-flush"].contains(&&*row.name);
            let start = format!(
                "<details id=\"check-{}\"{}>",
                row.name,
                if differs { " open" } else { "" }
            );
            assert_eq!(page.matches(&start).count(), 1, "{start}");
        }
        assert!(page.contains("<details id=\"fanout-100\" open>"));
        assert!(page.contains("<details id=\"unary-16\">"));
    }

    #[test]
    fn links_lead_somewhere_and_ids_are_unique() {
        let page = shown(&sample());
        let mut ids = values(&page, "id");
        let links = values(&page, "href");
        assert!(links.contains(&"#check-forty-readers") && links.len() > 10);
        for link in links {
            assert!(ids.contains(&&link[1..]), "{link}");
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        let known = ids.iter().filter(|id| id.starts_with("difference-"));
        assert_eq!(known.count(), differences::rows().count());
    }

    #[test]
    fn every_figure_and_failure_is_there() {
        let (page, speed) = (shown(&sample()), sample().speed.unwrap());
        for result in speed.measurements.iter().flat_map(|m| &m.results) {
            match result {
                PeerResult::Measured { metrics } => {
                    for samples in metrics {
                        let median = words::number(samples.spread()[1]);
                        assert!(page.contains(&format!(">{median}</span>")), "{median}");
                    }
                }
                PeerResult::Failed { why } => {
                    let why = HtmlEscape(&words::line(why)).to_string();
                    assert!(page.contains(&why));
                }
                PeerResult::Absent => {}
            }
        }
        assert!(
            page.contains("\nPython: hangs at 100\n"),
            "in the plot over readers"
        );
    }

    #[test]
    fn nothing_from_outside_is_markup() {
        let page = shown(&sample());
        for bad in [
            "<script", "'x'", "\u{1b}", "\u{7}", "\u{9b}", "\u{202e}", " \"q\"",
        ] {
            assert!(!page.contains(bad), "{bad:?}");
        }
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let mut report = sample();
        report.behaviour.clear();
        report.speed = None;
        assert!(shown(&report).contains("id=\"difference-0\""));
    }
}
