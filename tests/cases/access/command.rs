//! `messenger token`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::programs::{Server, messenger};
use crate::support::rpc::raw;
use crate::support::tokens::{Call, bearer};

/// Exit code, standard output and standard error.
fn token(file: &str, arguments: &[&str]) -> (i32, Vec<String>, String) {
    let mut process = messenger(&[&["token"], arguments, &["--file", file]].concat());
    let lines = process.lines(SOON);
    (process.wait_exit(SOON), lines, process.log())
}

fn refused(file: &str, arguments: &[&str], why: &str) {
    let (code, lines, log) = token(file, arguments);
    assert_ne!((code, lines.len()), (0, 1), "{arguments:?}");
    assert!(log.contains(why), "{arguments:?}: {log}");
}

#[test]
fn tokens_are_made_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.jsonl");
    let file = path.to_str().unwrap();
    let new = [
        "new",
        "anna",
        "--right",
        "chat:read",
        "--right",
        "chat:write",
    ];
    let (code, secret, log) = token(file, &new);
    assert_eq!((code, secret.len()), (0, 1), "{log}");
    let secret = &secret[0];
    assert!(
        secret.starts_with("messenger_") && secret.len() == 74,
        "{secret}"
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!fs::read_to_string(&path).unwrap().contains(&secret[10..]));
    let old = ["new", "old", "--right", "*", "--expires", "0s"];
    assert_eq!(token(file, &old).0, 0);

    refused(file, &new, "the same name or sha256 as anna");
    refused(
        file,
        &["new", "b", "--right", "chat:reed"],
        "unknown variant `chat:reed`",
    );
    refused(file, &["new", "b b", "--right", "*"], "name: ");
    refused(file, &["remove", "bert"], "there is no token bert");
    refused("/nowhere/tokens", &["list"], "/nowhere/tokens: ");

    let (_, table, _) = token(file, &["list"]);
    assert_eq!(table.len(), 3, "{table:?}");
    assert!(table[1].contains("chat:read chat:write") && table[1].contains("never"));
    assert!(table[2].contains("(expired)"), "{table:?}");
    let column = |line: &String, word: &str| line.find(word).unwrap();
    assert_eq!(column(&table[0], "rights"), column(&table[1], "chat:read"));
    let (_, list, _) = token(file, &["list", "--json"]);
    let list: Value = serde_json::from_str(&list.concat()).unwrap();
    assert_eq!(list[0]["rights"], json!(["chat:read", "chat:write"]));

    let server = Server::start(&["--auth-tokens", file]);
    let client = raw(&server.address());
    // Any token is enough for this one.
    let list = || {
        let method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let mut call = Call::open(&client, method, &[&bearer(secret)]);
        call.ask(b"\x3a\x00", true);
        call.next()
    };
    assert!(list().is_ok());
    assert_eq!(token(file, &["remove", "anna"]).0, 0);
    crate::support::eventually(SOON, "it is refused", || list().is_err());
    assert_eq!(token(file, &["list"]).1.len(), 2);
}

#[test]
fn tokens_that_are_made_at_once_are_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.jsonl");
    let file = path.to_str().unwrap();
    thread::scope(|scope| {
        for n in 0..6 {
            scope.spawn(move || {
                let made = token(file, &["new", &format!("anna-{n}"), "--right", "*"]);
                assert_eq!(made.0, 0, "{}", made.2);
            });
        }
    });
    assert_eq!(token(file, &["list"]).1.len(), 7);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no other files"
    );
}
