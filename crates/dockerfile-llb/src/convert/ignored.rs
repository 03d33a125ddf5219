//! Paths that the ignore file keeps out of the build context.

use dockerfile::ignore::clean;
use fsutil::pattern::Matcher;

pub(super) struct Ignored {
    matcher: Matcher,
    /// A pattern names everything.
    all: bool,
}

impl Ignored {
    /// Nothing where patterns take back what others ignore: a folder that is ignored may then hold files that are not.
    pub fn new(patterns: &[String]) -> Option<Ignored> {
        let matcher = Matcher::new(patterns).ok()?;
        let all = patterns.iter().any(|p| matches!(p.as_str(), "*" | "**" | "**/*"));
        (!matcher.is_empty() && !matcher.has_exclusions()).then_some(Ignored { matcher, all })
    }

    /// The cleaned path, if it is ignored. The context as a whole is, only if everything in it is.
    pub fn find(&self, path: &str) -> Option<String> {
        let path = clean(path);
        let is_root = matches!(path.as_str(), "." | "/");
        let ignored = (!is_root || self.all) && self.matcher.matches_or_parent(path.as_bytes());
        ignored.then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_paths() {
        let check = |patterns: &[&str], path: &str, expected: Option<&str>| {
            let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
            let found = Ignored::new(&patterns).and_then(|ignored| ignored.find(path));
            assert_eq!(found.as_deref(), expected, "{patterns:?} {path}");
        };
        check(&[], "a", None);
        check(&["a"], "./a", Some("a"));
        check(&["a"], "a/b", Some("a/b"));
        check(&["a"], "b", None);
        check(&["*", "!b"], "a", None);
        check(&[".*"], ".", None);
        check(&["*"], "./", Some("."));
        check(&["**"], ".", Some("."));
    }
}
