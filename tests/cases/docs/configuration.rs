//! `docs/configuration.md`, from the definition of the command line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::super::layout::root;
use super::{Page, check, commands, defaults};

const START: &str = "<!-- From here on made by `make docs`; what stands there is in the help texts of src/cli. -->\n";

/// Arguments below one heading of the help.
type Group = Vec<String>;

#[test]
fn the_configuration_is_that_of_the_command_line() {
    let page = Page::read(&root().join("docs/configuration.md"));
    let (prose, _) = page.text.split_once(START).expect("where it starts");
    let expected = format!("{prose}{START}{}", render());
    check(&page, &expected);
}

fn render() -> String {
    let commands = commands();
    let mut users: BTreeMap<(String, Group), Vec<&str>> = BTreeMap::new();
    for (name, command) in &commands {
        for group in groups(command) {
            users.entry(group).or_default().push(name);
        }
    }
    // What several commands have in common is told once.
    let shared = |group: &(String, Group)| !group.0.is_empty() && users[group].len() > 1;
    let mut out = String::new();
    for (name, command) in &commands {
        let groups = groups(command);
        if groups.is_empty() {
            continue;
        }
        let heading = match name.as_str() {
            "messenger" => "Every command",
            name => name,
        };
        let _ = write!(out, "\n## {heading}\n");
        if heading == name {
            let _ = write!(out, "\n{}\n", about(command));
        }
        for (heading, rows) in groups.iter().filter(|group| !shared(group)) {
            if !heading.is_empty() && name != "messenger" {
                let _ = write!(out, "\n{heading}:\n");
            }
            table(&mut out, rows);
        }
        let also = groups.iter().filter(|group| shared(group));
        let also = also.map(|(heading, _)| format!("[{heading}](#{})", anchor(heading)));
        let also: Vec<_> = also.collect();
        if !also.is_empty() {
            let _ = write!(out, "\nAlso: {}.\n", also.join(", "));
        }
    }
    for ((heading, rows), names) in users.iter().filter(|(group, _)| shared(group)) {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(out, "\n## {heading}\n\nFlags of {}.\n", names.join(", "));
        table(&mut out, rows);
    }
    out
}

fn anchor(heading: &str) -> String {
    super::links::slug(heading)
}

/// The command's arguments by the headings of its help, in their order.
fn groups(command: &Command) -> Vec<(String, Group)> {
    let mut groups: Vec<(String, Group)> = Vec::new();
    for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
        let heading = argument.get_help_heading().unwrap_or_default();
        let row = row(argument);
        match groups.iter_mut().find(|(known, _)| known == heading) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((heading.to_owned(), vec![row])),
        }
    }
    groups
}

fn table(out: &mut String, rows: &[String]) {
    out.push_str("\n| flag | variable | default | meaning |\n|---|---|---|---|\n");
    for row in rows {
        let _ = writeln!(out, "{row}");
    }
}

fn row(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string);
    let help = help.unwrap_or_else(|| panic!("{} has no help", argument.get_id()));
    // What the program works out when it runs, the help says itself.
    let (mut meaning, told) = match help.split_once(" [default: ") {
        Some((meaning, told)) => (meaning.to_owned(), told.strip_suffix(']')),
        None => (help.clone(), None),
    };
    let values = argument.get_possible_values();
    let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        let names: Vec<_> = values
            .iter()
            .map(|v| format!("`{}`", v.get_name()))
            .collect();
        let _ = write!(meaning, ": {}", names.join(", "));
    }
    if argument.get_value_delimiter().is_some() {
        meaning.push_str("; several with commas between them");
    } else if matches!(argument.get_action(), ArgAction::Append) && !help.contains("repeated") {
        meaning.push_str("; may be repeated");
    }
    let default = match (defaults(argument), told) {
        (Some(default), _) if default.is_empty() => "empty".into(),
        (Some(default), _) => format!("`{}`", portable(&default)),
        (None, Some(told)) => told.to_owned(),
        (None, None) if argument.is_required_set() => "required".into(),
        (None, None) if argument.get_action().takes_values() => "none".into(),
        (None, None) => "off".into(),
    };
    let variable = argument
        .get_env()
        .map(|name| format!("`{}`", name.display()));
    let cells = [
        name(argument),
        variable.unwrap_or_default(),
        default,
        meaning,
    ];
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    format!("| {} |", cells.join(" | "))
}

fn name(argument: &Arg) -> String {
    let value = argument.get_value_names().and_then(<[_]>::first);
    let value = value.map_or_else(
        || argument.get_id().to_string().to_uppercase(),
        ToString::to_string,
    );
    let optional = argument.get_num_args();
    let optional = optional.is_some_and(|count| count.min_values() == 0);
    match argument.get_long() {
        None => format!("`{value}`"),
        Some(long) if argument.get_action().takes_values() && optional => {
            format!("`--{long} [{value}]`")
        }
        Some(long) if argument.get_action().takes_values() => format!("`--{long} {value}`"),
        Some(long) => format!("`--{long}`"),
    }
}

/// A folder of whoever runs this, as it is for everybody.
fn portable(default: &str) -> String {
    let folder = |variable: &str| {
        std::env::var(variable)
            .ok()
            .filter(|path| path.starts_with('/'))
    };
    let cache = folder("XDG_CACHE_HOME");
    let replaced =
        cache.and_then(|cache| Some(format!("~/.cache{}", default.strip_prefix(&cache)?)));
    let at_home = || Some(format!("~{}", default.strip_prefix(&folder("HOME")?)?));
    replaced
        .or_else(at_home)
        .unwrap_or_else(|| default.to_owned())
}

/// Whole sentences: clap takes the full stop off the first one.
fn about(command: &Command) -> String {
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.unwrap_or_else(|| panic!("{} has no help", command.get_name()));
    let about = about.to_string();
    let (first, rest) = about.split_once("\n\n").unwrap_or((&about, ""));
    format!("{}.\n\n{rest}", first.trim_end_matches('.'))
        .trim_end()
        .to_owned()
}
