//! One engine to a store.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use errdefs::{Class, Code, Error, Result, ResultExt};
use rustix::fs::{FlockOperation, flock};

/// The number of the store's format. A store of another number is left alone.
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
    let text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.with_context(|| format!("failed to read `{}`", path.display()))?,
    };
    // A power cut may leave an empty file of a store that was just begun.
    if text.trim_matches(['\0', '\n']).is_empty() {
        return write_format(root, &path).with_context(|| format!("failed to write `{}`", path.display()));
    }
    let there: Option<u32> = text.trim().parse().ok();
    let age = match there {
        Some(FORMAT) => return Ok(()),
        Some(there) if there > FORMAT => ", which a newer version of kiln made",
        Some(_) => ", which an older version of kiln made",
        None => "",
    };
    Err(Error::environment(format!(
        "the store `{}` has format {}{age}; this version of kiln reads format {FORMAT}",
        root.display(),
        text.trim()
    ))
    .with_code(Code::FailedPrecondition)
    .hint("use the version of kiln that made it, another store with `--root`, or remove the folder"))
}

/// Comes before all else in a store, so that no part of it is ever without a number.
fn write_format(root: &Path, path: &Path) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(root)?.sync_all()
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
    fn stores_of_other_formats_are_left_alone() {
        let check = |content: &str, told: Option<&str>| {
            let dir = tempfile::tempdir().expect("temp dir");
            let file = dir.path().join("format-version");
            std::fs::write(&file, content).expect("write");
            let error = take(dir.path()).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(
                error.contains(told.unwrap_or_default()) && error.is_empty() == told.is_none(),
                "{error}"
            );
            let expected = if told.is_none() { "1\n" } else { content };
            assert_eq!(std::fs::read_to_string(&file).expect("there"), expected);
        };
        check("1\n", None);
        check(
            "99\n",
            Some("has format 99, which a newer version of kiln made; this version of kiln reads format 1"),
        );
        check("0\n", Some("has format 0, which an older version of kiln made"));
        check("x", Some("has format x;"));
        // What a power cut leaves.
        check("", None);
        check("\0\0", None);
    }
}
