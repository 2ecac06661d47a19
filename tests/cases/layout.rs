//! The shape of the source: who may name whom.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each top module may name, besides itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("wire", &["domain"]),
    ("grpc", &["domain", "wire"]),
    ("http", &[]),
    ("store", &["domain", "wire"]),
    // The embedded queue is a file that is opened as all others.
    ("queue", &["domain", "wire", "store"]),
    ("web", &["domain", "wire", "grpc", "http", "store", "queue"]),
    (
        "bench",
        &["domain", "wire", "grpc", "http", "store", "queue"],
    ),
    (
        "service",
        &["domain", "wire", "grpc", "http", "store", "queue"],
    ),
    ("compare", &["domain", "wire", "grpc", "bench"]),
    (
        "cli",
        &[
            "domain", "wire", "grpc", "http", "store", "queue", "service", "bench", "compare",
            "web",
        ],
    ),
];

/// What the rules know nothing of.
const NOT_IN_DOMAIN: &[&str] = &[
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

/// What is wrong with a file of this module path, by the table of arrows.
fn violations(module: &[String], source: &str) -> Vec<String> {
    let Some(top) = module.first() else {
        return Vec::new();
    };
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == top) else {
        return vec![format!("{top} has no row in the table of arrows")];
    };
    let paths = paths(&code(source));
    let mut wrong = Vec::new();
    for path in &paths {
        if top == "domain" {
            let banned = |name: &&&str| path == **name || path.starts_with(&format!("{name}::"));
            wrong.extend(
                NOT_IN_DOMAIN
                    .iter()
                    .find(banned)
                    .map(|_| format!("{path} in domain")),
            );
        }
        let Some(target) = absolute(module, path) else {
            continue;
        };
        let Some(target_top) = target.first() else {
            continue;
        };
        if target_top != top && !allowed.contains(&target_top.as_str()) {
            wrong.push(format!("{top} names {path}"));
        }
        let own = module
            .get(1)
            .filter(|_| top == "service" && target_top == "service");
        if let (Some(own), Some(other)) = (own, target.get(1))
            && own != other
            && *other != "*"
        {
            wrong.push(format!("the service {own} names {path}"));
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
    assert!(seen("domain::x", "use std::{io, thread};"));
    assert!(seen(
        "domain::x",
        "fn f() { std::net::TcpStream::connect(a); }"
    ));
    assert!(seen("domain::x", "use serde::Serialize;"));
    assert!(seen("domain", "use super::wire;"));
    assert!(seen("wire::x", "use crate::grpc::client;"));
    assert!(seen("grpc::x", "fn f() { crate::http::Front::bind(a) }"));
    assert!(seen("http::x", "use crate::domain::error::Error;"));
    assert!(seen("http::x", "use crate::{domain};"));
    assert!(seen(
        "grpc::x::y",
        "use super::super::super::service::chat;"
    ));
    assert!(seen("service::bridge", "use super::chat;"));
    assert!(seen("service::bridge::api", "use crate::service::chat;"));
    assert!(seen(
        "service::bridge::api",
        "use super::super::chat::Config;"
    ));
    assert!(seen("bench::x", "use crate::cli::Error;"));
    assert!(seen("attic::x", ""));
    assert!(!seen(
        "service::bridge::api",
        "use super::reader::{Link, Work}; use crate::wire;"
    ));
    assert!(!seen(
        "domain::x",
        "// std::net\nuse std::sync::Arc;\n#[cfg(test)]\nmod tests { use std::thread; }"
    ));
}

/// Whether code has a future of its own, or runs one.
fn has_future(code: &str) -> bool {
    let mut words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let marks = ["async", "await", "Future", "poll_fn", "block_on"];
    words.any(|word| marks.contains(&word))
}

#[test]
fn futures_are_where_grpcio_and_lapin_ask_for_them() {
    let mut there = 0;
    for file in files(&root().join("src"), ".rs") {
        let name = file.to_string_lossy();
        let asked = ["/grpc/", "/rabbitmq/", "/floor.rs"];
        let asked = asked.iter().any(|place| name.contains(place));
        let has = has_future(&code(&fs::read_to_string(&file).unwrap()));
        assert!(asked || !has, "{name} has a future");
        there += usize::from(has);
    }
    assert!(there >= 5, "{there} files with futures are not all of them");
}
