//! No circle between files: whoever reads one file reads on towards the leaves
//! and never comes back.
//!
//! A `mod.rs` has what its whole folder is about, and starts what is below it: a
//! file below may name it. What a `mod.rs` passes on with `pub use` belongs to the
//! file that defines it. Any other two files name each other one way only,
//! directly or over others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{code, files, module, paths, root};

/// A path as its segments.
type Path = Vec<String>;

/// Every file's code, by the path of its module.
type Files = BTreeMap<Path, String>;

/// What a file calls by a short name, and what it passes on under one.
#[derive(Default)]
struct Names {
    imported: BTreeMap<String, Path>,
    passed_on: BTreeMap<String, Path>,
}

fn read() -> Files {
    let sources = files(&root().join("src"), ".rs").into_iter();
    let sources = sources.filter(|file| {
        let name = file.to_string_lossy();
        !name.ends_with("_tests.rs") && !name.ends_with("/main.rs")
    });
    let source = |file: &std::path::PathBuf| code(&fs::read_to_string(file).unwrap());
    sources.map(|file| (module(&file), source(&file))).collect()
}

/// The `use` statements of a file, each with whether it passes on what it names,
/// and everything else.
fn statements(code: &str) -> (Vec<(bool, String)>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    for statement in code.split_inclusive(';') {
        let start = statement.rfind("use ").filter(|start| {
            let line = statement[..*start].rsplit('\n').next().unwrap_or_default();
            line.trim_start().is_empty() || line.trim_start().starts_with("pub")
        });
        let Some(start) = start else {
            rest += statement;
            continue;
        };
        let line = statement[..start].rfind('\n').map_or(0, |end| end + 1);
        rest += &statement[..line];
        let public = statement[line..start].contains("pub");
        uses.push((public, statement[start + 4..].to_owned()));
    }
    (uses, rest)
}

/// Where a path leads, as written in the file of this module.
fn absolute(files: &Files, place: &[String], names: &Names, path: &str) -> Option<Path> {
    let mut segments = path.split("::").filter(|part| !part.is_empty()).peekable();
    let first = segments.next()?;
    let mut target: Path = match first {
        "crate" => Vec::new(),
        "self" => place.to_vec(),
        "super" => place[..place.len().checked_sub(1)?].to_vec(),
        _ => {
            let child: Path = place.iter().cloned().chain([first.to_owned()]).collect();
            match names.imported.get(first) {
                _ if files.contains_key(&child) => child,
                Some(imported) => imported.clone(),
                None => return None,
            }
        }
    };
    while segments.next_if_eq(&"super").is_some() {
        target.pop();
    }
    target.extend(segments.filter(|part| *part != "self").map(str::to_owned));
    Some(target)
}

fn names(files: &Files, place: &[String], code: &str) -> Names {
    let mut names = Names::default();
    for (public, paths_of) in statements(code).0 {
        for path in paths(&paths_of) {
            let target = absolute(files, place, &Names::default(), &path);
            let Some((last, target)) = target.and_then(|t| Some((t.last()?.clone(), t))) else {
                continue;
            };
            if public {
                names.passed_on.insert(last.clone(), target.clone());
            }
            names.imported.insert(last, target);
        }
    }
    names
}

/// The module whose file defines what is there; `None` for a module itself.
fn defined_in(all: &BTreeMap<Path, Names>, target: &[String]) -> Option<Path> {
    let (length, names) = (1..=target.len())
        .rev()
        .find_map(|length| Some((length, all.get(&target[..length])?)))?;
    let item = target.get(length)?;
    match names.passed_on.get(item) {
        Some(passed_on) => defined_in(all, passed_on),
        None => Some(target[..length].to_vec()),
    }
}

/// For each file those that it names, but not the `mod.rs` of a folder it is in.
fn arrows(files: &Files) -> BTreeMap<Path, BTreeSet<Path>> {
    let all = files.iter().map(|(place, code)| {
        let names = names(files, place, code);
        (place.clone(), names)
    });
    let all: BTreeMap<_, _> = all.collect();
    let arrows = files.iter().map(|(place, code)| {
        let (uses, mut rest) = statements(code);
        // What is only passed on is not used.
        rest.extend(
            uses.into_iter()
                .filter(|(public, _)| !public)
                .map(|(_, path)| path),
        );
        let targets = paths(&rest).into_iter();
        let targets = targets.filter_map(|path| absolute(files, place, &all[place], &path));
        let targets = targets.filter_map(|target| defined_in(&all, &target));
        let targets = targets.filter(|target| !place.starts_with(target));
        (place.clone(), targets.collect())
    });
    arrows.collect()
}

/// The shortest way from a file back to itself.
fn circle(arrows: &BTreeMap<Path, BTreeSet<Path>>, start: &Path) -> Option<Vec<Path>> {
    let mut ways = vec![vec![start.clone()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in &arrows[way.last()?] {
                if next == start {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push([&way[..], std::slice::from_ref(next)].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// Each circle once, written out.
fn circles(files: &Files) -> Vec<String> {
    let arrows = arrows(files);
    let found = arrows.keys().filter_map(|start| circle(&arrows, start));
    let mut seen = BTreeSet::new();
    let new = found.filter(|way| seen.insert(way.iter().cloned().collect::<BTreeSet<_>>()));
    let written = new.map(|mut way| {
        way.push(way[0].clone());
        let names: Vec<_> = way.iter().map(|place| place.join("::")).collect();
        names.join(" -> ")
    });
    written.collect()
}

#[test]
fn files_name_each_other_one_way_only() {
    let files = read();
    let arrows = arrows(&files);
    let count: usize = arrows.values().map(BTreeSet::len).sum();
    assert!(count > 400, "{count} arrows are not the source");
    let circles = circles(&files);
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn a_circle_would_be_seen() {
    let seen = |sources: &[(&str, &str)]| {
        let place = |name: &str| name.split("::").map(str::to_owned).collect();
        let files = sources
            .iter()
            .map(|(name, code)| (place(name), (*code).to_owned()));
        circles(&files.collect())
    };
    let two = [
        ("a::x", "use super::y::Y; struct X;"),
        ("a::y", "struct Y; fn f(x: super::x::X) {}"),
    ];
    assert_eq!(seen(&two), ["a::x -> a::y -> a::x"]);
    let by_short_names = [
        ("a::x", "use super::{y};\nfn f() { y::g() }"),
        ("a::y", "use crate::b;\nfn g() { b::h() }"),
        ("b", "use crate::a::x::{self, X};\nfn h() {}"),
    ];
    assert_eq!(seen(&by_short_names), ["a::x -> a::y -> b -> a::x"]);
    let passed_on = [
        ("a", "mod x;\nmod y;\npub use x::X;"),
        ("a::x", "use super::y::Y;"),
        ("a::y", "use crate::a::X;"),
    ];
    assert_eq!(seen(&passed_on), ["a::x -> a::y -> a::x"]);
    let over_a_room = [
        ("a", "mod x;\nfn f() { x::g() }"),
        ("a::x", "use crate::b::B;"),
        ("b", "use crate::a;\nfn g() { a::f() }"),
    ];
    assert_eq!(seen(&over_a_room), ["a -> a::x -> b -> a"]);
    let a_folder = [
        (
            "a",
            "mod x;\nmod y;\npub use x::X;\nstruct A;\nfn f(y: y::Y) {}",
        ),
        ("a::x", "use super::A;"),
        ("a::y", "use super::A;\nuse super::x::X;"),
    ];
    assert_eq!(seen(&a_folder), [""; 0]);
}
