//! Paths as bytes. Inside this crate a path is clean: it has no leading or trailing slash and no `.`, `..` or empty
//! component; the root is the empty path.

/// Cleans a path in the manner of Go's `path.Join("/", p)`: `..` above the root stays at the root.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => out.truncate(parent_len(&out)),
            part => push(&mut out, part),
        }
    }
    out
}

/// Appends a component.
pub fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// `dir/name`, or `name` below the root.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    push(&mut path, name);
    path
}

fn parent_len(path: &[u8]) -> usize {
    path.iter().rposition(|&b| b == b'/').unwrap_or(0)
}

/// Splits a clean path that is not the root into its directory and its last component.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(i) => (&path[..i], &path[i + 1..]),
        None => (b"", path),
    }
}

/// The last component, as Go's `path.Base`: `.` for nothing, `/` for slashes only.
pub fn base(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |i| i + 1);
    match (&path[..end], path.is_empty()) {
        (b"", true) => b".",
        (b"", false) => b"/",
        (path, _) => split(path).1,
    }
}

/// Whether `path` lies strictly below the directory `dir`.
pub fn is_below(path: &[u8], dir: &[u8]) -> bool {
    match path.strip_prefix(dir) {
        Some(rest) => !rest.is_empty() && (dir.is_empty() || rest[0] == b'/'),
        None => false,
    }
}

/// Whether a component holds a wildcard that is not escaped.
pub fn has_wildcards(part: &[u8]) -> bool {
    let mut escaped = false;
    part.iter().any(|&b| {
        let hit = !escaped && matches!(b, b'*' | b'?' | b'[');
        escaped = !escaped && b == b'\\';
        hit
    })
}

/// The path as messages show it, from the root.
pub fn show(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned_as_go_does() {
        for (path, want) in
            [("", ""), ("/", ""), ("a//b/.", "a/b"), ("/../a/../b", "b"), ("a/b/..", "a"), ("../..", "")]
        {
            assert_eq!(clean(path.as_bytes()), want.as_bytes(), "{path}");
        }
    }

    #[test]
    fn base_as_go_does() {
        for (path, want) in [("", "."), ("/", "/"), ("//", "/"), ("/a/b/", "b"), ("a", "a")] {
            assert_eq!(base(path.as_bytes()), want.as_bytes(), "{path}");
        }
    }

    #[test]
    fn below_is_by_component() {
        for (path, dir, want) in [("a/b", "a", true), ("ab", "a", false), ("a", "a", false), ("a", "", true)]
        {
            assert_eq!(is_below(path.as_bytes(), dir.as_bytes()), want, "{path} {dir}");
        }
    }
}
