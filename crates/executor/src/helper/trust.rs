//! A certificate that a container trusts while it runs: it stands at the end of the file of authorities that the
//! container's programs read, and is gone from it when the container has ended.
//!
//! The file itself is changed, rather than covered by a mount, since programs that renew it put another one in its
//! place. The marks around the certificate are BuildKit's.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Timespec, Timestamps};

use super::places;

/// Where distributions keep their authorities: Debian and Alpine, Fedora, SUSE, OpenELEC, RHEL, and Alpine again.
const FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Bytes of such a file, at most: whatever is larger is none.
const LIMIT: u64 = 10 << 20;

/// What was added where.
pub(super) struct Trust {
    file: PathBuf,
    block: Vec<u8>,
}

impl Trust {
    /// Adds a certificate in PEM to the first of the files that is there. Nothing where none is, as in an image without
    /// programs that could read it, or where the root is not to be written.
    pub fn add(root: BorrowedFd<'_>, certificate: &str) -> io::Result<Option<Trust>> {
        let found = FILES.iter().filter_map(|file| places::resolve(root, Path::new(file)).ok());
        let found = found
            .into_iter()
            .find(|file| matches!(places::kind(root, file), Ok(Some(FileType::RegularFile))));
        let Some(file) = found else { return Ok(None) };
        let block =
            format!("\n# buildkit proxy CA begin\n{}\n# buildkit proxy CA end\n", certificate.trim_end());
        let block = block.into_bytes();
        let mut open = match places::open(root, &file, OFlags::RDWR | OFlags::APPEND) {
            Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => return Ok(None),
            open => File::from(open?),
        };
        let before = open.metadata()?;
        if before.len() > LIMIT {
            return Ok(None);
        }
        open.write_all(&block)?;
        set_time(&open, &before)?;
        Ok(Some(Trust { file, block }))
    }

    /// Takes it out again. What the step did to the file besides stays.
    pub fn take_back(self, root: BorrowedFd<'_>) -> io::Result<()> {
        let mut open = match places::open(root, &self.file, OFlags::RDWR | OFlags::NONBLOCK) {
            // The step removed it, or put a link in its place.
            Err(e) if e.kind() == io::ErrorKind::NotFound || is_link(&e) => return Ok(()),
            open => File::from(open?),
        };
        let before = open.metadata()?;
        if !before.is_file() || before.len() > 2 * LIMIT {
            return Ok(());
        }
        let mut text = Vec::new();
        open.read_to_end(&mut text)?;
        let Some(at) = text.windows(self.block.len()).position(|window| window == self.block) else {
            return Ok(());
        };
        open.seek(io::SeekFrom::Start(at as u64))?;
        open.write_all(&text[at + self.block.len()..])?;
        open.set_len((text.len() - self.block.len()) as u64)?;
        set_time(&open, &before)
    }
}

fn is_link(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR))
}

fn set_time(file: &File, to: &std::fs::Metadata) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: to.atime(), tv_nsec: to.atime_nsec() as _ },
        last_modification: Timespec { tv_sec: to.mtime(), tv_nsec: to.mtime_nsec() as _ },
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use super::*;

    const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

    /// `act` is what the step does with the file; given is what it held before, and what it holds in the end.
    fn check(act: impl FnOnce(&Path), before: &str, after: Option<&str>) {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join(BUNDLE);
        fs::create_dir_all(file.parent().expect("a parent")).expect("mkdir");
        fs::write(&file, before).expect("write");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        File::options().write(true).open(&file).and_then(|f| f.set_modified(time)).expect("utimes");
        let root = File::open(dir.path()).expect("open");
        let trust = Trust::add(root.as_fd(), "CERT\n").expect("added").expect("a file");
        let seen = fs::read_to_string(&file).expect("read");
        assert_eq!(seen, format!("{before}\n# buildkit proxy CA begin\nCERT\n# buildkit proxy CA end\n"));
        act(&file);
        trust.take_back(root.as_fd()).expect("taken back");
        assert_eq!(fs::read_to_string(&file).ok().as_deref(), after);
        if after == Some(before) {
            assert_eq!(fs::metadata(&file).and_then(|m| m.modified()).expect("stat"), time);
        }
    }

    #[test]
    fn what_was_added_goes_and_what_the_step_did_stays() {
        check(|_| (), "authorities", Some("authorities"));
        check(|_| (), "", Some(""));
        check(|file| fs::write(file, "others").expect("write"), "authorities", Some("others"));
        check(|file| fs::remove_file(file).expect("rm"), "authorities", None);
        let more = |file: &Path| {
            File::options().append(true).open(file).and_then(|mut f| f.write_all(b"more")).expect("write")
        };
        check(more, "authorities", Some("authoritiesmore"));
        let moved = |file: &Path| {
            fs::rename(file, file.with_extension("old")).expect("mv");
            symlink("ca-certificates.old", file).expect("ln");
        };
        check(moved, "x", Some("x\n# buildkit proxy CA begin\nCERT\n# buildkit proxy CA end\n"));
    }

    #[test]
    fn a_root_without_authorities_gets_none() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = File::open(dir.path()).expect("open");
        assert!(Trust::add(root.as_fd(), "CERT").expect("no fault").is_none());
        assert_eq!(fs::read_dir(dir.path()).expect("ls").count(), 0);
    }
}
