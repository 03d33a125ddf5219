//! A file system for one run of one builder.
//!
//! ext4 does not use the inodes of deleted files again for some minutes and looks past each of them at every file that
//! is made, so a builder would pay for the store that the one before it left and we removed. Each run gets a fresh
//! file system instead, on a loop device that passes the page cache by: what is written twice would be paid for twice.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::run;

/// Bytes that a run may fill. The image is sparse.
const SIZE: u64 = 40 << 30;

/// A mounted file system. Dropped, it is gone.
pub struct Disk {
    image: PathBuf,
    device: String,
    mount: PathBuf,
}

impl Disk {
    pub fn new(work: &Path) -> Result<Self> {
        let (image, mount) = (work.join("disk.img"), work.join("disk"));
        let mut disk = Disk { image, device: String::new(), mount };
        std::fs::create_dir_all(&disk.mount)?;
        std::fs::File::create(&disk.image)?.set_len(SIZE)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "nodiscard"]).arg(&disk.image))?;
        // A lazy start would write inode tables in the background, during whatever is measured.
        let mut setup = Command::new("losetup");
        setup.args(["--find", "--show", "--direct-io=on"]).arg(&disk.image);
        disk.device = String::from_utf8(setup.output()?.stdout)?.trim().to_owned();
        let options = "noinit_itable,noatime";
        run(Command::new("mount").args(["-o", options, &disk.device]).arg(&disk.mount))?;
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Bytes in use, of what was synced.
    pub fn used(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.mount)?;
        Ok((stat.f_blocks - stat.f_bfree) * stat.f_frsize)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A step's mount may take a moment to go after its engine.
        for _ in 0..50 {
            if run(Command::new("umount").arg(&self.mount)).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let _ = run(Command::new("losetup").args(["--detach", &self.device]));
        let _ = std::fs::remove_file(&self.image);
    }
}
