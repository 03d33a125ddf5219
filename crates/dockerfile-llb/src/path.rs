//! Paths inside an image: text, with slashes, never looked up.

pub(crate) use dockerfile::ignore::clean;

/// Joins and cleans, as Go's `path.Join`; empty parts do not count.
pub(crate) fn join(a: &str, b: &str) -> String {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => String::new(),
        (false, true) => clean(a),
        (true, false) => clean(b),
        (false, false) => clean(&format!("{a}/{b}")),
    }
}

/// The last part; `/` of the root and `.` of nothing.
pub(crate) fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match (path.is_empty(), trimmed.rsplit('/').next()) {
        (true, _) => ".",
        (false, None | Some("")) => "/",
        (false, Some(last)) => last,
    }
}

/// An absolute path, relative ones joined to `parent`. With `keep_slash` a final `/` or `/.` stays: it says that the
/// path is a directory.
pub(crate) fn normalize(parent: &str, path: &str, keep_slash: bool) -> String {
    let parent = match parent {
        "" => "/".to_owned(),
        parent if parent.starts_with('/') => parent.to_owned(),
        parent => join("/", parent),
    };
    let mut out = match path {
        "" => parent,
        path if path.starts_with('/') => path.to_owned(),
        path => join(&parent, path),
    };
    if keep_slash {
        restore_end(&mut out, path);
    }
    out
}

/// A clean absolute path, in the way of an LLB file action.
pub(crate) fn of_action(dir: &str, path: &str, keep_slash: bool) -> String {
    let mut out = clean(path);
    if !out.starts_with('/') {
        out = join(&join("/", dir), &out);
    }
    if keep_slash {
        restore_end(&mut out, path);
    }
    out
}

fn restore_end(out: &mut String, written: &str) {
    if written.ends_with('/') {
        if !out.ends_with('/') {
            out.push('/');
        }
    } else if written.ends_with("/.") {
        if out != "/" {
            out.push('/');
        }
        out.push('.');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_kept_where_they_mean_a_directory() {
        let check =
            |parent, path, expected| assert_eq!(normalize(parent, path, true), expected, "{parent} {path}");
        check("/w", "a", "/w/a");
        check("/w", "a/", "/w/a/");
        check("/w", "./", "/w/");
        check("/w", "a/.", "/w/a/.");
        check("/", "./", "/");
        check("", "../a", "/a");
        check("/w", "/a/", "/a/");
        assert_eq!(normalize("/w", "a/", false), "/w/a");
        assert_eq!(of_action("/w", "/a/../b/", true), "/b/");
        assert_eq!(of_action("w", "b", false), "/w/b");
    }

    #[test]
    fn last_parts() {
        let check = |path, expected| assert_eq!(base(path), expected, "{path}");
        check("/a/b", "b");
        check("a/", "a");
        check("/", "/");
        check("", ".");
    }
}
