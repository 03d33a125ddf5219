//! Puts what is damaged out of the way.

use std::io;
use std::path::{Path, PathBuf};

/// Moves a file or folder into the folder `aside`, which is on the same file system and is made where it is not there,
/// under `name` or, where that is taken, with a number behind it. Gives its new place.
pub fn set_aside(path: &Path, aside: &Path, name: &str) -> io::Result<PathBuf> {
    std::fs::create_dir_all(aside)?;
    for number in 0.. {
        let to = aside.join(if number == 0 { name.to_owned() } else { format!("{name}.{number}") });
        // A rename would replace what is there.
        if to.symlink_metadata().is_err() {
            std::fs::rename(path, &to)?;
            return Ok(to);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let aside = dir.path().join("damaged");
        for (text, name) in [("a", "x"), ("b", "x.1"), ("c", "x.2")] {
            let file = dir.path().join("file");
            std::fs::write(&file, text).expect("written");
            assert_eq!(set_aside(&file, &aside, "x").expect("moved"), aside.join(name));
            assert_eq!(std::fs::read_to_string(aside.join(name)).expect("there"), text);
        }
        assert!(set_aside(&dir.path().join("none"), &aside, "y").is_err());
    }
}
