//! Paths of images for Windows. Inside a graph all paths have slashes and no drive letter.

use dockerfile::{Error, Result};

use crate::path::clean;

pub(crate) const OS: &str = "windows";

/// `C:\a\b\` becomes `/a/b/`, and `a\b` becomes `a/b`.
///
/// # Errors
/// For paths that are not on the drive of the system.
pub(crate) fn to_slashes(path: &str) -> Result<String> {
    let slashed = path.replace('\\', "/");
    if slashed.len() == 2 && slashed.ends_with(':') {
        return Err(Error::new(format!("No relative path specified in {}", dockerfile::go::quote(path))));
    }
    if slashed.starts_with("//") {
        return Err(Error::new("UNC paths are not supported"));
    }
    let rest = match slashed.split_once(':') {
        None => slashed.as_str(),
        Some((drive, rest)) if drive.eq_ignore_ascii_case("c") => rest,
        Some(_) => return Err(Error::new("The specified path is not on the system drive (C:)")),
    };
    let mut out = clean(rest);
    if rest.ends_with('/') && !out.ends_with('/') {
        out.push('/');
    }
    Ok(out)
}

/// As programs there want to see it.
pub(crate) fn from_slashes(path: &str) -> String {
    path.replace('/', "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drive_and_backslashes_go_away() {
        let check = |path, expected| assert_eq!(to_slashes(path).expect(path), expected, "{path}");
        check(r"C:\a\b", "/a/b");
        check(r"c:\a\", "/a/");
        check("C:a", "a");
        check(r"a\..\b", "b");
        check("/a//b/", "/a/b/");
        check(r"\", "/");
        check("", ".");
    }

    #[test]
    fn other_drives_are_refused() {
        let check =
            |path, expected| assert_eq!(to_slashes(path).expect_err(path).to_string(), expected, "{path}");
        check(r"D:\a", "The specified path is not on the system drive (C:)");
        check("C:", r#"No relative path specified in "C:""#);
        check(r"\\host\share", "UNC paths are not supported");
    }
}
