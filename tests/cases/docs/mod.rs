//! The documentation: what is made from the command line or from a list is not
//! stale, links lead somewhere, and commands do what the text says.
//!
//! With `UPDATE_DOCS=1` (`make docs`) stale parts are written anew instead.

mod commands;
mod configuration;
mod differences;
mod limits;
mod links;

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use messenger::cli::Cli;

use super::layout::{files, root};

/// A Markdown file, by its path from the root of the repository.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_owned();
        Self { path, text }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Every page that people read.
fn pages() -> Vec<Page> {
    let top = fs::read_dir(root()).unwrap();
    let top = top.map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let pages: Vec<_> = top.chain(files(&root().join("docs"), ".md")).collect();
    assert!(pages.len() > 10, "{pages:?}");
    pages.iter().map(|path| Page::read(path)).collect()
}

/// `messenger` and all commands below it, with the words that call each.
fn commands() -> Vec<(String, clap::Command)> {
    fn walk(name: &str, command: clap::Command, found: &mut Vec<(String, clap::Command)>) {
        let below: Vec<_> = command.get_subcommands().cloned().collect();
        found.push((name.to_owned(), command));
        for command in below.into_iter().filter(|command| !command.is_hide_set()) {
            walk(&format!("{name} {}", command.get_name()), command, found);
        }
    }
    let mut found = Vec::new();
    walk("messenger", Cli::command(), &mut found);
    found
}

/// What an argument is without a flag or a variable, as one types it.
fn defaults(argument: &clap::Arg) -> Option<String> {
    let values = argument.get_default_values().iter();
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    (!values.is_empty() && argument.get_action().takes_values()).then(|| values.join(","))
}

/// Holds the page against what it should be, or writes that.
fn check(page: &Page, expected: &str) {
    if page.text == expected {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        fs::write(root().join(&page.path), expected).unwrap();
        return;
    }
    let mut lines = page.text.lines().zip(expected.lines()).enumerate();
    let (number, (is, should_be)) = lines
        .find(|(_, (is, should_be))| is != should_be)
        .unwrap_or((0, ("", "as many lines as the other")));
    panic!(
        "{} is stale, `make docs` writes it anew. Line {}:\n  is        {is}\n  should be {should_be}",
        page.name(),
        number + 1,
    );
}
