//! The file of the database.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use errdefs::{Class, Code, Error, Result, ResultExt as _};
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, StorageBackend, StorageError};
use tokio_util::sync::CancellationToken;

/// Bytes of pages that are kept; the system keeps what was read too, and gives it back when others need the room.
const CACHE: usize = 8 << 20;

/// Opens the database at `path`, or makes one; reads all of it first where `thorough`. `broken` is cancelled when its
/// file cannot be read or written: the database takes nothing more then until it is opened again.
///
/// # Errors
/// [`Code::DataLoss`] where what is there is no database, or a damaged one.
pub fn open(path: &Path, thorough: bool, broken: CancellationToken) -> Result<Database> {
    // A reader of damaged pages may come to any conclusion.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let reserve = Reserve::at(path.with_extension("reserve"));
        let file = Watched { file: FileBackend::new(file)?, reserve, broken };
        let mut database = Builder::new().set_cache_size(CACHE).create_with_backend(file)?;
        if thorough && !database.check_integrity()? {
            tracing::warn!("the database `{}` was repaired", path.display());
        }
        Ok(database)
    }));
    let failed = || format!("failed to open `{}`", path.display());
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(e)) => Err(explain(e)).with_context(failed),
        Err(_) => Err(damage("its pages make no sense")).with_context(failed),
    }
}

/// Damage is what another database would not have; a disk that is full or fails is not.
fn explain(e: DatabaseError) -> Error {
    match e {
        DatabaseError::Storage(StorageError::Io(e))
            if !matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            Error::from(e)
        }
        DatabaseError::Storage(_) | DatabaseError::RepairAborted | DatabaseError::UpgradeRequired(_) => {
            damage(&e.to_string())
        }
        _ => Error::environment(e.to_string()),
    }
}

pub fn damage(what: &str) -> Error {
    Error::new(Class::Environment, Code::DataLoss, what.to_owned())
}

/// Room on the disk that is kept for the database: one that cannot write has to be opened again, and a full disk is no
/// reason for that.
#[derive(Debug)]
struct Reserve {
    path: PathBuf,
    is_there: AtomicBool,
}

impl Reserve {
    /// Bytes.
    const SIZE: u64 = 4 << 20;

    fn at(path: PathBuf) -> Self {
        let reserve = Reserve { path, is_there: AtomicBool::new(false) };
        reserve.take();
        reserve
    }

    /// Takes the room where others do not miss it.
    fn take(&self) {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let free = rustix::fs::statvfs(dir).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
        if free < 2 * Self::SIZE {
            return;
        }
        let taken =
            File::options().write(true).create(true).truncate(false).open(&self.path).and_then(|file| {
                let flags = rustix::fs::FallocateFlags::empty();
                Ok(rustix::fs::fallocate(&file, flags, 0, Self::SIZE)?)
            });
        match taken {
            Ok(()) => self.is_there.store(true, Ordering::Release),
            // What was taken of it is for others.
            Err(_) => drop(std::fs::remove_file(&self.path)),
        }
    }

    /// Gives the room away; false where it was gone.
    fn give(&self) -> bool {
        self.is_there.swap(false, Ordering::AcqRel) && std::fs::remove_file(&self.path).is_ok()
    }
}

fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Tells when the file fails.
#[derive(Debug)]
struct Watched {
    file: FileBackend,
    reserve: Reserve,
    broken: CancellationToken,
}

impl Watched {
    /// Writes, if need be into the reserve.
    fn write_anyway(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        match write() {
            Err(e) if is_full(&e) && self.reserve.give() => self.watch(write()),
            result => self.watch(result),
        }
    }

    fn watch<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|e| {
            if !self.broken.is_cancelled() {
                tracing::error!("the file of the database failed: {e}");
                self.broken.cancel();
            }
        })
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.watch(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.watch(self.file.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write_anyway(|| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.write_anyway(|| self.file.sync_data())?;
        if !self.reserve.is_there.load(Ordering::Acquire) {
            self.reserve.take();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_anyway(|| self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_write_that_finds_no_room_takes_the_reserve() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("metadata");
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
        let (reserve, broken) = (Reserve::at(path.with_extension("reserve")), CancellationToken::new());
        let file = Watched { file: FileBackend::new(file).expect("unlocked"), reserve, broken };
        let reserved = || std::fs::metadata(dir.path().join("metadata.reserve")).map(|m| m.blocks() * 512);
        assert_eq!(reserved().expect("it is there"), Reserve::SIZE);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let tries = Cell::new(0);
        let write_from = |first_good: u32| {
            tries.set(0);
            file.write_anyway(|| {
                tries.set(tries.get() + 1);
                if tries.get() < first_good { Err(full()) } else { Ok(()) }
            })
        };
        write_from(2).expect("room was made");
        assert!(reserved().is_err() && !file.broken.is_cancelled());
        // The next sync takes room again.
        file.sync_data().expect("synced");
        assert_eq!(reserved().expect("it is there"), Reserve::SIZE);
        write_from(3).expect_err("not enough room");
        assert!(file.broken.is_cancelled());
        assert_eq!(tries.get(), 2);
    }
}
