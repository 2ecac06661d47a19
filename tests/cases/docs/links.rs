//! Links lead to files and headings that are there.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::super::layout::{files, root};
use super::{Page, commands, pages};

/// A heading's anchor, as GitHub makes it.
pub fn slug(heading: &str) -> String {
    let lower = heading.trim().to_lowercase();
    let kept = lower
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// What a page offers and what it asks for.
#[derive(Default)]
struct Seen {
    anchors: BTreeSet<String>,
    links: Vec<String>,
    code: Vec<String>,
}

fn read(page: &Page) -> Seen {
    let mut seen = Seen::default();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(&page.text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                // Of several with one name, GitHub numbers the second and later ones.
                let first = slug(&heading.take().unwrap_or_default());
                let mut anchor = first.clone();
                for number in 1.. {
                    if seen.anchors.insert(anchor) {
                        break;
                    }
                    anchor = format!("{first}-{number}");
                }
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                seen.links.push(dest_url.into_string());
            }
            Event::Text(text) => heading
                .iter_mut()
                .for_each(|heading| heading.push_str(&text)),
            Event::Code(text) => {
                heading
                    .iter_mut()
                    .for_each(|heading| heading.push_str(&text));
                seen.code.push(text.into_string());
            }
            _ => {}
        }
    }
    seen
}

/// Without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{} leaves the folder", path.display()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What is wrong with the links of a page.
fn dead(page: &Page, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    for link in &seen.links {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let there = root().join(plain(&page.path.parent().unwrap().join(file)));
        let found = match (file, anchor) {
            ("", anchor) => seen.anchors.contains(anchor),
            (_, "") => there.exists(),
            (_, anchor) => there.is_file() && read(&Page::read(&there)).anchors.contains(anchor),
        };
        if !found {
            wrong.push(format!("{} links to {link}", page.name()));
        }
    }
    wrong
}

#[test]
fn every_link_leads_somewhere() {
    let (mut links, mut wrong) = (0, Vec::new());
    for page in pages() {
        let seen = read(&page);
        links += seen.links.len();
        wrong.extend(dead(&page, &seen));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(links > 20, "{links} links");
}

#[test]
fn a_dead_link_would_be_seen() {
    let dead = |text: &str| {
        let path = Path::new("docs/limits.md").to_owned();
        let page = Page {
            path,
            text: text.to_owned(),
        };
        dead(&page, &read(&page)).len()
    };
    assert_eq!(
        dead("# H\n[h](#h-1) [a](nowhere.md) ![b](c.png) [d](#e) [f](../README.md#g)"),
        5
    );
    assert_eq!(
        dead(
            "# E `f`, g\n# H\n# H\n[h](#h) [h](#h-1)\n[a](../README.md) [b](#e-f-g) [c](https://x/y) `[d](e)`"
        ),
        0
    );
}

/// Flags, files and folders that the text names are there.
#[test]
fn what_the_text_names_exists() {
    let known: BTreeSet<_> = commands()
        .iter()
        .flat_map(|(_, command)| {
            let arguments: Vec<_> = command.get_arguments().cloned().collect();
            arguments
                .into_iter()
                .filter_map(|argument| argument.get_long().map(str::to_owned))
        })
        .collect();
    // Those of cargo, docker and this test.
    let others = [
        "help",
        "version",
        "rm",
        "release",
        "lib",
        "features",
        "no-default-features",
    ];
    let mut wrong = Vec::new();
    for page in pages()
        .iter()
        .filter(|page| !page.path.ends_with("CHANGELOG.md"))
    {
        for code in read(page).code {
            let word = code.split([' ', '=']).next().unwrap_or_default();
            if let Some(flag) = word.strip_prefix("--")
                && !known.contains(flag)
                && !others.contains(&flag)
            {
                wrong.push(format!("{}: no command has {word}", page.name()));
            }
            let ours = ["src/", "tests/", "docs/", "docker/", "proto/"];
            if ours.iter().any(|folder| word.starts_with(folder))
                && !word.contains(['*', '{'])
                && !root().join(word).exists()
            {
                wrong.push(format!("{}: there is no {word}", page.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The functions on a message's way are there, in a file about that type or module,
/// and few enough to be followed.
#[test]
fn the_way_of_a_message_names_functions_that_exist() {
    let page = Page::read(&root().join("docs/architecture.md")).text;
    let (_, way) = page
        .split_once("## One message, from")
        .expect("the section");
    let way = way.split("\n## ").next().unwrap_or_default();
    let rows = way.lines().filter(|line| line.starts_with('|'));
    let named = rows.filter_map(|row| row.split('`').find(|code| code.contains("::")));
    let named: Vec<_> = named.collect();
    let sources = files(&root().join("src"), ".rs");
    let missing: Vec<_> = named
        .iter()
        .filter(|name| {
            let (owner, function) = name.split_once("::").unwrap_or_default();
            !sources.iter().any(|file| {
                let text = std::fs::read_to_string(file).expect("a source");
                let owns = text.contains(&format!(" {owner}")) && text.contains("impl")
                    || file.file_stem().is_some_and(|stem| stem == owner);
                owns && [format!("fn {function}("), format!("fn {function}<")]
                    .iter()
                    .any(|start| text.contains(start))
            })
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(
        (15..=25).contains(&named.len()),
        "{} functions",
        named.len()
    );
}

#[test]
fn the_readme_can_be_read_in_a_few_minutes() {
    let lines = Page::read(&root().join("README.md")).text.lines().count();
    assert!(lines <= 200, "{lines} lines");
}
