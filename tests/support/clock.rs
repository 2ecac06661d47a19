//! Clocks that step, by libfaketime.

use std::path::Path;
use std::process::Command;

use super::need;

/// Where Debian puts it.
fn library() -> String {
    let machine = Command::new("uname").arg("-m").output().unwrap().stdout;
    let machine = String::from_utf8(machine).unwrap();
    let file = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        machine.trim()
    );
    need(&format!("libfaketime ({file})"), Path::new(&file).exists());
    file
}

/// A clock as far from the true one as its file says, and what makes a program
/// believe it.
pub struct Clock {
    folder: tempfile::TempDir,
}

impl Clock {
    pub fn new(offset: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL runs as another user.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let clock = Self { folder };
        clock.step(offset);
        clock
    }

    fn file(&self) -> String {
        self.folder
            .path()
            .join("offset")
            .to_str()
            .unwrap()
            .to_owned()
    }

    pub fn step(&self, offset: &str) {
        // In one step: it may be read at any time.
        let new = self.folder.path().join("new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", self.file()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("FAKETIME_DONT_RESET", "1".into()),
        ]
    }
}

pub fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}
