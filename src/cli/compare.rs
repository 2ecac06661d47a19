//! `messenger compare`

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use comfy_table::{Table, presets};
use etcetera::BaseStrategy as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Error, duration};
use crate::compare::peer::Peer;
use crate::compare::prepare::{Options, prepare};
use crate::compare::report::Report;
use crate::compare::report::page::page;
use crate::compare::report::text::text;
use crate::compare::report::view::View;
use crate::compare::{behaviour, machine, speed};

/// Compare behaviour and speed of this chat with other implementations
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Also measure secured, our server with TLS and tokens on; tonic, a server on tokio
    /// and tonic (needs cargo); or floor, a baseline server on the C core without our
    /// stream threads; may be repeated
    #[arg(
        long,
        env = "MESSENGER_COMPARE_PEER",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(["secured", "tonic", "floor"]).map(|name| other(&name))
    )]
    peer: Vec<Peer>,
    /// Also compare this running chat server; if it is repeated, they have to be one chat:
    /// what is sent at each comes in one order and with one time at all of them, and
    /// everything else is looked at at the first
    #[arg(
        long,
        env = "MESSENGER_COMPARE_SERVER",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    server: Vec<String>,
    /// Also compare this running bridge, in front of --server if that is given
    #[arg(long, env = "MESSENGER_COMPARE_BRIDGE", value_name = "HOST:PORT")]
    bridge: Option<String>,
    /// Run only this part
    #[arg(long, env = "MESSENGER_COMPARE_PART", value_name = "PART")]
    part: Option<Part>,
    /// Only these checks and measurements, by name; --list shows them
    #[arg(
        long,
        env = "MESSENGER_COMPARE_ONLY",
        value_name = "NAME",
        value_delimiter = ','
    )]
    only: Vec<String>,
    /// List all checks and measurements, and exit
    #[arg(long, env = "MESSENGER_COMPARE_LIST")]
    list: bool,
    /// Repetitions of each measurement
    #[arg(long, env = "MESSENGER_COMPARE_REPETITIONS", default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    repetitions: u16,
    /// Duration of each repetition
    #[arg(long, env = "MESSENGER_COMPARE_TIME", default_value = "1s", value_name = "TIME", value_parser = duration::parse)]
    time: Duration,
    /// Length of the text, 16 to 16000
    #[arg(long, env = "MESSENGER_COMPARE_TEXT_BYTES", default_value_t = 100, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(16..=16_000))]
    text_bytes: u16,
    /// Folder for report.json and index.html
    #[arg(
        long,
        env = "MESSENGER_COMPARE_OUT",
        default_value = "comparison",
        value_name = "FOLDER"
    )]
    out: PathBuf,
    #[command(flatten)]
    python: Python,
    /// Print the report as JSON instead of text
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
}

/// Where the Python programs run.
#[derive(clap::Args, Debug)]
pub struct Python {
    /// Folder for the Python environment and other programs that are built
    #[arg(
        long,
        env = "MESSENGER_COMPARE_WORK",
        default_value_os_t = cache(),
        value_name = "FOLDER"
    )]
    pub work: PathBuf,
    /// A Python interpreter that has the packages and stubs already
    #[arg(long, env = "MESSENGER_COMPARE_PYTHON", value_name = "PROGRAM")]
    pub python: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  messenger compare                                  Rust and Python, behaviour and speed
  messenger compare --part behaviour --server localhost:50051 --bridge localhost:8000
  messenger compare --only order --server a:51075 --server b:51075    one chat over both?
  messenger compare --peer tonic,floor --only fanout-100,fanout-1000 --repetitions 9
  messenger compare --only unary-64,fanout-300 --time 5s    any numbers
  messenger compare --list";

fn other(name: &str) -> Peer {
    match name {
        "secured" => Peer::Secured,
        "tonic" => Peer::Tonic,
        _ => Peer::Baseline,
    }
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Behaviour,
    Speed,
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        if self.list {
            println!("{}", list());
            return Ok(());
        }
        let (checks, kinds) = self.chosen()?;
        let toolbox = prepare(&Options {
            folder: self.python.work.clone(),
            python: self.python.python.clone(),
            tonic: self.peer.contains(&Peer::Tonic),
        })?;
        let date = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let servers = self.servers(true);
        let machine = machine::machine(&toolbox, &servers);
        // Drawn on standard error, and only if that is a terminal.
        let bar = ProgressBar::new(1);
        let style = "{wide_bar} {pos}/{len} {elapsed} {msg}";
        bar.set_style(ProgressStyle::with_template(style)?);
        bar.enable_steady_tick(Duration::from_millis(200));
        let progress = |done: usize, all: usize, what: &str| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
            bar.set_message(what.to_owned());
        };
        let behaviour = checks.map(|only| {
            let plan = behaviour::Plan {
                toolbox: toolbox.clone(),
                servers: self.servers(false),
                bridges: self.bridges(),
                only,
            };
            behaviour::run(&plan, &progress)
        });
        let behaviour = behaviour.transpose()?.unwrap_or_default();
        let plan = speed::Plan {
            servers,
            bridges: self.bridges(),
            toolbox,
            kinds,
            repetitions: usize::from(self.repetitions),
            time: self.time,
            text_bytes: usize::from(self.text_bytes),
        };
        let speed = (!plan.kinds.is_empty()).then(|| speed::run(&plan, &progress));
        bar.finish_and_clear();
        self.publish(&Report {
            date,
            machine,
            behaviour,
            speed,
        })
    }

    /// Names of checks, `None` for no behaviour at all, and measurements.
    fn chosen(&self) -> Result<(Option<Vec<String>>, Vec<speed::Kind>), Error> {
        let (mut checks, mut kinds) = (Vec::new(), Vec::new());
        let known = behaviour::names();
        for name in &self.only {
            if known.iter().any(|(known, _)| known == name) {
                checks.push(name.clone());
            } else {
                kinds.push(name.parse().map_err(|_| {
                    format!(
                        "--only {name}: there is no such check or measurement; --list shows all"
                    )
                })?);
            }
        }
        if self.only.is_empty() {
            kinds = speed::defaults();
        }
        let wanted = self.only.is_empty() || !checks.is_empty();
        Ok(match self.part {
            Some(Part::Speed) => (None, kinds),
            Some(Part::Behaviour) => (wanted.then_some(checks), Vec::new()),
            None => (wanted.then_some(checks), kinds),
        })
    }

    /// `fast` for those too that have no limits and no promises to check.
    fn servers(&self, fast: bool) -> Vec<Peer> {
        let mut servers = vec![Peer::Ours, Peer::Python];
        for peer in [Peer::Secured, Peer::Tonic, Peer::Baseline] {
            if fast && self.peer.contains(&peer) {
                servers.push(peer);
            }
        }
        if !self.server.is_empty() {
            servers.push(Peer::Foreign(self.server.join(",")));
        }
        servers
    }

    fn bridges(&self) -> Vec<Peer> {
        let mut bridges = vec![Peer::Ours, Peer::Python];
        bridges.extend(self.bridge.clone().map(Peer::Foreign));
        bridges
    }

    fn publish(&self, report: &Report) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(report)?;
        let write = |name: &str, content: &str| {
            let path = self.out.join(name);
            fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))
        };
        fs::create_dir_all(&self.out).map_err(|e| format!("{}: {e}", self.out.display()))?;
        write("report.json", &json)?;
        let view = View::of(report);
        write("index.html", &page(&view)?)?;
        if self.json {
            println!("{json}");
            return Ok(());
        }
        // A table has a width if standard output is a terminal.
        println!("{}", text(&view, Table::new().width()));
        println!("Report: {}", self.out.join("index.html").display());
        Ok(())
    }
}

/// This user's own folder for what can be made again.
fn cache() -> PathBuf {
    let folders = etcetera::base_strategy::Xdg::new();
    let cache = folders
        .map(|folders| folders.cache_dir())
        .unwrap_or_default();
    cache.join("messenger")
}

fn list() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["name", "what it looks at"]);
    for (name, title) in behaviour::names() {
        table.add_row([name, title]);
    }
    for kind in speed::defaults() {
        table.add_row([kind.name(), kind.title()]);
    }
    table
}
