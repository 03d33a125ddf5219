//! Splitting the rest of an instruction line: flags, quoted words, white space.

/// Blanks that separate words: no line feed, which cannot stand inside an instruction.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// The text before the first run of blanks and what follows it.
pub(crate) fn split_first(text: &str) -> (&str, Option<&str>) {
    match text.find(is_blank) {
        Some(at) => (&text[..at], Some(text[at..].trim_start_matches(is_blank))),
        None => (text, None),
    }
}

/// Everything between runs of blanks; blanks at an end leave an empty word there, as BuildKit has it.
pub(crate) fn split_blanks(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (word, after) = split_first(text);
        words.push(word.to_owned());
        rest = after;
    }
    words
}

/// Words with their quotes and escapes left in place; a quoted blank does not separate.
pub(crate) fn split_quoted(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut quoted = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if quoted || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                quoted = false;
                continue;
            }
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                quoted = true;
            }
            Some(q) if c == q => quote = None,
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            // An escape at the very end escapes nothing and is dropped.
            let Some(escaped) = chars.next() else { break };
            word.extend([c, escaped]);
        } else {
            word.push(c);
        }
    }
    if quoted || !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes the words in front that begin with `--`. Quotes and escapes inside them are resolved; a bare `--` ends them.
pub(crate) fn take_flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let (word, quoted, after) = unquoted_word(rest, escape);
        rest = after;
        if word == "--" && !rest.is_empty() {
            return (flags, rest);
        }
        if word != "--" && (quoted || !word.is_empty()) {
            flags.push(word);
        }
    }
}

/// The first word with its quotes and escapes resolved, whether it had quotes, and the text behind it.
fn unquoted_word(text: &str, escape: char) -> (String, bool, &str) {
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut quoted = false;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, quoted, &text[at..]),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                quoted = true;
            }
            Some(q) if c == q => quote = None,
            _ if c == escape => word.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => word.push(c),
        }
    }
    (word, quoted, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_keep_their_quotes() {
        let check = |text, expected: &[&str]| assert_eq!(split_quoted(text, '\\'), expected, "{text}");
        check(" a=b  c ", &["a=b", "c"]);
        check(r#"a="b c" d='e f'"#, &[r#"a="b c""#, "d='e f'"]);
        check(r"a=b\ c", &[r"a=b\ c"]);
        check(r#"a="b\" c" d"#, &[r#"a="b\" c""#, "d"]);
        check(r"'a\' b", &[r"'a\'", "b"]);
        check(r"a\", &["a"]);
        check(r#""" x"#, &[r#""""#, "x"]);
    }

    #[test]
    fn flags_are_taken() {
        let check = |text, flags: &[&str], rest| {
            let (got, after) = take_flags(text, '\\');
            assert_eq!((got.as_slice(), after), (flags.map_owned().as_slice(), rest), "{text}");
        };
        check("a b", &[], "a b");
        check("--x=1  --y a", &["--x=1", "--y"], "a");
        check("--x='a b' c", &["--x=a b"], "c");
        check(r"--x=a\ b c", &["--x=a b"], "c");
        check("-- --x", &[], " --x");
        check("--", &[], "");
        check("--x", &["--x"], "");
        check("-x", &[], "-x");
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl MapOwned for [&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|&s| s.to_owned()).collect()
        }
    }

    #[test]
    fn blanks_split() {
        assert_eq!(split_blanks("a \t b"), ["a", "b"]);
        assert_eq!(split_first("RUN  x y"), ("RUN", Some("x y")));
        assert_eq!(split_first("RUN"), ("RUN", None));
    }
}
