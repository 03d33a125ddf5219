//! The order of a listing, and the check that a peer keeps to it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use errdefs::{Error, Result};

use crate::files::stat::{Kind, Stat};

/// Byte order in which `/` comes before every other byte, so that a folder is followed at once by what it holds.
pub fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
    let differs = a.iter().zip(b).position(|(x, y)| x != y);
    match differs.map(|i| (a[i], b[i])) {
        None => a.len().cmp(&b.len()),
        Some((b'/', _)) => Ordering::Less,
        Some((_, b'/')) => Ordering::Greater,
        Some((x, y)) => x.cmp(&y),
    }
}

/// Refuses listings that are out of order, climb out, lack a parent folder or link to what was not listed.
#[derive(Default)]
pub(crate) struct Checker {
    /// Open folders from the top down: the length of their path, and the last name seen in them.
    dirs: Vec<Open>,
    path: Vec<u8>,
    top: Vec<u8>,
    /// Hashes of the files that a hard link may name; the hasher's key is secret, so a peer cannot aim for a clash.
    files: HashSet<u64>,
    hasher: RandomState,
}

struct Open {
    len: usize,
    last: Vec<u8>,
}

impl Checker {
    pub(crate) fn check(&mut self, stat: &Stat) -> Result<()> {
        let path = &stat.path;
        if !is_clean(path) {
            return Err(refuse("unclean path", path));
        }
        let (dir, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&b""[..], &path[..]),
        };
        while self.dirs.last().is_some_and(|open| !is_within(dir, &self.path[..open.len])) {
            self.dirs.pop();
        }
        let depth = self.dirs.last().map_or(0, |open| open.len);
        if depth != dir.len() {
            return Err(refuse("changes out of order", path));
        }
        let last = self.dirs.last_mut().map_or(&mut self.top, |open| &mut open.last);
        if !last.is_empty() && last.as_slice() >= name {
            return Err(refuse("changes out of order", path));
        }
        last.clear();
        last.extend_from_slice(name);
        if stat.is_dir() {
            self.path.clear();
            self.path.extend_from_slice(path);
            self.dirs.push(Open { len: path.len(), last: Vec::new() });
        }
        self.check_link(stat)
    }

    fn check_link(&mut self, stat: &Stat) -> Result<()> {
        if matches!(stat.kind(), Kind::Dir | Kind::Symlink) {
            return Ok(());
        }
        if stat.linkname.is_empty() {
            self.files.insert(self.hasher.hash_one(&stat.path));
        } else if !self.files.contains(&self.hasher.hash_one(&stat.linkname)) {
            let (path, target) = (stat.path.escape_ascii(), stat.linkname.escape_ascii());
            return Err(Error::user(format!("invalid link `{path}` to unknown path `{target}`")));
        }
        Ok(())
    }
}

fn is_within(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn is_clean(path: &[u8]) -> bool {
    !path.contains(&0) && path.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

fn refuse(why: &str, path: &[u8]) -> Error {
    Error::user(format!("invalid file listing: {why}: `{}`", path.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stat(text: &str) -> Stat {
        let (path, link) = text.split_once('=').unwrap_or((text, ""));
        let dir = path.ends_with(':');
        let path = path.trim_end_matches(':');
        let mode = if dir { 0o040_755 } else { 0o100_644 };
        Stat { path: path.into(), mode, linkname: link.into(), ..Default::default() }
    }

    fn check(listing: &str, fails_at: Option<&str>) {
        let mut checker = Checker::default();
        let bad = listing.split_whitespace().find(|text| checker.check(&stat(text)).is_err());
        assert_eq!(bad, fails_at, "{listing}");
    }

    #[test]
    fn listings() {
        check("a: a/b a/c: a/c/d a-b b", None);
        check("a: a/b a: ", Some("a:"));
        check("b a", Some("a"));
        check("a a", Some("a"));
        check("a/b", Some("a/b"));
        check("a a/b", Some("a/b"));
        check("a: a/b: a/b/c ab a/d", Some("a/d"));
        check("a: a/z b: b/a", None);
        check("/a", Some("/a"));
        check("a: a/../b", Some("a/../b"));
        check("..", Some(".."));
        check("a//b", Some("a//b"));
        check("./a", Some("./a"));
        check("a b=a", None);
        check("a b=c", Some("b=c"));
        check("a b=a c=b", Some("c=b"));
    }

    #[test]
    fn slash_sorts_first() {
        assert_eq!(compare_paths(b"a/b", b"a-b"), Ordering::Less);
        assert_eq!(compare_paths(b"a", b"a/b"), Ordering::Less);
        assert_eq!(compare_paths(b"b", b"a/b"), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn sorted_trees_pass(mut paths in proptest::collection::btree_set("[a-c!]{1,2}(/[a-c!]{1,2}){0,3}", 0..12)) {
            for path in paths.clone() {
                for (at, _) in path.match_indices('/') {
                    paths.insert(path[..at].to_owned());
                }
            }
            let mut sorted: Vec<_> = paths.into_iter().collect();
            sorted.sort_by(|a, b| compare_paths(a.as_bytes(), b.as_bytes()));
            let mut checker = Checker::default();
            for path in &sorted {
                prop_assert!(checker.check(&stat(&format!("{path}:"))).is_ok(), "{:?} of {:?}", path, sorted);
            }
        }
    }
}
