//! File systems of a test's own, in a file of the machine.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::harness::{Folder, output_of, run_tool, tool};

/// A file system that is mounted, and gone with the value, also after a panic.
pub struct Disk {
    folder: Folder,
    device: Device,
}

enum Device {
    /// A loop device on a file.
    Image(PathBuf),
    Memory,
}

impl Disk {
    /// An ext4 of `mib` MiB, made by `mkfs.ext4` with further arguments.
    pub fn ext4(mib: u64, args: &[&str]) -> Self {
        let folder = Folder::new(&[("mnt/", "")]);
        let image = folder.join("image");
        File::create(&image).expect("made").set_len(mib << 20).expect("room");
        run_tool(tool("mkfs.ext4").args(["-q", "-F", "-m", "0"]).args(args).arg(&image), b"");
        let disk = Disk { folder, device: Device::Image(image) };
        disk.mount();
        disk
    }

    /// One in memory, with these options of tmpfs.
    pub fn memory(options: &str) -> Self {
        let disk = Disk { folder: Folder::new(&[("mnt/", "")]), device: Device::Memory };
        run_tool(tool("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(disk.path()), b"");
        disk
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join("mnt")
    }

    /// A place for a store on it.
    pub fn store(&self) -> PathBuf {
        let store = self.path().join("store");
        std::fs::create_dir_all(&store).expect("made");
        store
    }

    pub fn image(&self) -> &Path {
        match &self.device {
            Device::Image(image) => image,
            Device::Memory => panic!("it has no image"),
        }
    }

    pub fn mount(&self) {
        run_tool(tool("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()), b"");
    }

    pub fn remount(&self, options: &str) {
        run_tool(tool("mount").args(["-o", &format!("remount,{options}")]).arg(self.path()), b"");
    }

    pub fn unmount(&self) {
        run_tool(tool("umount").arg(self.path()), b"");
    }

    /// The disk behind the first so many MiB can be read no more, and what the machine remembers of a file is forgotten.
    pub fn lose_end(&self, mib: u64, file: &Path) {
        let file = File::open(file).expect("opened");
        rustix::fs::syncfs(&file).expect("synced");
        File::options().write(true).open(self.image()).expect("opened").set_len(mib << 20).expect("cut");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("forgotten");
    }

    /// Gives the disk its size again; what was lost reads as zeros.
    pub fn find_end(&self, mib: u64) {
        File::options().write(true).open(self.image()).expect("opened").set_len(mib << 20).expect("grown");
    }

    /// As if the power went: what was not flushed is lost, and nothing can be written any more.
    pub fn cut(&self) {
        // EXT4_IOC_SHUTDOWN, with EXT4_GOING_FLAGS_NOLOGFLUSH (fs/ext4/ext4.h).
        const SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
        const NO_LOG_FLUSH: u32 = 2;
        let dir = File::open(self.path()).expect("opened");
        // SAFETY: the kernel reads a u32 behind the pointer, which the setter holds.
        let done =
            unsafe { rustix::ioctl::ioctl(&dir, rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) };
        done.expect("cut off");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A mount that is there no more is no fault here.
        let _ = output_of(tool("umount").arg("-l").arg(self.path()), b"");
    }
}
