use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

impl Environment for BTreeMap<&str, &str> {
    fn get(&self, name: &str) -> Option<&str> {
        BTreeMap::get(self, name).copied()
    }

    fn names(&self) -> Vec<&str> {
        self.keys().copied().collect()
    }
}

fn env() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("PWD", "/home"),
        ("EMPTY", ""),
        ("LIST", "a b  c"),
        ("FILE", "foo.tar.gz"),
        ("STAR", "x*y"),
        ("übung", "ü"),
    ])
}

fn check(lexer: Lexer, text: &str, expected: Result<&str, &str>) {
    let got = lexer.expand(text, &env()).map(|e| e.text).map_err(|e| e.to_string());
    let expected =
        expected.map(str::to_owned).map_err(|e| format!("failed to process {}: {e}", crate::go::quote(text)));
    assert_eq!(got, expected, "{text}");
}

#[test]
fn names_and_quotes() {
    let check = |text, expected| check(Lexer::new('\\'), text, Ok(expected));
    check("hello", "hello");
    check("$PWD-${PWD}", "/home-/home");
    check("$", "$");
    check("$.", "$.");
    check("a$NOPE.b", "a.b");
    check("'$PWD'\"$PWD\"", "$PWD/home");
    check(r#""a\"b\$c\\d\e""#, r#"a"b$c\d\e"#);
    check(r"\$PWD\a", "$PWDa");
    check(r"tail\", "tail");
    check("$übung", "ü");
    check("$1x$@y$!", "xy");
    check("a << b", "a << b");
}

#[test]
fn modifiers() {
    let check = |text, expected| check(Lexer::new('\\'), text, Ok(expected));
    check("${NOPE-w}${EMPTY-w}${PWD-w}", "w/home");
    check("${NOPE:-w}${EMPTY:-w}${PWD:-w}", "ww/home");
    check("${NOPE+w}${EMPTY+w}${PWD+w}", "ww");
    check("${NOPE:+w}${EMPTY:+w}${PWD:+w}", "w");
    check("${PWD?m}${PWD:?m}${EMPTY?m}", "/home/home");
    check("${NOPE:-${EMPTY:-${PWD}}}", "/home");
    check("${NOPE:-'$PWD'}", "$PWD");
    check("${FILE#*.}|${FILE##*.}|${FILE%.*}|${FILE%%.*}", "tar.gz|gz|foo.tar|foo");
    check("${FILE#foo?}|${FILE#bar}|${NOPE#x}", "tar.gz|foo.tar.gz|");
    check(r"${STAR#x\*}|${STAR%\*y}", "y|x");
    check("${FILE/o/0}|${FILE//o/0}|${FILE/x/y}", "f0o.tar.gz|f00.tar.gz|foo.tar.gz");
    check(r"${PWD/\//}|${PWD//\//_}", "home|_home");
    check("${FILE//o/[$0]}", "f[][].tar.gz");
    check("${FILE//o/'[$0]'}", "f[o][o].tar.gz");
}

#[test]
fn faults() {
    let check = |text, expected| check(Lexer::new('\\'), text, Err(expected));
    check("${", "syntax error: missing '}'");
    check("${PWD:-x", "syntax error: missing '}'");
    check("${PWD/x", "syntax error: missing '/' in ${}");
    check("${PWD/x/y", "syntax error: missing '}'");
    check("${}", "syntax error: bad substitution");
    check("${:x}", "syntax error: bad substitution");
    check("${PWD", "unsupported modifier (\u{fffd}) in substitution");
    check("${PWD^^}", "unsupported modifier (^) in substitution");
    check("${PWD:x}", "unsupported modifier (:x) in substitution");
    check("${PWD:#x}", "unsupported modifier (:#) in substitution");
    check("${NOPE?}", "NOPE: is not allowed to be unset");
    check("${EMPTY:?}", "EMPTY: is not allowed to be empty");
    check("${NOPE:?say $PWD}", "NOPE: say /home");
    check(r"${PWD#\x}", r"invalid pattern (\x) in substitution: invalid escape '\x'");
    check("'x", "unexpected end of statement while looking for matching single-quote");
    check("\"x", "unexpected end of statement while looking for matching double-quote");
}

#[test]
fn what_is_left_as_it_was() {
    let lexer = Lexer::new('\\');
    check(Lexer { keep_unset: true, ..lexer }, "$NOPE ${NOPE} ${NOPE:-x}", Ok("$NOPE ${NOPE} ${NOPE:-x}"));
    check(Lexer { raw_quotes: true, ..lexer }, "'a'\"$PWD\"", Ok("'a'\"/home\""));
    check(Lexer { raw_escapes: true, ..lexer }, r"\a", Ok(r"\a"));
    check(Lexer { ignore_quotes: true, ..lexer }, "'$PWD", Ok("'/home"));
    check(Lexer::new('`'), r"C:\x`$PWD$PWD", Ok(r"C:\x$PWD/home"));
}

#[test]
fn words_are_split_after_expansion() {
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(Lexer::new('\\').words(text, &env()).expect(text), expected, "{text}");
    };
    check(" a  b ", &["a", "b"]);
    check("$LIST", &["a", "b", "c"]);
    check("\"$LIST\" x", &["a b  c", "x"]);
    check(r"a\ b", &["a b"]);
    check("cat << EOF", &["cat", "<< EOF"]);
    check("8${NOPE:-0}80", &["8080"]);
}

#[test]
fn names_asked_for_are_told() {
    let e = Lexer::new('\\').expand("$PWD ${NOPE:-$EMPTY}", &env()).expect("valid");
    assert_eq!(e.matched, ["EMPTY", "PWD"].map(str::to_owned).into());
    assert_eq!(e.unmatched, ["NOPE".to_owned()].into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn expansion_never_panics(text in "[$a-bA-B{}:+?#%/*'\"\\\\<` ü-]{0,40}|\\PC{0,40}", flags in 0_u8..16) {
        let lexer = Lexer {
            escape: if flags & 1 == 0 { '\\' } else { '`' },
            raw_quotes: flags & 2 != 0,
            raw_escapes: flags & 4 != 0,
            ignore_quotes: flags & 8 != 0,
            keep_unset: flags & 3 == 3,
        };
        let env = BTreeMap::from([("a", "x*y"), ("b", ""), ("A", "$a{}")]);
        let _ = lexer.expand(&text, &env);
    }

    #[test]
    fn plain_text_stays(text in "[a-z/.:@ -]{0,30}") {
        prop_assert_eq!(Lexer::new('\\').word(&text, &NoEnvironment).expect("plain"), text);
    }

    #[test]
    fn deep_nesting_is_refused_not_fatal(depth in 1_usize..5000) {
        let text = "${a:-".repeat(depth);
        prop_assert!(Lexer::new('\\').word(&text, &NoEnvironment).is_err());
    }
}
