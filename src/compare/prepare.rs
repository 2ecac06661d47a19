//! Makes what the peers need: the Python environment with pinned versions, and
//! the tonic server. Everything is made from files that this program carries, so
//! that it works without a checkout too.

use std::fs;
use std::io;
use std::path::PathBuf;
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
    let venv = folder.join("venv");
    let python = options.python.clone().unwrap_or(venv.join("bin/python"));
    if options.python.is_none() {
        let mut install = Command::new("sh");
        install.arg(folder.join("docker/install.sh"));
        install.arg("python").arg(&venv);
        run(install, "preparing the Python environment")?;
    }
    if options.tonic {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--locked", "--manifest-path"]);
        cargo.arg(folder.join("tests/peers/tonic/Cargo.toml"));
        cargo.env("CARGO_TARGET_DIR", folder.join("target"));
        run(cargo, "building the tonic server (needs cargo)")?;
    }
    let tonic = folder.join("target/release/tonic-peer");
    Ok(Toolbox {
        messenger: std::env::current_exe()?,
        python,
        scripts: folder.join("tests/reference"),
        tonic: options.tonic.then_some(tonic),
    })
}

fn run(mut command: Command, what: &str) -> io::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(io::Error::other(format!("{what}: {status}"))),
        Err(error) => Err(io::Error::other(format!("{what}: {error}"))),
    }
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
