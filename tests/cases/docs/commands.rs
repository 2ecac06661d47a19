//! Every command in a block marked `sh` is run as it stands, or read by the command
//! line's parser, or on the list of those that cannot be run here, with the reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::CommandFactory as _;
use messenger::cli::Cli;
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use serde_json::Value;

use super::super::layout::root;
use super::{Page, pages};
use crate::support::SOON;
use crate::support::process::{Process, command};
use crate::support::programs::{Log, Program, messenger};

/// How a command is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Against a demo on free ports. It has to exit with 0.
    Run,
    /// `messenger` that runs without end, or that needs what is not here: its
    /// arguments are parsed. (Those of commands that are run are, too.)
    Parse,
    /// A target of the Makefile has to have this name.
    Make,
    /// Compose file and services have to be there. There is no engine here.
    Compose,
    /// Not at all, because of this.
    Not(&'static str),
}

/// By how a command begins; the longest one counts.
const WAYS: &[(&str, Way)] = &[
    ("curl", Way::Run),
    ("make", Way::Make),
    ("docker compose", Way::Compose),
    (
        "gdb",
        Way::Not("stops a process and waits for somebody to type"),
    ),
    ("grpcurl", Way::Not("no test installs it")),
    ("jq", Way::Not("no test installs it")),
    ("docker/install.sh", Way::Not("installs packages")),
    ("cargo", Way::Not("a build within the tests of that build")),
    ("find", Way::Run),
    (
        "systemd-analyze",
        Way::Not("a test of its own does, where there is one"),
    ),
    ("messenger bench", Way::Parse),
    ("messenger call", Way::Run),
    ("messenger client", Way::Parse),
    ("messenger compare", Way::Parse),
    ("messenger compare --list", Way::Run),
    ("messenger demo", Way::Parse),
    (
        "messenger demo --once",
        Way::Not("a test of its own does, with a suite"),
    ),
    ("messenger healthcheck", Way::Run),
    ("messenger help", Way::Run),
    ("messenger history load", Way::Run),
    ("messenger history serve", Way::Parse),
    ("messenger jobs dead", Way::Run),
    ("messenger jobs list", Way::Run),
    ("messenger jobs send", Way::Run),
    ("messenger jobs work", Way::Parse),
    ("messenger send", Way::Run),
    ("messenger server", Way::Parse),
    ("messenger shadow", Way::Parse),
    ("messenger tail", Way::Parse),
    ("messenger tail --count", Way::Run),
    ("messenger ticker", Way::Run),
    ("messenger ticker --follow", Way::Parse),
    ("messenger todo", Way::Parse),
    ("messenger todo add", Way::Run),
    ("messenger todo done", Way::Run),
    ("messenger todo list", Way::Run),
    ("messenger token", Way::Parse),
    ("messenger web", Way::Parse),
];

/// A line of a block, and the answer that is shown below it as a comment.
#[derive(Debug)]
struct Line {
    text: String,
    answer: Option<Value>,
}

/// The blocks of shell commands of a page.
fn blocks(page: &Page) -> Vec<Vec<Line>> {
    let mut blocks = Vec::new();
    let mut open = None;
    for event in Parser::new(&page.text) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) if &*language == "sh" => {
                open = Some(String::new());
            }
            Event::Text(text) => open.iter_mut().for_each(|block| block.push_str(&text)),
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            _ => {}
        }
    }
    blocks.iter().map(|block| lines(block)).collect()
}

fn lines(block: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for text in block.replace("\\\n", " ").lines() {
        match text.trim().strip_prefix('#') {
            // Of several lines below a command, the first is its answer.
            Some(comment) => {
                if let Some(line) = lines.last_mut().filter(|line| line.answer.is_none()) {
                    line.answer = serde_json::from_str(comment).ok();
                }
            }
            None if text.trim().is_empty() => {}
            None => lines.push(Line {
                text: text.replace("target/release/messenger", "messenger"),
                answer: None,
            }),
        }
    }
    lines
}

impl Line {
    /// The words up to the first pipe, without variables, redirections and `&`.
    fn words(&self) -> Vec<String> {
        let words = shlex::split(&self.text).unwrap_or_else(|| panic!("quotes in {}", self.text));
        let words = words.into_iter().take_while(|word| word != "|");
        let variable = |word: &String| {
            let name = word.split('=').next().unwrap_or_default();
            word.contains('=') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        let words = words.skip_while(variable);
        words
            .filter(|word| word != "&" && !word.starts_with(['<', '>']))
            .collect()
    }

    fn way(&self) -> Option<Way> {
        let words = self.words();
        let begins = |start: &str| start.split(' ').zip(&words).all(|(a, b)| a == b);
        let fits = WAYS
            .iter()
            .filter(|(start, _)| start.split(' ').count() <= words.len() && begins(start));
        fits.max_by_key(|(start, _)| start.len())
            .map(|(_, way)| *way)
    }

    fn is_in_background(&self) -> bool {
        shlex::split(&self.text).is_some_and(|words| words.last().is_some_and(|word| word == "&"))
    }
}

/// What is wrong with a line that is not run.
fn wrong(line: &Line) -> Option<String> {
    let words = line.words();
    match line.way()? {
        Way::Run | Way::Parse if words[0] == "messenger" => {
            let parsed = Cli::command().try_get_matches_from(&words);
            let error = parsed.err().filter(clap::Error::use_stderr)?;
            Some(error.to_string())
        }
        Way::Run | Way::Parse | Way::Not(_) => None,
        Way::Make => {
            let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
            let mut targets = words[1..].iter().filter(|word| !word.contains('='));
            let lacks = |target: &&String| !makefile.contains(&format!("\n{target}:"));
            targets
                .find(lacks)
                .map(|target| format!("no target {target}"))
        }
        Way::Compose => {
            let at = words.iter().position(|word| word == "-f")?;
            let Ok(file) = fs::read_to_string(root().join(&words[at + 1])) else {
                return Some(format!("no {}", words[at + 1]));
            };
            let mut services = words[at + 3..].iter().filter(|word| !word.starts_with('-'));
            // What follows the service of `run` and `exec` are its arguments.
            let count = if ["run", "exec"].contains(&&*words[at + 2]) {
                1
            } else {
                usize::MAX
            };
            let lacks = |name: &&String| {
                let services = ["\n", " &"].map(|rest| format!("\n  {name}:{rest}"));
                !services.iter().any(|service| file.contains(service))
            };
            let lacks = services.by_ref().take(count).find(lacks);
            lacks.map(|name| format!("no service {name}"))
        }
    }
}

/// `messenger::a::b::Type::function`: whether `src/a/b.rs` or a file above it
/// has such a function.
fn is_in_the_source(path: &str) -> bool {
    let parts: Vec<_> = path.split("::").skip(1).collect();
    let [modules @ .., owner, function] = &*parts else {
        return false;
    };
    let file = root().join("src").join(modules.join("/"));
    let source = fs::read_to_string(file.with_extension("rs"));
    let source = source.or_else(|_| fs::read_to_string(file.join("mod.rs")));
    source.is_ok_and(|source| source.contains(&format!("fn {function}(")) && source.contains(owner))
}

#[test]
fn every_command_is_one_that_can_be_given() {
    let mut wrong_ones = Vec::new();
    let mut ways: BTreeMap<String, usize> = BTreeMap::new();
    for page in pages() {
        for line in blocks(&page).into_iter().flatten() {
            let way = line.way();
            *ways.entry(format!("{way:?}")).or_default() += 1;
            let mut complain = |what: String| {
                wrong_ones.push(format!("{}: {}\n  {what}", page.name(), line.text));
            };
            if way.is_none() {
                complain("no row in WAYS says how to try this".into());
            }
            if let Some(what) = wrong(&line) {
                complain(what);
            }
            for word in line.text.split([' ', '\'']) {
                if word.starts_with("messenger::") && !is_in_the_source(word) {
                    complain(format!("{word} is not in the source"));
                }
            }
        }
    }
    assert!(wrong_ones.is_empty(), "{}", wrong_ones.join("\n"));
    assert!(
        ways["Some(Run)"] >= 10 && ways["Some(Parse)"] >= 10,
        "{ways:?}"
    );
}

#[test]
fn a_wrong_command_would_be_seen() {
    let seen = |text: &str| {
        let line = lines(text).remove(0);
        line.way().is_none() || wrong(&line).is_some()
    };
    for text in [
        "messenger server --prot 1",
        "A=b target/release/messenger nothing",
        "messenger todo add",
        "make nothing",
        "docker compose -f docker/compose.yaml up nobody",
        "docker compose -f docker/nothing.yaml up",
        "rm -rf /",
    ] {
        assert!(seen(text), "{text}");
    }
    for text in [
        "messenger server --port 1 &   # a comment",
        "DATABASE_URL=a messenger jobs list --json | jq .",
        "messenger ticker A </dev/null",
        "make compare ARGS=\"--peer a\"",
        "docker compose -f docker/compose.yaml run --rm producer fact:1",
    ] {
        assert!(!seen(text), "{text}");
    }
    assert!(!is_in_the_source("messenger::cli::Cli::walk"));
    assert!(is_in_the_source("messenger::cli::Cli::run"));
}

/// What the pages expect to run: the demo, and a second replica of its log.
struct World {
    /// What stands in the text, and where it is here.
    places: Vec<(String, String)>,
    server: String,
    /// Of server and bridge.
    ports: (String, String),
    folder: tempfile::TempDir,
    _demo: Process,
    _replica: Program,
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_string_lossy().into_owned();
        // Fail where the server refuses, and say nothing else.
        fs::write(
            folder.path().join(".curlrc"),
            "fail-with-body\nsilent\nshow-error\n",
        )
        .unwrap();
        let flags = [
            "--port",
            "--also-port",
            "--http-port",
            "--web-port",
            "--history-port",
        ];
        let ports = flags.map(|flag| [flag, "0"]).concat();
        let demo = messenger(&[&["demo", "--data-dir", &data], ports.as_slice()].concat());
        let mut said = Vec::new();
        while !said
            .last()
            .is_some_and(|line: &String| line.contains("Ctrl-C"))
        {
            said.push(demo.line(SOON).unwrap());
        }
        let address = |start: &str| {
            let after = said
                .iter()
                .find_map(|line| line.strip_prefix(start))
                .unwrap();
            let first = after.split_whitespace().next().unwrap();
            first.trim_start_matches("http://").to_owned()
        };
        let replica = Log::listening(Log::spawn(&["--data-dir", &data], &[]));
        let server = address("gRPC server");
        let places = [
            ("localhost:8070", address("message log")),
            ("localhost:8071", replica.address()),
            ("localhost:8080", address("bridge")),
            ("localhost:8090", address("web console")),
            ("localhost:51075", server.clone()),
            ("localhost:50051", server.clone()),
        ];
        let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
        let ports = (port(&server), port(&places[2].1));
        Self {
            places: places.map(|(text, here)| (text.to_owned(), here)).to_vec(),
            server,
            ports,
            folder,
            _demo: demo,
            _replica: replica,
        }
    }

    /// The line in a shell, with the defaults of `messenger` led to the demo.
    fn shell(&self, line: &Line) -> Command {
        let text = match line.is_in_background() {
            true => line
                .text
                .rsplit_once('&')
                .map_or("", |(command, _)| command),
            false => &line.text,
        };
        let text = self
            .places
            .iter()
            .fold(text.to_owned(), |text, (there, here)| {
                text.replace(there, here)
            });
        let program = Path::new(env!("CARGO_BIN_EXE_messenger"));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = command("sh");
        shell.args(["-c", &text]);
        shell.env(
            "PATH",
            format!("{}:{path}", program.parent().unwrap().display()),
        );
        shell.env("CURL_HOME", self.folder.path());
        shell.env("MESSENGER_SERVER_ADDR", &self.server);
        shell.env("MESSENGER_SERVER_PORT", &self.ports.0);
        shell.env("MESSENGER_HTTP_PORT", &self.ports.1);
        shell.env("MESSENGER_DATA_DIR", self.folder.path());
        shell.env(
            "MESSENGER_HISTORY_URLS",
            format!("http://{}", self.places[0].1),
        );
        shell
    }

    /// What came of the lines of a block, in their order, as somebody would give
    /// them: one after the other, those in the background once they are ready.
    fn run(&self, block: &[Line]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut background = Vec::new();
        for line in block.iter().filter(|line| line.way() == Some(Way::Run)) {
            let mut process = Process::spawn(self.shell(line));
            if line.is_in_background() {
                process.wait_for_log(SOON, "subscribed to");
                background.push((line, process));
                continue;
            }
            let said = process.lines(Duration::from_secs(60)).join("\n");
            let answer: Option<Value> = serde_json::from_str(&said).ok();
            if process.wait_exit(SOON) != 0 {
                wrong.push(format!("{}: {said}{}", line.text, process.log()));
            } else if let Some(expected) = &line.answer
                && answer
                    .as_ref()
                    .is_none_or(|answer| !same_shape(expected, answer))
            {
                wrong.push(format!("{}: {said} is not like {expected}", line.text));
            }
        }
        for (line, mut process) in background {
            if process.wait_exit(SOON) != 0 {
                wrong.push(format!("{}: {}", line.text, process.log()));
            }
        }
        wrong
    }
}

/// The same keys and types; of a list, of the last element.
fn same_shape(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let shape = |(key, value)| b.get(key).is_some_and(|other| same_shape(value, other));
            a.len() == b.len() && a.iter().all(shape)
        }
        (Value::Array(a), Value::Array(b)) => match (a.last(), b.last()) {
            (Some(a), Some(b)) => same_shape(a, b),
            (a, b) => a.is_none() && b.is_none(),
        },
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

#[test]
fn commands_that_can_be_run_here_do_what_the_text_says() {
    let world = World::start();
    let mut wrong = Vec::new();
    for page in pages() {
        for block in blocks(&page) {
            let found = world.run(&block);
            wrong.extend(found.iter().map(|what| format!("{}: {what}", page.name())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn shapes_of_answers_are_told_apart() {
    let same = |a: &str, b: &str| {
        let [a, b] = [a, b].map(|text| serde_json::from_str(text).unwrap());
        same_shape(&a, &b)
    };
    assert!(same(r#"[{"a": 1}]"#, r#"[{"a": 2}, {"a": 3}]"#));
    assert!(!same(r#"[{"a": 1}]"#, "[]"));
    assert!(!same(r#"{"a": 1}"#, r#"{"a": "1"}"#));
    assert!(!same(r#"{"a": 1}"#, r#"{"a": 1, "b": 1}"#));
}
