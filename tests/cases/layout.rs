//! The shape of the source: who may name whom.

mod circles;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What everyone may name: small modules that know no other.
const LEAVES: &[&str] = &[
    "access_log",
    "budget",
    "error",
    "readiness",
    "status",
    "reload",
    "retry",
    "json",
    "key",
    "latency",
    "metrics",
    "number",
    "sync",
    "throttle",
    "tls",
    "trace",
];

/// What a module may name, besides what is below itself and, unless it is one of
/// the rules, besides its own room. The longest name that fits counts.
const ARROWS: &[(&str, &[&str])] = &[
    ("access_log", &["key"]),
    ("budget", &[]),
    ("error", &[]),
    ("reload", &["retry", "sync"]),
    ("readiness", &["sync"]),
    ("retry", &[]),
    ("tls", &["reload"]),
    ("latency", &[]),
    ("metrics", &["budget", "sync"]),
    ("number", &[]),
    ("throttle", &["sync"]),
    ("trace", &["retry", "sync"]),
    ("generated", &[]),
    ("json", &["error"]),
    ("key", &["error"]),
    ("status", &["error"]),
    ("sync", &[]),
    ("access", &["LEAVES"]),
    ("access::gate", &["OWN", "http", "LEAVES"]),
    ("fanout", &["error", "sync"]),
    (
        "http",
        &[
            "access_log",
            "budget",
            "key",
            "metrics",
            "readiness",
            "reload",
            "retry",
            "sync",
            "tls",
            "trace",
        ],
    ),
    ("db", &["LEAVES"]),
    ("db::log::entry", &[]),
    ("grpc", &["access", "fanout", "LEAVES"]),
    ("grpc::health::wire", &["generated", "grpc"]),
    ("grpc::reflection::wire", &["generated", "grpc", "LEAVES"]),
    ("grpc::subscription", &["generated", "grpc"]),
    // The services. None knows another one.
    ("chat", SERVICE),
    ("todo", SERVICE),
    ("ticker", SERVICE),
    ("jobs", SERVICE),
    ("history", SERVICE),
    ("chat::wire", WIRE),
    ("todo::wire", WIRE),
    ("ticker::wire", WIRE),
    ("jobs::wire", WIRE),
    ("history::wire", WIRE),
    // Their rules.
    ("chat::message", RULES),
    (
        "chat::bridge::postbox",
        &["fanout", "sync", "chat::message"],
    ),
    ("todo::list", RULES),
    ("ticker::market", RULES),
    ("ticker::watchlist", &["fanout", "error", "ticker::market"]),
    ("jobs::job", RULES),
    ("jobs::task", RULES),
    ("history::entry", &["fanout", "error", "db::log::entry"]),
    (
        "console",
        &[
            "access",
            "grpc",
            "http",
            "fanout",
            "LEAVES",
            "chat::client",
            "chat::wire",
            "chat::json",
            "todo::client",
            "todo::wire",
            "ticker::client",
            "ticker::wire",
            "jobs::client",
            "jobs::wire",
            "history::client",
            "history::wire",
        ],
    ),
    ("compare", LABORATORY),
    (
        "compare::shadow",
        &["OWN", "generated", "grpc", "http", "fanout", "LEAVES"],
    ),
    (
        "cli",
        &[
            "console", "chat", "todo", "ticker", "jobs", "history", "access", "grpc", "http", "db",
            "fanout", "LEAVES",
        ],
    ),
    ("cli::bench", COMMANDS),
    ("cli::compare", &["OWN", "compare"]),
    ("cli::shadow", &["OWN", "compare"]),
];

/// Compiled with the feature `compare` alone.
const LABORATORY: &[&str] = &[
    "grpc",
    "http",
    "fanout",
    "LEAVES",
    "chat::client",
    "chat::wire",
    // Measured without what stands around them.
    "jobs::queue",
    "history::load",
];
const COMMANDS: &[&str] = &[
    "OWN",
    "compare",
    "grpc",
    "db",
    "fanout",
    "LEAVES",
    "chat::wire",
    "chat::order",
    "chat::shared",
    "jobs::queue",
    "history::load",
];

const SERVICE: &[&str] = &["access", "grpc", "http", "db", "fanout", "LEAVES"];
const WIRE: &[&str] = &["generated", "OWN", "grpc", "fanout", "LEAVES"];
const RULES: &[&str] = &["fanout", "error", "number"];

/// What the fan-out and the rules of the services know nothing of.
const NOT_IN_RULES: &[&str] = &[
    "grpcio",
    "protobuf",
    "tiny_http",
    "serde",
    "serde_json",
    "postgres",
    "rusqlite",
    "lapin",
    "smol",
    "ureq",
    "std::net",
    "std::thread",
    "std::fs",
    "std::process",
];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder whose name ends so.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// The code alone: no comments, and nothing from the first test module on.
fn code(source: &str) -> String {
    let mut out = String::new();
    let mut tests = false;
    for line in source.lines() {
        if tests && (line.starts_with("mod ") || line.starts_with("pub mod ")) {
            break;
        }
        tests = line.starts_with("#[cfg(") && line.contains("test");
        out += line.split("//").next().unwrap_or_default();
        out.push('\n');
    }
    out
}

/// Where a path that starts with `crate` or `super` leads, as seen from `module`.
fn absolute(module: &[String], path: &str) -> Option<Vec<String>> {
    let mut parts = path.split("::").peekable();
    let mut place = match *parts.peek()? {
        "crate" => {
            parts.next();
            Vec::new()
        }
        "super" => module.to_vec(),
        _ => return None,
    };
    while parts.next_if_eq(&"super").is_some() {
        place.pop();
    }
    place.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
    Some(place)
}

/// All paths in the code; `use a::{b, c}` gives `a::b` and `a::c`.
fn paths(code: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let (mut found, mut path, mut groups) = (BTreeSet::new(), String::new(), Vec::new());
    let mut ends = |groups: &[String], path: &mut String| {
        if path.contains(|c: char| c.is_alphabetic()) {
            let start: String = groups.concat();
            found.insert(format!("{start}{path}"));
        }
        path.clear();
    };
    for c in code.chars() {
        match c {
            // A group of a `use` follows two colons, a block does not.
            '{' => groups.push(if path.ends_with("::") {
                std::mem::take(&mut path)
            } else {
                String::new()
            }),
            '}' => {
                ends(&groups, &mut path);
                groups.pop();
            }
            c if word(c) => path.push(c),
            _ => ends(&groups, &mut path),
        }
    }
    found
}

/// Whether a path is this module or below it.
fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What is wrong with a file of this module path, by the table of arrows.
fn violations(module: &[String], source: &str) -> Vec<String> {
    let Some(top) = module.first() else {
        return Vec::new();
    };
    let name = module.join("::");
    let rows = ARROWS.iter().filter(|(row, _)| within(&name, row));
    let Some((row, allowed)) = rows.max_by_key(|(row, _)| row.len()) else {
        return vec![format!("{top} has no row in the table of arrows")];
    };
    let whole_room = !row.contains("::") || allowed.contains(&"OWN");
    let is_rule = *row == "fanout" || (!whole_room && !allowed.contains(&"generated"));
    let may = |target: &str| {
        within(target, row)
            || (whole_room && within(target, top))
            || allowed.iter().any(|allowed| within(target, allowed))
            || (allowed.contains(&"LEAVES") && LEAVES.iter().any(|leaf| within(target, leaf)))
    };
    let mut wrong = Vec::new();
    for path in &paths(&code(source)) {
        let banned = |name: &&&str| within(path, name);
        if is_rule && NOT_IN_RULES.iter().any(|name| banned(&name)) {
            wrong.push(format!("{path} in the rules of {row}"));
        }
        let Some(target) = absolute(module, path) else {
            continue;
        };
        let target = target.join("::");
        // `use super::*` names what is imported there, which is checked there.
        if !target.is_empty() && !target.ends_with('*') && !may(&target) {
            wrong.push(format!("{name} names {path}"));
        }
    }
    wrong
}

fn module(file: &Path) -> Vec<String> {
    let inner = file
        .strip_prefix(root().join("src"))
        .unwrap()
        .with_extension("");
    let parts = inner.iter().map(|part| part.to_string_lossy().into_owned());
    parts
        .filter(|part| !["mod", "lib", "main"].contains(&part.as_str()))
        .collect()
}

#[test]
fn the_arrows_of_the_layout_hold() {
    let mut wrong = Vec::new();
    let sources = files(&root().join("src"), ".rs");
    assert!(
        sources.len() > 30,
        "{} files are not the source",
        sources.len()
    );
    for file in sources {
        // Tests in a file of their own are tests like those at a file's end.
        if !file.to_string_lossy().ends_with("_tests.rs") {
            let found = violations(&module(&file), &fs::read_to_string(&file).unwrap());
            wrong.extend(
                found
                    .iter()
                    .map(|what| format!("{}: {what}", file.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_violation_of_the_layout_would_be_seen() {
    let seen = |module: &str, source: &str| {
        let module: Vec<_> = module.split("::").map(str::to_owned).collect();
        !violations(&module, source).is_empty()
    };
    assert!(seen("fanout::x", "use std::{io, thread};"));
    assert!(seen(
        "todo::list",
        "fn f() { std::net::TcpStream::connect(a); }"
    ));
    assert!(seen("chat::message", "use serde::Serialize;"));
    assert!(seen("jobs::task::letter", "use std::fs;"));
    assert!(seen("fanout", "use super::grpc;"));
    assert!(seen("chat::message", "use super::wire;"));
    assert!(seen("todo::server", "use crate::generated::todo;"));
    assert!(seen("grpc::x", "fn f() { crate::http::Front::bind(a) }"));
    assert!(seen("http::x", "use crate::error::Error;"));
    assert!(seen("http::x", "use crate::{fanout};"));
    assert!(seen("grpc::x::y", "use super::super::super::chat::server;"));
    assert!(seen("chat::bridge", "use crate::todo::client;"));
    assert!(seen("console::api", "use crate::chat::server;"));
    assert!(seen("console::api", "use crate::todo::list::Task;"));
    assert!(seen("compare::x", "use crate::console;"));
    assert!(seen("compare::x", "use crate::cli::Error;"));
    assert!(seen("cli::server", "use crate::compare::load;"));
    assert!(seen("console::api", "use crate::compare;"));
    assert!(seen("cli::bench::x", "use crate::chat::server;"));
    assert!(seen("attic::x", ""));
    assert!(!seen(
        "chat::bridge::api",
        "use super::stream_reader::{Link, Work}; use crate::chat::json;"
    ));
    assert!(!seen(
        "todo::wire",
        "use crate::generated::todo; use super::list::Task;"
    ));
    assert!(!seen("console::api", "use crate::todo::client::Task;"));
    assert!(!seen(
        "cli::bench::x",
        "use crate::cli::Error; use crate::compare::load;"
    ));
    assert!(!seen(
        "fanout::x",
        "// std::net\nuse std::sync::Arc;\n#[cfg(test)]\nmod tests { use std::thread; }"
    ));
}

/// The feature `compare` leaves nothing of the laboratory behind where it is off: no
/// crate, and no file from outside `src`.
#[test]
fn what_only_the_laboratory_needs_comes_with_it_alone() {
    let laboratory = [
        "src/compare",
        "src/cli/bench",
        "src/cli/compare.rs",
        "src/cli/shadow.rs",
    ];
    let laboratory = laboratory.map(|place| root().join(place));
    let product: String = files(&root().join("src"), ".rs")
        .iter()
        .filter(|file| !laboratory.iter().any(|place| file.starts_with(place)))
        .map(|file| code(&fs::read_to_string(file).unwrap()))
        .collect();
    assert!(
        !product.contains("include_str!(\"../../"),
        "a file to carry"
    );
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap().lines();
    let crates = dependencies.filter_map(|line| line.split_once(" = "));
    let always: Vec<_> = crates
        .filter(|(_, what)| !what.contains("optional = true"))
        .map(|(name, _)| format!("{}::", name.replace('-', "_")))
        .collect();
    assert!(always.len() > 20, "{always:?}");
    for name in always {
        assert!(product.contains(&name), "{name} is not optional");
    }
}

#[test]
fn make_test_quick_names_modules_that_are_there() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let (_, names) = makefile.split_once("\nQUICK := ").expect("QUICK");
    let names = names.replace("\\\n", " ");
    let names: Vec<_> = names.lines().next().unwrap().split_whitespace().collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let place = root().join("tests").join(name.replace("::", "/"));
        let found = place.with_extension("rs").is_file() || place.join("mod.rs").is_file();
        assert!(found, "{name} is no module below tests");
    }
}

/// Whether code has a future of its own, or runs one.
fn has_future(code: &str) -> bool {
    let mut words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let marks = ["async", "await", "Future", "poll_fn", "block_on"];
    words.any(|word| marks.contains(&word))
}

#[test]
fn futures_are_where_grpcio_lapin_and_postgres_ask_for_them() {
    let mut there = 0;
    for file in files(&root().join("src"), ".rs") {
        let name = file.to_string_lossy();
        let asked = [
            "/grpc/",
            "/rabbitmq/",
            "/db/connection.rs",
            "/db/bell.rs",
            "/baseline.rs",
        ];
        let asked = asked.iter().any(|place| name.contains(place));
        let has = has_future(&code(&fs::read_to_string(&file).unwrap()));
        assert!(asked || !has, "{name} has a future");
        there += usize::from(has);
    }
    assert!(there >= 5, "{there} files with futures are not all of them");
}
