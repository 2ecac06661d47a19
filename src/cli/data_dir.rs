//! Where a service keeps its files.

use std::path::PathBuf;

use etcetera::BaseStrategy as _;

use super::Error;

const NO_HOME: &str = "there is no HOME for the files: name a folder with --data-dir";

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
        let folders = etcetera::base_strategy::Xdg::new().map_err(|_| NO_HOME)?;
        let state = folders.state_dir().ok_or(NO_HOME)?;
        Ok(state.join("messenger"))
    }
}
