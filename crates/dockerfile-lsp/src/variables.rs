//! Where a text uses variables.

use std::ops::Range;

/// The names behind `$` and `${`. In what a shell reads, single quotes hide nothing: the text in them often is for
/// another shell.
pub(crate) fn used(text: &str, escape: char, is_shell: bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut in_double = false;
    while let Some((_, c)) = chars.next() {
        match c {
            c if c == escape => _ = chars.next(),
            '"' => in_double = !in_double,
            '\'' if !is_shell && !in_double => _ = chars.by_ref().find(|(_, c)| *c == '\''),
            '$' => {
                let start = match chars.peek() {
                    Some((at, '{')) => at + 1,
                    Some((at, _)) => *at,
                    None => break,
                };
                let name = start..start + name_len(&text[start..]);
                if !name.is_empty() {
                    found.push(name);
                }
            }
            _ => {}
        }
    }
    found
}

/// The length of the name that a text begins with.
fn name_len(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !is_name(c)).unwrap_or(text.len())
}

pub(crate) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a text ends in the beginning of a variable: what there is of its name, and whether in braces.
pub(crate) fn begun(text: &str) -> Option<(&str, bool)> {
    let rest = text.trim_end_matches(is_name);
    let name = &text[rest.len()..];
    match rest.strip_suffix("${") {
        Some(_) => Some((name, true)),
        None => rest.ends_with('$').then_some((name, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_found() {
        let check = |text: &str, is_shell, expected: &[&str]| {
            let names: Vec<_> = used(text, '\\', is_shell).into_iter().map(|name| &text[name]).collect();
            assert_eq!(names, expected, "{text}");
        };
        check("$a ${b} ${c:-$d}x$e_1-f", false, &["a", "b", "c", "d", "e_1"]);
        check(r"\$a '$b' '$c'", false, &[]);
        check(r#""'$a'" '"'$b"#, false, &["a", "b"]);
        check(r"\$a '$b'", true, &["b"]);
        check("$ $1 $$ ${} $", true, &[]);
        check("ä$ö", false, &["ö"]);
    }

    #[test]
    fn beginnings_are_seen() {
        assert_eq!(begun("a $"), Some(("", false)));
        assert_eq!(begun("a${B_1"), Some(("B_1", true)));
        assert_eq!(begun("a B"), None);
    }
}
