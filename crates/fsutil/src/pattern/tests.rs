use super::*;

fn check(patterns: &[&str], path: &str, expected: bool) {
    let matcher = Matcher::new(patterns).expect("the patterns are good");
    assert_eq!(matcher.matches_or_parent(path.as_bytes()), expected, "{patterns:?} on {path:?}");
    assert_eq!(walk(&matcher, path).0, expected, "{patterns:?} on the way to {path:?}");
}

/// What a walk from above says of a path, and whether it would have left out a directory above it.
fn walk(matcher: &Matcher, path: &str) -> (bool, bool) {
    let mut info = MatchInfo::default();
    let (mut chosen, mut pruned) = (false, false);
    for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
        let at = &path.as_bytes()[..end];
        (chosen, info) = matcher.matches_using_parent(at, &info);
        pruned |= end < path.len() && chosen && !matcher.may_take_back_below(at);
    }
    (chosen, pruned)
}

#[test]
fn one_pattern() {
    let cases = [
        ("**", "file", true),
        ("**", "file/", true),
        ("**/", "file", true),
        ("**/", "file/", true),
        ("**", "/", true),
        ("**/", "/", true),
        ("**", "dir/file", true),
        ("**/", "dir/file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("dir/**", "dir", false),
        ("**/dir", "dir", true),
        ("**/dir", "dir/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/*", "dir/dir2/dir2/file", true),
        ("**/dir2/**", "dir/dir2/dir2/file", true),
        ("**file", "file", true),
        ("**file", "dir/file", true),
        ("**/file", "dir/dir/file", true),
        ("**/file*", "dir/dir/file.txt", true),
        ("**/file*txt", "dir/dir/file.txt", true),
        ("**/file*.txt*", "dir/dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("**/**/*.txt2", "dir/dir/file.txt", false),
        ("**/*.txt", "file.txt", true),
        ("**/*.txt", "dir/file.txt", true),
        ("a**/*.txt", "a/file.txt", true),
        ("a**/*.txt", "a/dir/dir/file.txt", true),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a/*.txt", "a/file.txt", true),
        ("a/*.txt**", "a/file.txt", true),
        ("a[b-d]e", "ae", false),
        ("a[b-d]e", "ace", true),
        ("a[b-d]e", "aae", false),
        ("a[^b-d]e", "aze", true),
        (".*", ".foo", true),
        (".*", "foo", false),
        ("abc.def", "abcdef", false),
        ("abc.def", "abc.def", true),
        ("abc.def", "abcZdef", false),
        ("abc?def", "abcZdef", true),
        ("abc?def", "abc/def", false),
        ("a\\\\", "a\\", true),
        ("**/foo/bar", "foo/bar", true),
        ("**/foo/bar", "dir/foo/bar", true),
        ("**/foo/bar", "dir/dir2/foo/bar", true),
        ("abc/**", "abc", false),
        ("abc/**", "abc/def", true),
        ("**/.foo", "bar.foo", false),
        ("a(b)c/def", "a(b)c/def", true),
        ("a(b)c/def", "a(b)c/xyz", false),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
        (
            "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
            "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
            true,
        ),
        ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("a[&]b", "a&b", true),
        ("[a&&b]", "&", true),
        ("[+-.]", "-", true),
        ("a?b", "a\u{e9}b", true),
        ("./a/../b/", "b", true),
        ("  spaced ", "spaced", true),
        ("docs", "docs/a/b", true),
        ("docs", "docs2", false),
    ];
    for (pattern, path, expected) in cases {
        check(&[pattern], path, expected);
    }
}

#[test]
fn many_patterns() {
    for (patterns, path, expected) in [
        (&["**", "!util/docker/web"][..], "util/docker/web/foo", false),
        (&["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", true),
        (
            &["**", "!dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl"],
            "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
            false,
        ),
        (&["docs", "!docs/README.md"], "docs/README.md", false),
        (&["docs/", "!docs/README.md"], "docs/README.md", false),
        (&["docs/*", "!docs/README.md"], "docs/README.md", false),
        (&["docs/*.md", "!docs/README.md"], "docs/README.md", false),
        (&["docs/*.md", "!docs/README.md"], "docs/other.md", true),
        (&["*.md", "!docs/*", "docs/README.md"], "docs/README.md", true),
        (&["*.md", "!README*.md", "README-secret.md"], "README-secret.md", true),
        (&["*.md", "!README*.md", "README-secret.md"], "README.md", false),
        (&["*", "!src"], "src/a", false),
        (&["*", "!src", "src/tmp"], "src/tmp/x", true),
        (&["**/*.txt", "!a/**"], "a/b.txt", false),
        (&["a", "!a/b", "a/b/c"], "a/b/d", false),
        (&["", "  "], "a", false),
        (&["!a"], "a", false),
    ] {
        check(patterns, path, expected);
    }
}

#[test]
fn bad_patterns_are_told() {
    for pattern in ["[", "[a-", "a\\"] {
        let expected = InvalidPattern::Syntax(pattern.into());
        assert_eq!(Matcher::new(&["fine", pattern]).map(drop), Err(expected));
    }
    for pattern in ["!", "! "] {
        assert_eq!(Matcher::new(&["fine", pattern]).map(drop), Err(InvalidPattern::BareExclusion));
    }
}

#[test]
fn a_byte_that_is_no_text_is_one_character() {
    let matcher = Matcher::new(&["a?b", "**/x"]).unwrap();
    assert!(matcher.matches_or_parent(b"a\xffb"));
    assert!(matcher.matches_or_parent(b"\xff/x"));
    assert!(!matcher.matches_or_parent(b"a\xff\xffb"));
}

#[test]
fn a_chosen_directory_is_entered_only_where_something_may_be_taken_back() {
    for (pattern, dir, expected) in [
        ("a/b/c", "a", true),
        ("a/b/c", "a/b", true),
        ("a/b/c", "a/b/c", false),
        ("a/b/c", "b", false),
        ("ab", "a", false),
        ("a/*.c", "a", true),
        ("a/*.c", "b", false),
        ("a/*.c", "a/x", true),
        ("*", "a", true),
        ("**/x", "a/b", true),
        ("aa*/x", "a", false),
        ("a/b*/x", "a", true),
    ] {
        let matcher = Matcher::new(&["**", &format!("!{pattern}")]).unwrap();
        assert_eq!(matcher.may_take_back_below(dir.as_bytes()), expected, "!{pattern} below {dir}");
        assert!(!Matcher::new(&[pattern]).unwrap().may_take_back_below(dir.as_bytes()));
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn patterns() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("!?(a|b|\\*|\\*\\*|/|[?]|\\[ab\\]|\\.){1,6}", 1..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn a_walk_says_what_a_question_says(patterns in patterns(), path in "[ab.](/?[ab.]){0,6}") {
            let Ok(matcher) = Matcher::new(&patterns) else { return Ok(()) };
            let (walked, pruned) = walk(&matcher, &path);
            prop_assert!(walked || !pruned);
            // In moby's own code, an exclusion that had nothing to take back from a directory is not asked again below it.
            if !matcher.has_exclusions() {
                prop_assert_eq!(walked, matcher.matches_or_parent(path.as_bytes()));
            }
        }

        #[test]
        fn nothing_panics(patterns: Vec<String>, path: Vec<u8>) {
            if let Ok(matcher) = Matcher::new(&patterns) {
                matcher.matches_or_parent(&path);
            }
        }
    }
}
