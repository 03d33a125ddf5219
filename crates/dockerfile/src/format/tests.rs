//! What is changed, what is not, and that nothing changes what a file means.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::Dockerfile;

fn formatted(text: &str) -> String {
    format(text.as_bytes(), Options::default()).unwrap_or_else(|e| panic!("{e:?}: {text}"))
}

#[test]
fn what_is_changed() {
    let check = |text: &str, expected: &str| assert_eq!(formatted(text), expected, "{text}");
    check("from a as b\nrun   x  y \nCopy a b", "FROM a AS b\nRUN x  y\nCOPY a b\n");
    check("FROM a\n\n\nRUN x\n  \n\n", "FROM a\n\nRUN x\n");
    check("  FROM a\n\tRUN x", "FROM a\nRUN x\n");
    check("FROM a\nRUN x\nFROM b\n\n\nFROM c", "FROM a\nRUN x\n\nFROM b\n\nFROM c\n");
    check("FROM a\n# about\n# b\nFROM b", "FROM a\n\n# about\n# b\nFROM b\n");
    check("FROM a\n# end of a\n\n# about b\nFROM b", "FROM a\n# end of a\n\n# about b\nFROM b\n");
    check("ARG V\nFROM a", "ARG V\nFROM a\n");
    check(
        "FROM a\nCOPY x   \\  \n y \\\n\n\t# why\nz /",
        "FROM a\nCOPY x   \\\n    y \\\n    # why\n    z /\n",
    );
    check("FROM a\nENV A=1 \\\n  B=2", "FROM a\nENV A=1 \\\n    B=2\n");
    check("FROM a\nhealthcheck --interval=1s  cmd x", "FROM a\nHEALTHCHECK --interval=1s  cmd x\n");
    check("FROM a\nHEALTHCHECK none", "FROM a\nHEALTHCHECK NONE\n");
    check("FROM a\nCMD [ \"a\", \\\n\"b\" ]", "FROM a\nCMD [ \"a\", \\\n    \"b\" ]\n");
    check("FROM --platform=x   as as as", "FROM --platform=x   as AS as\n");
    check(
        "FROM a\nRUN --mount=type=cache,target=/x \\\n--network=none \\\n make",
        "FROM a\nRUN --mount=type=cache,target=/x \\\n    --network=none \\\n    make\n",
    );
}

#[test]
fn what_is_not() {
    for text in [
        "# syntax=docker/dockerfile:1\n# escape=`\nFROM a\nRUN x `\n  y\n",
        "\n# escape=`\nFROM a\nRUN x \\\n  y\n",
        "# a comment\n# escape=`\nFROM a\n",
        "FROM a\nRUN x && \\\n  y && \\\n# why\n\tz\n",
        "FROM a\nRUN <<EOF\n  from b\n\n\n\ty  \nEOF\nRUN z\n",
        "FROM a\nCOPY <<A <<-B /x/\n a\nA\n\t\tb\n\tB\n",
        "FROM a\nENV A=\"x \\\n  y\"\n",
        "FROM a\nENV A b \\\n  c\n",
        "FROM a\nENV A=x\\\ny\n",
        "FROM a\nONBUILD run x \\\n  y\n",
        "FROM a\nLABEL a=b\\ \\\n    c=d\n",
        "\u{feff}FROM a\n",
        "FROM a\r\nRUN x \\\r\n  y\r\n",
    ] {
        assert_eq!(formatted(text), text);
    }
}

#[test]
fn commands_are_indented_where_that_is_asked_for() {
    let check = |text: &str, expected: &str| {
        let got = format(text.as_bytes(), Options { commands: true }).expect(text);
        assert_eq!(got, expected, "{text}");
    };
    check("FROM a\nRUN x && \\\n y", "FROM a\nRUN x && \\\n    y\n");
    check(
        "FROM a\nRUN if x; then \\\n\ty; \\\n\t\tz; \\\n# c\n\tfi",
        "FROM a\nRUN if x; then \\\n    y; \\\n    \tz; \\\n    # c\n    fi\n",
    );
    // Quotes go on over lines, and words do.
    check("FROM a\nrun x 'y \\\n  z'", "FROM a\nRUN x 'y \\\n  z'\n");
    check("FROM a\nRUN x\\\ny", "FROM a\nRUN x\\\ny\n");
}

#[test]
fn faulty_files_are_refused() {
    let faults = format(b"FROM a\nRNU x\nCOPY a", Options::default()).expect_err("faulty");
    assert_eq!(faults.len(), 2);
    assert!(format(b"FROM a\nRUN \xff", Options::default()).is_err());
    assert!(format(b"", Options::default()).is_err());
}

/// A file without places, and without what differs in writing alone.
fn meaning(text: &str) -> Dockerfile {
    let mut file = parse(text.as_bytes(), &mut lint::Linter::default()).dockerfile;
    let plain = |i: &mut crate::Instruction| {
        (i.place, i.code) = Default::default();
        i.keyword.make_ascii_uppercase();
    };
    file.global_args.iter_mut().for_each(plain);
    for stage in &mut file.stages {
        (stage.place, stage.code) = Default::default();
        stage.keyword.make_ascii_uppercase();
        stage.instructions.iter_mut().for_each(plain);
    }
    file
}

/// Whether a file that can be read is formatted to one that means the same and is formatted already.
fn check_laws(text: &str) {
    for options in [Options::default(), Options { commands: true }] {
        let Ok(once) = format(text.as_bytes(), options) else { return };
        assert_eq!(format(once.as_bytes(), options).as_deref(), Ok(once.as_str()), "not stable: {text:?}");
        if !options.commands {
            assert_eq!(meaning(&once), meaning(text), "{text:?}\n{once:?}");
        }
        let comments = |text: &str| -> Vec<String> {
            let lines = text.lines().map(str::trim);
            lines.filter(|line| line.starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!(comments(&once), comments(text), "{text:?}");
    }
}

#[test]
fn files_as_people_write_them() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        let parsed = parse(text.as_bytes(), &mut lint::Linter::default());
        assert_eq!(parsed.errors, [], "{}", path.display());
        check_laws(&text);
        count += 1;
    }
    assert!(count >= 60, "only {count} files");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn formatting_keeps_what_a_file_means(lines in prop::collection::vec(line(), 0..12), escape in "(# escape=`\n|\n|# x\n)?") {
        check_laws(&format!("{escape}FROM a AS b\n{}", lines.join("\n")));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(FROM a\n)?\\PC{0,80}") {
        check_laws(&text);
    }
}

/// Lines of instructions, and of what may stand between and within them.
fn line() -> impl Strategy<Value = String> {
    let word = "(a|b|--link|\\$x|'a|\"|'|<<E|E|k=v|k=\"v|# c|\\\\ |`|\\[\"a\"\\]|,|as|cmd|none|  |\t)";
    let start = "[ \t]{0,2}(run|RUN|Copy|env|LABEL|arg|from|FROM|onbuild|HEALTHCHECK|cmd|expose|user|#|# check=skip=all|)";
    let pattern = format!("{start}([ \t]{{1,2}}{word}){{0,4}}[ \t]{{0,2}}(\\\\|`|)[ \t]?\r?");
    proptest::string::string_regex(&pattern).expect("a pattern")
}
