//! `docs/limits.md`: a table written by hand whose defaults are those of the
//! command line. The heading above a table names the command.

use std::collections::BTreeSet;

use clap::{Arg, Command};

use super::super::layout::root;
use super::{Page, check, commands, defaults};

#[test]
fn the_limits_have_the_defaults_of_the_command_line() {
    let page = Page::read(&root().join("docs/limits.md"));
    let commands = commands();
    let mut of: Option<&(String, Command)> = None;
    let mut told = BTreeSet::new();
    let mut expected = String::new();
    for line in page.text.lines() {
        if line.starts_with('#') {
            let name = line.split('`').nth(1);
            let find = |name| commands.iter().find(|(known, _)| known == name);
            of = name.map(|name| find(name).unwrap_or_else(|| panic!("no command {name}")));
        }
        expected.push_str(&row(line, of, &mut told).unwrap_or_else(|| line.to_owned()));
        expected.push('\n');
    }
    check(&page, &expected);
    for (name, command) in &commands {
        let limits = command.get_arguments();
        for limit in limits.filter(|argument| argument.get_help_heading() == Some("Limits")) {
            assert!(
                told.contains(&(flag(limit), shown(limit))),
                "docs/limits.md lacks {} of {name} with the default {}",
                flag(limit),
                shown(limit)
            );
        }
    }
}

/// `| what | default | flags | over it |` with the default in the place of what
/// stands there; None of a line without flags.
fn row(
    line: &str,
    of: Option<&(String, Command)>,
    told: &mut BTreeSet<(String, String)>,
) -> Option<String> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    let mut cells: Vec<_> = inner.split('|').map(str::trim).collect();
    let flags = cells
        .get(2)?
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("--"));
    let flags: Vec<_> = flags.collect();
    let (name, command) = of.filter(|_| !flags.is_empty())?;
    let values = flags.iter().map(|flag_there| {
        let argument = command.get_arguments().find(|a| flag(a) == *flag_there);
        let argument = argument.unwrap_or_else(|| panic!("{name} has no {flag_there}"));
        told.insert((flag(argument), shown(argument)));
        shown(argument)
    });
    let values: Vec<_> = values.collect();
    let values = values.join("; ");
    cells[1] = &values;
    let cells = cells.iter().map(|cell| match *cell {
        "" => " |".to_owned(),
        cell => format!(" {cell} |"),
    });
    Some(format!("|{}", cells.collect::<String>()))
}

fn flag(argument: &Arg) -> String {
    format!("--{}", argument.get_long().unwrap_or_default())
}

/// The default as people say it: 64 KiB, 10,000, 5 s.
fn shown(argument: &Arg) -> String {
    let default = defaults(argument).unwrap_or_else(|| "none".into());
    let unit = argument.get_value_names().and_then(<[_]>::first);
    let Ok(number) = default.parse::<u64>() else {
        let digits = default.trim_end_matches(|c: char| c.is_alphabetic());
        return format!("{digits} {}", &default[digits.len()..]);
    };
    if unit.is_none_or(|unit| unit != "BYTES") {
        return thousands(number);
    }
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |(shift, _): &&(u32, &str)| number >> shift > 0 && number % (1 << shift) == 0;
    match units.iter().find(fits) {
        Some((shift, unit)) => format!("{} {unit}", number >> shift),
        None => format!("{} B", thousands(number)),
    }
}

fn thousands(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", thousands(number / 1000), number % 1000),
    }
}

#[test]
fn numbers_are_shown_as_people_write_them() {
    let shown = |default: &'static str, unit: &'static str| {
        let argument = Arg::new("x")
            .long("x")
            .default_value(default)
            .value_name(unit);
        let command = Command::new("x").arg(argument);
        let argument = command.get_arguments().next().unwrap().clone();
        shown(&argument)
    };
    assert_eq!(shown("524288", "BYTES"), "512 KiB");
    assert_eq!(shown("1073741824", "BYTES"), "1 GiB");
    assert_eq!(shown("1500", "BYTES"), "1,500 B");
    assert_eq!(shown("8192", "N"), "8,192");
    assert_eq!(shown("250ms", "TIME"), "250 ms");
}
