//! Which paths of a folder have to be sent so that some paths in it can be followed.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;

use fsutil::glob;

/// Resolves symlinks on the way to each path and gives every path that was stepped on, sorted, without those that lie
/// below another. Empty when the whole folder is needed. Last parts may hold wildcards. A link cannot lead out of
/// the folder: its top is the root.
pub(super) fn follow(root: &Path, paths: &[String]) -> io::Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for path in paths {
        step_through(root, path, &mut found)?;
    }
    Ok(without_children(found.into_iter().collect()))
}

/// Drops paths below the path before them; gives nothing when one path is the top.
pub(super) fn without_children(paths: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(paths.len());
    for path in paths {
        if path == "." {
            return Vec::new();
        }
        let below =
            |last: &String| path.strip_prefix(last.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if !out.last().is_some_and(below) {
            out.push(path);
        }
    }
    out
}

fn step_through(root: &Path, path: &str, found: &mut BTreeSet<String>) -> io::Result<()> {
    let path = clean("", path);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut current = String::new();
    for (at, part) in parts.iter().enumerate() {
        let dir = current.clone();
        if !current.is_empty() {
            current.push('/');
        }
        current.push_str(part);
        let targets = link_targets(root, &dir, part)?;
        let last = at + 1 == parts.len();
        if !targets.is_empty() || last {
            let seen = !found.insert(current.clone());
            let rest = parts[at + 1..].join("/");
            // What was stepped on before leads to nothing new, and may be a loop.
            if !seen {
                for target in &targets {
                    step_through(root, &format!("{target}/{rest}"), found)?;
                }
            }
            return Ok(());
        }
    }
    found.insert(".".to_owned());
    Ok(())
}

/// Where the links lead that `name` in `dir` stands for, from the top.
fn link_targets(root: &Path, dir: &str, name: &str) -> io::Result<Vec<String>> {
    if !has_wildcards(name) {
        return Ok(link_target(root, dir, name)?.into_iter().collect());
    }
    let entries = match std::fs::read_dir(root.join(dir)) {
        Err(e) if absent(&e) => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut targets = Vec::new();
    for entry in entries {
        let found = entry?.file_name();
        let Some(found) = found.to_str() else { continue };
        if glob::matches(name.as_bytes(), found.as_bytes()).unwrap_or(false) {
            targets.extend(link_target(root, dir, found)?);
        }
    }
    Ok(targets)
}

fn link_target(root: &Path, dir: &str, name: &str) -> io::Result<Option<String>> {
    match std::fs::read_link(root.join(dir).join(name)) {
        // A pattern could not name a path that is no text.
        Ok(target) => Ok(target.to_str().map(|target| clean(dir, target))),
        Err(e) if absent(&e) || e.kind() == ErrorKind::InvalidInput => Ok(None),
        Err(e) => Err(e),
    }
}

fn absent(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// `path` seen from `dir`, without `.`, `..` and a slash in front; `..` stops at the top.
fn clean(dir: &str, path: &str) -> String {
    let start = if path.starts_with('/') { "" } else { dir };
    let mut parts = Vec::new();
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn has_wildcards(name: &str) -> bool {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn check(paths: &[&str], expected: &[&str]) {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = dir.path();
        std::fs::create_dir_all(root.join("a/b")).expect("mkdir");
        std::fs::write(root.join("a/b/file"), "").expect("write");
        for (target, link) in [
            ("a/b", "dirlink"),
            ("/a/b/file", "abs"),
            ("../../abs", "a/b/up"),
            ("loop2", "loop1"),
            ("loop1", "loop2"),
            ("../../../../etc", "out"),
            ("nowhere", "dangling"),
            (".", "self"),
        ] {
            symlink(target, root.join(link)).expect("symlink");
        }
        let paths: Vec<_> = paths.iter().map(|p| (*p).to_owned()).collect();
        assert_eq!(follow(root, &paths).expect("reads"), expected, "{paths:?}");
    }

    #[test]
    fn links_are_followed_inside_the_folder() {
        check(&["a/b/file"], &["a/b/file"]);
        check(&["/a/b/file"], &["a/b/file"]);
        check(&["missing"], &["missing"]);
        check(&["abs"], &["a/b/file", "abs"]);
        check(&["dirlink/file"], &["a/b/file", "dirlink"]);
        check(&["dirlink/up"], &["a/b/file", "a/b/up", "abs", "dirlink"]);
        check(&["loop1"], &["loop1", "loop2"]);
        check(&["out/passwd"], &["etc/passwd", "out"]);
        check(&["dangling"], &["dangling", "nowhere"]);
        check(&["a", "a/b"], &["a"]);
        check(&["."], &[]);
        check(&["self"], &[]);
        check(&["ab*"], &["a/b/file", "ab*"]);
        check(&["a/*"], &["a/*"]);
        check(&["nodir/*"], &["nodir/*"]);
    }
}
