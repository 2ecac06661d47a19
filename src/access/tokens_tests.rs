use std::sync::mpsc::channel;

use super::*;
use crate::access::file;
use chrono::{DateTime, Utc};

const WAIT: Duration = Duration::from_secs(20);

fn line(name: &str, token: &str, rights: &[&str], expires: Option<SystemTime>) -> String {
    let entry = file::Entry {
        name: name.into(),
        sha256: file::hash(token.as_bytes()),
        rights: rights.iter().map(|right| right.parse().unwrap()).collect(),
        expires: expires.map(|time| DateTime::<Utc>::from(time).to_rfc3339()),
    };
    serde_json::to_string(&entry).unwrap() + "\n"
}

fn ago(seconds: u64) -> Option<SystemTime> {
    Some(SystemTime::now() - Duration::from_secs(seconds))
}

fn open(text: &str) -> (tempfile::TempDir, std::path::PathBuf, Access) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, text).unwrap();
    let access = Access::open(&file).unwrap();
    (folder, file, access)
}

#[test]
fn a_token_may_do_what_it_has_the_right_for() {
    let soon = Some(SystemTime::now() + Duration::from_secs(3600));
    let text = line("anna", "abc", &["chat:read"], None)
        + "\n"
        + &line("bert", "def", &["*"], soon)
        + &line("old", "ghi", &["*"], ago(1));
    let (_folder, _, access) = open(&text);
    let (read, write) = (Right::ChatRead.into(), Right::ChatWrite.into());
    let check = |value: &str, need| {
        access
            .check(Some(value.as_bytes()), need)
            .map(|it| it.name().to_string())
    };
    assert_eq!(check("Bearer abc", read), Ok("anna".into()));
    assert_eq!(check("bearer abc", Need::Token), Ok("anna".into()));
    assert_eq!(check("BEARER def", write), Ok("bert".into()));
    assert_eq!(
        check("Bearer abc", write),
        Err(Denied::Lacks(Right::ChatWrite))
    );
    assert_eq!(check("Bearer ghi", Need::Token), Err(Denied::Expired));
    for unknown in ["Bearer abcd", "Bearer ab", "Bearer ABC"] {
        assert_eq!(check(unknown, read), Err(Denied::Unknown), "{unknown}");
    }
    let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
    for malformed in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer  abc",
        "Bearer abc ",
        "Basic abc",
        "abc",
        "Bearer a\u{e4}",
        &long,
    ] {
        assert_eq!(
            check(malformed, read),
            Err(Denied::Malformed),
            "{malformed}"
        );
    }
    assert_eq!(
        access.check(None, Need::Token).unwrap_err(),
        Denied::Missing
    );
}

#[test]
fn a_line_that_is_wrong_is_named_and_no_secret_quoted() {
    let good = line("anna", "abc", &["chat:read"], None);
    let wrong = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        std::fs::write(&file, text).unwrap();
        file::read(&file).unwrap_err()
    };
    let bad = |from: &str, to: &str| {
        wrong(&(good.clone() + "\n" + &good.replace("anna", "b").replace(from, to)))
    };
    for (error, part) in [
        (
            bad("chat:read", "chat:reed"),
            "unknown variant `chat:reed`, expected one of `chat:read`",
        ),
        (bad("\"b\"", "\"b c\""), "name: 1 to 64"),
        (
            bad("\"sha256\":\"", "\"sha256\":\"0"),
            "sha256: 64 hexadecimal",
        ),
        (bad("\"sha256\"", "\"token\""), "unknown field `token`"),
        (bad("}", ",\"expires\":\"tomorrow\"}"), "expires: "),
        (bad("\"b\"", "\"b\" "), "the same name or sha256 as anna"),
        (
            bad("\"b\"", &format!("\"{}\"", "b".repeat(5000))),
            "longer than 4096",
        ),
        (bad("{", ""), "column"),
    ] {
        assert!(
            error.contains(": line 3: ") && error.contains(part),
            "{error}"
        );
        assert!(!error.contains(&file::hash(b"abc")), "{error}");
    }
    let many = |n| -> String {
        (0..n)
            .map(|n| line(&n.to_string(), &n.to_string(), &[], None))
            .collect()
    };
    assert!(wrong(&many(file::MAX_TOKENS + 1)).contains("line 1001: more than 1000"));
    assert!(wrong(&"\n".repeat(5_000_000)).contains("larger than"));
}

#[test]
fn what_runs_on_a_token_ends_with_it() {
    let expires = SystemTime::now() + Duration::from_millis(300);
    let [anna, bert, cleo] = ["anna", "bert", "cleo"].map(|name| line(name, name, &["*"], None));
    let dora = line("dora", "dora", &["*"], Some(expires));
    let (_folder, file, access) = open(&(anna.clone() + &bert + &cleo + &dora));
    let (sender, ends) = channel();
    let lease = |name: &'static str| {
        let need = Right::ChatRead.into();
        let grant = access
            .check(Some(format!("Bearer {name}").as_bytes()), need)
            .unwrap();
        let sender = sender.clone();
        access.lease(grant, move |error| sender.send((name, error)).unwrap())
    };
    let _leases = ["anna", "bert", "cleo", "dora"].map(lease);
    let (name, error) = ends.recv_timeout(WAIT).unwrap();
    assert_eq!((name, error.code), ("dora", Code::Unauthenticated));
    assert!(error.message.contains("has expired"), "{error}");
    // One that cannot be read changes nothing.
    let write = |text: &str| {
        let new = file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    let grant = access.check(Some(b"Bearer bert"), Need::Token).unwrap();
    write("{");
    crate::reload::read_again();
    let right = line("cleo", "cleo", &["chat:write"], None);
    write(&(anna + &right));
    let mut two = [0; 2].map(|_| ends.recv_timeout(WAIT).unwrap());
    two.sort_by_key(|(name, _)| *name);
    assert!(
        two.iter()
            .all(|(_, error)| error.code == Code::Unauthenticated)
    );
    assert!(
        two[0].0 == "bert" && two[0].1.message.contains("no such token"),
        "{two:?}"
    );
    assert!(
        two[1].0 == "cleo" && two[1].1.message.contains("chat:read"),
        "{two:?}"
    );
    assert_eq!(
        access.check_again(&grant, Need::Token).unwrap_err(),
        Denied::Unknown
    );
    // One that is gone already ends at once.
    let _late = access.lease(grant, move |error| sender.send(("late", error)).unwrap());
    assert_eq!(ends.recv_timeout(WAIT).unwrap().0, "late");
    assert!(ends.try_recv().is_err());
}
