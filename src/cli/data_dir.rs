//! Where a service keeps its files.

use std::path::PathBuf;

use super::Error;

#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// Folder for the files of services [default: messenger in the XDG state folder]
    #[arg(long, env = "MESSENGER_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Args {
    /// The folder that was given, or `messenger` in `$XDG_STATE_HOME`, which is
    /// `~/.local/state` if it is not set.
    /// Source: <https://specifications.freedesktop.org/basedir-spec/latest/>
    ///
    /// # Errors
    /// Neither given nor any home.
    pub fn folder(&self) -> Result<PathBuf, Error> {
        if let Some(folder) = &self.data_dir {
            return Ok(folder.clone());
        }
        let absolute = |name| {
            let folder = std::env::var_os(name).map(PathBuf::from);
            folder.filter(|folder| folder.is_absolute())
        };
        let home = || absolute("HOME").map(|home| home.join(".local/state"));
        let state = absolute("XDG_STATE_HOME").or_else(home);
        let state = state.ok_or("there is no HOME for the files: name a folder with --data-dir")?;
        Ok(state.join("messenger"))
    }
}
