//! Wildcards in one path, as Go's `filepath.Match`: `*` and `?` stop at `/`, `[a-z]` and `[^a-z]` are classes, `\`
//! takes the next character as it is.

/// A pattern that has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPattern;

impl std::fmt::Display for BadPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("syntax error in pattern")
    }
}

impl std::error::Error for BadPattern {}

/// Whether `pattern` matches all of `name`.
pub fn matches(pattern: &[u8], name: &[u8]) -> Result<bool, BadPattern> {
    let tokens = parse(pattern)?;
    Ok(run(&tokens, name))
}

enum Token {
    Literal(u8),
    /// Any character but `/`.
    Any,
    /// Any characters but `/`.
    Star,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

fn parse(pattern: &[u8]) -> Result<Vec<Token>, BadPattern> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let [first, tail @ ..] = rest {
        rest = tail;
        tokens.push(match first {
            b'*' => Token::Star,
            b'?' => Token::Any,
            b'[' => class(&mut rest)?,
            b'\\' => {
                let [escaped, tail @ ..] = rest else { return Err(BadPattern) };
                rest = tail;
                Token::Literal(*escaped)
            }
            _ => Token::Literal(*first),
        });
    }
    Ok(tokens)
}

fn class(rest: &mut &[u8]) -> Result<Token, BadPattern> {
    let negated = rest.first() == Some(&b'^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    while rest.first() != Some(&b']') || ranges.is_empty() {
        let low = bound(rest)?;
        let high = if rest.first() == Some(&b'-') {
            *rest = &rest[1..];
            bound(rest)?
        } else {
            low
        };
        ranges.push((low, high));
    }
    *rest = &rest[1..];
    Ok(Token::Class { negated, ranges })
}

/// One end of a range; `-` and `]` must be escaped.
fn bound(rest: &mut &[u8]) -> Result<char, BadPattern> {
    if matches!(rest.first(), None | Some(b'-' | b']')) {
        return Err(BadPattern);
    }
    if rest.first() == Some(&b'\\') {
        *rest = &rest[1..];
    }
    let (c, len) = decode(rest).ok_or(BadPattern)?;
    if c == char::REPLACEMENT_CHARACTER && len == 1 {
        return Err(BadPattern);
    }
    *rest = &rest[len..];
    // The class must be closed.
    if rest.is_empty() { Err(BadPattern) } else { Ok(c) }
}

/// The first character and its length; a byte that is no UTF-8 counts as one unknown character.
fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    let valid = bytes.get(..bytes.len().min(4))?;
    let text = match std::str::from_utf8(valid) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&valid[..e.valid_up_to()]).unwrap_or_default(),
    };
    match text.chars().next() {
        Some(c) => Some((c, c.len_utf8())),
        None if bytes.is_empty() => None,
        None => Some((char::REPLACEMENT_CHARACTER, 1)),
    }
}

/// Matches with one point to come back to: the last star.
fn run(tokens: &[Token], name: &[u8]) -> bool {
    let (mut t, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let step = match tokens.get(t) {
            None if n == name.len() => return true,
            None => None,
            Some(Token::Star) => {
                back = Some((t + 1, n));
                t += 1;
                continue;
            }
            Some(token) => one(token, &name[n..]),
        };
        match (step, back) {
            (Some(len), _) => {
                t += 1;
                n += len;
            }
            (None, Some((after, from))) if from < name.len() && name[from] != b'/' => {
                back = Some((after, from + 1));
                (t, n) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// How many bytes a token other than a star takes of `name`.
fn one(token: &Token, name: &[u8]) -> Option<usize> {
    match token {
        Token::Literal(b) => (name.first() == Some(b)).then_some(1),
        Token::Any => decode(name).filter(|(c, _)| *c != '/').map(|(_, len)| len),
        Token::Class { negated, ranges } => {
            let (c, len) = decode(name)?;
            let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
            (inside != *negated).then_some(len)
        }
        Token::Star => unreachable!("stars are taken by the caller"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_match_as_in_go() {
        let check = |pattern: &str, name: &str, expected| {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        };
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "x", false),
        ] {
            check(pattern, name, Ok(expected));
        }
        for bad in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "\\"] {
            check(bad, "a", Err(BadPattern));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_patterns_never_panic(pattern in prop::collection::vec(any::<u8>(), 0..20), name in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = matches(&pattern, &name);
        }

        #[test]
        fn an_escaped_name_matches_itself(name in "[^/\\x00]{0,12}") {
            let escaped: String = name.chars().flat_map(|c| if c.is_ascii() { vec!['\\', c] } else { vec![c] }).collect();
            prop_assert_eq!(matches(escaped.as_bytes(), name.as_bytes()), Ok(true));
        }
    }
}
