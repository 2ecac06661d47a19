//! `messenger bench`: one file for each measurement, with its flags, how it is made
//! unless the comparison makes it too (`compare::load`), and the rows that come of it.

mod baseline;
mod fanout;
mod history;
mod jobs;
mod publish;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::Error;
use crate::compare::load::process::{Program, Ready, messenger};

/// Measure speed and cost on this machine
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Fanout(fanout::Args),
    #[command(name = "floor-server")]
    BaselineServer(baseline::Args),
    History(history::Args),
    Jobs(jobs::Args),
    Publish(publish::Args),
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.what {
            What::Fanout(args) => args.run(),
            What::BaselineServer(args) => args.run(),
            What::History(args) => args.run(),
            What::Jobs(args) => args.run(),
            What::Publish(args) => args.run(),
        }
    }
}

/// How results are printed.
#[derive(clap::Args, Debug)]
struct Output {
    /// Print JSON instead of the table
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
}

/// A column of the table: title, name in the rows, unit (as so many of that in the
/// rows), and digits behind the point.
type Column = (&'static str, &'static str, f64, usize);

impl Output {
    /// Prints the rows, which are objects. Texts are on the left, numbers on the
    /// right, and what is not known is a dash.
    fn rows(&self, rows: Vec<Value>, columns: &[Column]) -> Result<(), Error> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(&rows)?);
            return Ok(());
        }
        let mut table = Table::new();
        let titles = columns.iter().map(|column| column.0);
        table.load_style(presets::NOTHING).set_header(titles);
        for row in &rows {
            table.add_row(columns.iter().map(|&(_, name, unit, digits)| {
                let number = row[name].as_f64();
                let number = number.map(|number| format!("{:.digits$}", number / unit));
                let text = row[name].as_str().unwrap_or("-");
                number.unwrap_or_else(|| text.to_owned())
            }));
        }
        for (column, (_, name, ..)) in table.column_iter_mut().zip(columns) {
            if !rows.iter().any(|row| row[name].is_string()) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        println!("{table}");
        Ok(())
    }
}

/// Starts this very program as a server, with these arguments too.
fn server(extra: &[String]) -> Result<Program, Error> {
    let this = std::env::current_exe()?;
    let mut server = messenger(&this, &["server", "--host", "127.0.0.1", "--port", "0"]);
    server.args(extra);
    Ok(Program::start(server, &Ready::Line)?)
}
