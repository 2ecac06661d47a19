//! The dockerfiles, walked against the tree: no engine runs here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::layout::{files, root};
use super::terminal::help;

/// Lines of a dockerfile, with continued ones joined.
fn instructions(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap().replace("\\\n", " ");
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[test]
fn what_the_dockerfiles_copy_and_run_is_there() {
    let script = fs::read_to_string(root().join("docker/install.sh")).unwrap();
    let (_, cases) = script
        .rsplit_once("\ncase ")
        .expect("a case at the end of the script");
    let patterns = cases
        .lines()
        .filter_map(|line| line.trim().split_once(')'))
        .map(|(left, _)| left);
    let known: BTreeSet<_> = patterns.flat_map(|p| p.split('|')).map(str::trim).collect();
    assert!(
        known.contains("build") && known.contains("runtime"),
        "{known:?}"
    );
    let dockerfiles = files(&root().join("docker"), ".dockerfile");
    assert_eq!(dockerfiles.len(), 2);
    for file in dockerfiles {
        let (mut copies, mut runs) = (0, 0);
        for instruction in instructions(&file) {
            let words: Vec<_> = instruction.split_whitespace().collect();
            if words[0] == "COPY" && !words[1].starts_with("--from=") {
                for source in &words[1..words.len() - 1] {
                    assert!(root().join(source).exists(), "{}: {source}", file.display());
                    copies += 1;
                }
            }
            for pair in words
                .windows(2)
                .filter(|pair| pair[0].ends_with("install.sh") && words[0] == "RUN")
            {
                assert!(known.contains(pair[1]), "{}: {pair:?}", file.display());
                runs += 1;
            }
            if words[0] == "ENTRYPOINT" || instruction.contains("CMD [") {
                let (_, array) = instruction.split_once('[').unwrap();
                let arguments: Vec<String> = serde_json::from_str(&format!("[{array}")).unwrap();
                assert_eq!(arguments[0], "messenger");
                let (code, _) = help(&[arguments[1..].to_vec(), vec!["--help".into()]].concat());
                assert_eq!(code, 0, "{}: {instruction}", file.display());
            }
        }
        assert!(copies >= 5 && runs >= 2, "{} was read", file.display());
    }
    let compose = fs::read_to_string(root().join("docker/compose.yaml")).unwrap();
    let mut commands = 0;
    for line in compose
        .lines()
        .filter(|line| line.contains("\"messenger\", "))
    {
        let (_, array) = line.split_once('[').unwrap();
        let arguments: Vec<String> = serde_json::from_str(&format!("[{array}")).unwrap();
        let command = arguments.iter().skip_while(|word| *word != "messenger");
        let command: Vec<_> = command.skip(1).cloned().collect();
        let (code, _) = help(&[command, vec!["--help".into()]].concat());
        assert_eq!(code, 0, "{line}");
        commands += 1;
    }
    assert!(commands >= 2, "the log's start and its health check");
    let named = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("dockerfile: "));
    let named: Vec<_> = named.collect();
    assert!(
        named.len() >= 2 && named.iter().all(|file| root().join(file).is_file()),
        "{named:?}"
    );
}

/// The builder's Rust has to be new enough, and both it and the base of the image
/// are named with their versions.
#[test]
fn the_dockerfiles_pin_what_they_start_from() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let numbers = |version: &str| -> Vec<u32> {
        let numbers = version.split('.').map(|part| part.parse().unwrap());
        numbers.collect()
    };
    let wanted = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let wanted = numbers(wanted.expect("a rust-version").trim_matches('"'));
    for file in files(&root().join("docker"), ".dockerfile") {
        let bases: Vec<_> = instructions(&file)
            .iter()
            .filter_map(|line| line.strip_prefix("FROM ").map(str::to_owned))
            .collect();
        assert_eq!(bases.len(), 2, "{}", file.display());
        let version = |base: &str, name: &str| {
            let tag = base.strip_prefix(name).expect("the image");
            numbers(tag.split('-').next().unwrap())
        };
        let rust = version(&bases[0], "rust:");
        assert!(rust.len() == 3 && rust >= wanted, "{bases:?}");
        assert_eq!(version(&bases[1], "debian:").len(), 2, "{bases:?}");
    }
}
