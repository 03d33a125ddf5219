//! The content of one file into another.

use std::fs::File;
use std::io;

use rustix::fs::ioctl_ficlone;
use rustix::io::Errno;

/// Copies all of `from` to the start of the empty file `to`: by sharing blocks where the file system can, else inside
/// the kernel, else through a buffer. Holes stay holes only in the first case.
pub fn copy_content(from: &File, to: &File) -> io::Result<u64> {
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(from.metadata()?.len());
    }
    let mut copied = 0;
    loop {
        match rustix::fs::copy_file_range(from, None, to, None, 1 << 30) {
            Ok(0) => return Ok(copied),
            Ok(n) => copied += n as u64,
            Err(Errno::INTR) => {}
            // What the kernel cannot copy between these two file systems.
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM) if copied == 0 => {
                return io::copy(&mut &*from, &mut &*to);
            }
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_copy_has_the_bytes() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let mut from = File::create(&a).expect("create");
        from.write_all(&[7; 100_000]).expect("write");
        let copied = copy_content(&File::open(&a).expect("open"), &File::create(&b).expect("create"));
        assert_eq!(copied.ok(), Some(100_000));
        assert_eq!(std::fs::read(&b).expect("read"), vec![7; 100_000]);
    }
}
