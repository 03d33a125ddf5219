//! One engine to a store.

use std::fs::File;
use std::path::Path;

use errdefs::{Class, Code, Error, Result, ResultExt};
use rustix::fs::{FlockOperation, flock};

/// The number of the store's format. A store of a higher number is left alone.
const FORMAT: u32 = 1;

/// Holds the store for as long as it lives.
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Takes the store at `root`, making it where it is not there.
pub fn take(root: &Path) -> Result<Lock> {
    std::fs::create_dir_all(root)
        .with_context(|| format!("failed to make the store `{}`", root.display()))?;
    let path = root.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("failed to open `{}`", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Error::new(
            Class::Environment,
            Code::FailedPrecondition,
            format!("could not lock `{}`, another engine is running on this store", path.display()),
        )
        .hint("`kiln engine status` tells which; `kiln engine stop` ends it")
    })?;
    check_format(root)?;
    Ok(Lock(file))
}

fn check_format(root: &Path) -> Result<()> {
    let path = root.join("format-version");
    match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => std::fs::write(&path, format!("{FORMAT}\n"))
            .with_context(|| format!("failed to write `{}`", path.display())),
        Err(e) => Err(Error::from(e).context(format!("failed to read `{}`", path.display()))),
        Ok(text) if text.trim() == FORMAT.to_string() => Ok(()),
        Ok(text) => Err(Error::environment(format!(
            "the store `{}` has format {}, this version of kiln reads format {FORMAT}",
            root.display(),
            text.trim()
        ))
        .hint("use the version of kiln that made it, or another store with `--root`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_engine_is_turned_away() {
        let dir = tempfile::tempdir().expect("temp dir");
        let first = take(dir.path()).expect("free");
        let e = take(dir.path()).err().expect("taken");
        assert!(e.to_string().contains("another engine"), "{e}");
        drop(first);
        take(dir.path()).expect("free again");
    }

    #[test]
    fn a_newer_store_is_left_alone() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::write(dir.path().join("format-version"), "99\n").expect("write");
        let e = take(dir.path()).err().expect("too new");
        assert!(e.to_string().contains("format 99"), "{e}");
    }
}
