//! A small disk that can be filled.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A folder on a disk of its own (a tmpfs), if one may be mounted.
pub struct Disk {
    folder: TempDir,
    mebibytes: usize,
    is_small: bool,
}

impl Disk {
    pub fn new(mebibytes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]);
        let mounted = mount.arg(folder.path()).output();
        let is_small = mounted.is_ok_and(|it| it.status.success());
        if !is_small {
            println!("no small disk may be mounted: it is not filled in this run");
        }
        Self {
            folder,
            mebibytes,
            is_small,
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it, and makes room again.
    pub fn fault(&self) -> Option<impl FnMut(bool) + Send + use<>> {
        let ballast = self.path().join("ballast");
        let size = self.mebibytes << 20;
        self.is_small.then_some(move |begins| {
            // What fails is that the disk is full.
            let _ = match begins {
                true => fs::write(&ballast, vec![0; size]),
                false => fs::remove_file(&ballast),
            };
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_small {
            let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_until_there_is_room_again() {
        let disk = Disk::new(1);
        let Some(mut full) = disk.fault() else {
            return;
        };
        let write = || fs::write(disk.path().join("file"), [0; 8192]);
        write().unwrap();
        fs::remove_file(disk.path().join("file")).unwrap();
        full(true);
        write().unwrap_err();
        full(false);
        write().unwrap();
    }
}
