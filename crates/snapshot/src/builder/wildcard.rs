use errdefs::Result;
use fsutil::glob;

use super::{NOT_FOUND, TreeBuilder, path_error};
use crate::meta::FileType;
use crate::path;
use crate::view::View;

/// Lists the names in a directory, sorted.
type List<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<(Box<[u8]>, FileType)>>;

impl TreeBuilder {
    /// The paths of the merged tree that a wildcard matches.
    pub(super) fn wildcard(&self, pattern: &[u8], follow: bool) -> Result<Vec<Vec<u8>>> {
        let (plain, rest) = split(pattern);
        if rest.is_empty() {
            return Ok(vec![plain]);
        }
        let start = self.resolve(&plain, follow)?;
        if !start.is_empty() && self.find(&start)?.is_none() {
            return Err(path_error("lstat", &start, NOT_FOUND));
        }
        find(&start, &rest, &|at| self.own.list(at, self.base()))
    }
}

/// The paths of a view that a wildcard matches.
pub fn in_view(view: &View, pattern: &[u8], follow: bool) -> Result<Vec<Vec<u8>>> {
    let (plain, rest) = split(pattern);
    if rest.is_empty() {
        return Ok(vec![plain]);
    }
    let start = view.resolve(&plain, follow)?;
    if view.lstat_clean(&start)?.is_none() {
        return Err(path_error("lstat", &start, NOT_FOUND));
    }
    find(&start, &rest, &|at| {
        let dir = view.dir(at)?;
        Ok(dir.map_or_else(Vec::new, |dir| dir.list().into_iter().map(|e| (e.name, e.file_type)).collect()))
    })
}

/// Whether a pattern holds wildcards.
pub fn is_one(pattern: &[u8]) -> bool {
    !split(pattern).1.is_empty()
}

/// Splits before the first component with a wildcard; the first part starts with a slash.
fn split(pattern: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let clean = path::clean(pattern);
    let mut plain = Vec::from(b"/");
    let mut rest = Vec::new();
    for part in clean.split(|&b| b == b'/').filter(|part| !part.is_empty()) {
        if !rest.is_empty() || path::has_wildcards(part) {
            path::push(&mut rest, part);
        } else {
            if plain.len() > 1 {
                plain.push(b'/');
            }
            plain.extend_from_slice(part);
        }
    }
    (plain, rest)
}

/// Matches all below `start`; what lies in a directory that matches is not looked at.
fn find(start: &[u8], pattern: &[u8], list: List<'_>) -> Result<Vec<Vec<u8>>> {
    let depth = pattern.iter().filter(|&&b| b == b'/').count();
    // A class may match a slash, so only without one is the depth known.
    let limit = if pattern.contains(&b'[') { usize::MAX } else { depth };
    let mut found = Vec::new();
    visit(start, b"", limit, pattern, list, &mut found)?;
    Ok(found)
}

fn visit(
    at: &[u8],
    relative: &[u8],
    limit: usize,
    pattern: &[u8],
    list: List<'_>,
    found: &mut Vec<Vec<u8>>,
) -> Result<()> {
    for (name, file_type) in list(at)? {
        let (at, relative) = (path::join(at, &name), path::join(relative, &name));
        // A bad pattern matches nothing, as in BuildKit.
        if glob::matches(pattern, &relative).unwrap_or(false) {
            let mut path = Vec::from(b"/");
            path.extend(at);
            found.push(path);
        } else if file_type == FileType::Dir && limit > 0 {
            visit(&at, &relative, limit.saturating_sub(1), pattern, list, found)?;
        }
    }
    Ok(())
}
