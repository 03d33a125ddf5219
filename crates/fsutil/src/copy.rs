//! The content of one regular file into another, at the price that the file system asks.

use std::fs::File;
use std::io;

use rustix::fs::{SeekFrom, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::Errno;

/// How much is asked for in one call; a signal or a cancelled build waits no longer than that.
const STEP: usize = 64 << 20;

/// Makes the empty file `to` equal to `from` and gives the length. Blocks are shared where the file system can
/// (FICLONE), else the kernel copies, else this process does. Holes stay holes.
pub fn copy_content(from: &File, to: &File) -> io::Result<u64> {
    let len = from.metadata()?.len();
    if len == 0 || ioctl_ficlone(to, from).is_ok() {
        return Ok(len);
    }
    let mut at = 0;
    while at < len {
        let Some((start, end)) = next_data(from, at, len)? else { break };
        copy_range(from, to, start, end)?;
        at = end;
    }
    ftruncate(to, len)?;
    Ok(len)
}

/// The next stretch with data, from `at`; `None` where only a hole is left.
fn next_data(file: &File, at: u64, len: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A file system that does not tell.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, len))),
        Err(e) => return Err(e.into()),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    Ok((start < len).then_some((start, end.min(len))))
}

fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let want = usize::try_from(end - read_at).unwrap_or(STEP).min(STEP);
        match copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), want) {
            // The file became shorter while it was read.
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM | Errno::BADF) => {
                return copy_by_hand(from, to, read_at, end);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; 256 << 10];
    let mut at = start;
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(buffer.len()).min(buffer.len());
        match from.read_at(&mut buffer[..want], at) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                to.write_all_at(&buffer[..n], at)?;
                at += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::unix::fs::{FileExt, MetadataExt};

    fn check(fill: impl Fn(&mut File), copy: impl Fn(&File, &File)) -> (File, File) {
        let (mut from, mut to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        fill(&mut from);
        copy(&from, &to);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        from.rewind().unwrap();
        to.rewind().unwrap();
        from.read_to_end(&mut a).unwrap();
        to.read_to_end(&mut b).unwrap();
        assert!(a == b);
        (from, to)
    }

    fn whole(from: &File, to: &File) {
        assert_eq!(copy_content(from, to).unwrap(), from.metadata().unwrap().len());
    }

    #[test]
    fn copies_what_is_there() {
        check(|_| (), whole);
        check(|f| f.write_all(b"some text").unwrap(), whole);
        check(|f| f.write_all(&vec![7; 3 << 20]).unwrap(), whole);
    }

    #[test]
    fn copies_by_hand() {
        check(|f| f.write_all(&vec![7; 700_001]).unwrap(), |a, b| copy_by_hand(a, b, 0, 700_001).unwrap());
    }

    #[test]
    fn holes_stay_holes() {
        let (_, to) = check(
            |f| {
                f.write_all_at(b"x", 8 << 20).unwrap();
                f.set_len(16 << 20).unwrap();
            },
            whole,
        );
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
    }
}
