//! A small disk of a service's own that can be filled.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// A tmpfs. Mounting it takes an administrator: without one there is a folder that
/// is never full.
pub struct Disk {
    folder: tempfile::TempDir,
    mounted: bool,
}

impl Disk {
    pub fn new(mebibytes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]);
        let mounted = mount.arg(folder.path()).output();
        let mounted = mounted.is_ok_and(|mount| mount.status.success());
        Self { folder, mounted }
    }

    /// Says so when it cannot.
    pub fn can_be_filled(&self) -> bool {
        if !self.mounted {
            println!("no full disk: a tmpfs cannot be mounted here");
        }
        self.mounted
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no room, or makes it again.
    pub fn fill(&self, full: bool) {
        let filler = self.path().join("filler");
        if !full {
            let _ = fs::remove_file(filler);
            return;
        }
        let mut file = File::create(filler).expect("a file");
        for piece in [&[1; 1 << 16][..], &[1; 1 << 9]] {
            while file.write_all(piece).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: a program that still has a file open does not keep it.
            let _ = Command::new("umount").arg("-l").arg(self.path()).output();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_until_there_is_room_again() {
        let disk = Disk::new(1);
        if !disk.can_be_filled() {
            return;
        }
        let write = || fs::write(disk.path().join("file"), [0; 8192]);
        write().unwrap();
        fs::remove_file(disk.path().join("file")).unwrap();
        disk.fill(true);
        write().unwrap_err();
        disk.fill(false);
        write().unwrap();
    }
}
