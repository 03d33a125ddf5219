//! Splitting the rest of an instruction line: flags, quoted words, white space.

use std::ops::Range;

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
    quoted_words(text, escape).into_iter().map(|word| text[word].to_owned()).collect()
}

/// Where the words of [`split_quoted`] stand.
pub(crate) fn quoted_words(text: &str, escape: char) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote: Option<char> = None;
    let mut end = text.len();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                words.extend(start.take().map(|start| start..at));
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(q) if c == q => quote = None,
            _ => {}
        }
        // An escape at the very end escapes nothing and is dropped.
        if c == escape && quote != Some('\'') && chars.next().is_none() {
            end = at;
            break;
        }
        start.get_or_insert(at);
    }
    words.extend(start.filter(|&start| start < end).map(|start| start..end));
    words
}

/// Takes the words in front that begin with `--`. Quotes and escapes inside them are resolved; a bare `--` ends them.
pub(crate) fn take_flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let rest = flags_in(text, escape, |_, flag| flags.push(flag));
    (flags, &text[rest..])
}

/// Where the flags of [`take_flags`] stand, and where the text behind them begins.
pub(crate) fn flag_words(text: &str, escape: char) -> (Vec<Range<usize>>, usize) {
    let mut flags = Vec::new();
    let rest = flags_in(text, escape, |place, _| flags.push(place));
    (flags, rest)
}

fn flags_in(text: &str, escape: char, mut found: impl FnMut(Range<usize>, String)) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let start = text.len() - rest.len();
        if !rest.starts_with("--") {
            return start;
        }
        let (word, quoted, after) = unquoted_word(rest, escape);
        rest = after;
        let end = text.len() - rest.len();
        if word == "--" && !rest.is_empty() {
            return end;
        }
        if word != "--" && (quoted || !word.is_empty()) {
            found(start..end, word);
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
