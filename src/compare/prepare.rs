//! Makes what the peers need: the Python environment with pinned versions, and
//! the tonic server. Everything is made from files that this program carries, so
//! that it works without a checkout too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::peer::Toolbox;

/// A file of this repository, by its path in it.
macro_rules! carried {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../", $path)))),+]
    };
}

/// Same paths as in the repository, since `install.sh` goes by them.
const CARRIED: &[(&str, &str)] = carried![
    "docker/install.sh",
    "proto/messenger.proto",
    "proto/todo.proto",
    "proto/fin.proto",
    "proto/message_service.proto",
    "tests/reference/chat_client.py",
    "tests/reference/chat_server.py",
    "tests/reference/requirements.txt",
    "tests/peers/tonic/Cargo.lock",
    "tests/peers/tonic/Cargo.toml",
    "tests/peers/tonic/build.rs",
    "tests/peers/tonic/src/main.rs",
];

/// What to prepare, and where.
pub struct Options {
    /// Kept for the next time.
    pub folder: PathBuf,
    /// An interpreter that has all packages and stubs already.
    pub python: Option<PathBuf>,
    pub tonic: bool,
}

/// Prepares it. What is there from an earlier time is taken. The tools write to
/// standard error what they do.
///
/// # Errors
/// What is missing, and how to get it.
pub fn prepare(options: &Options) -> io::Result<Toolbox> {
    let folder = std::path::absolute(&options.folder)?;
    for (path, content) in CARRIED {
        let path = folder.join(path);
        // Unchanged files keep their time, or cargo would build again.
        if fs::read_to_string(&path).ok().as_deref() != Some(content) {
            fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            fs::write(&path, content)?;
        }
    }
    let python = match &options.python {
        Some(python) => python.clone(),
        None => python(&folder)?,
    };
    let tonic = options.tonic.then(|| tonic(&folder)).transpose()?;
    Ok(Toolbox {
        python,
        scripts: folder.join("tests/reference"),
        tonic,
        ..Toolbox::default()
    })
}

fn python(folder: &Path) -> io::Result<PathBuf> {
    let venv = folder.join("venv");
    let mut command = Command::new("sh");
    command
        .arg(folder.join("docker/install.sh"))
        .arg("python")
        .arg(&venv);
    run(command, "preparing the Python environment")?;
    Ok(venv.join("bin/python"))
}

fn tonic(folder: &Path) -> io::Result<PathBuf> {
    let target = folder.join("target");
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--locked", "--manifest-path"]);
    command.arg(folder.join("tests/peers/tonic/Cargo.toml"));
    command.env("CARGO_TARGET_DIR", &target);
    run(command, "building the tonic server (needs cargo)")?;
    Ok(target.join("release/tonic-peer"))
}

fn run(mut command: Command, what: &str) -> io::Result<()> {
    let failed = |why: &dyn std::fmt::Display| io::Error::other(format!("{what}: {why}"));
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.map_err(|error| failed(&error))?;
    if status.success() {
        return Ok(());
    }
    Err(failed(&status))
}

/// The version of a crate in the tonic server's Cargo.lock.
pub fn tonic_version() -> &'static str {
    let lock = include_str!("../../tests/peers/tonic/Cargo.lock");
    let entry = lock.split("name = \"tonic\"\nversion = \"").nth(1);
    let version = entry.and_then(|entry| entry.split('"').next());
    version.unwrap_or("of unknown version")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tonic_version_is_found() {
        assert!(super::tonic_version().starts_with("0."));
    }
}
