//! The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?` and escapes of these.

use regex_lite::Regex;

use crate::{Error, Result};

pub(super) fn trim_prefix(pattern: &str, value: &str, greedy: bool) -> Result<String> {
    let regex = compile(pattern, greedy, true)?;
    Ok(regex.find(value).map_or(value, |m| &value[m.end()..]).to_owned())
}

/// The shortest match at the end is found as the shortest at the start, with both texts turned around.
pub(super) fn trim_suffix(pattern: &str, value: &str, greedy: bool) -> Result<String> {
    let trimmed = trim_prefix(&reverse_pattern(pattern), &reverse(value), greedy)?;
    Ok(reverse(&trimmed))
}

/// The first match is replaced by the text as it is. Where all are, `$0` in the text stands for the match and other
/// groups for nothing, as BuildKit has it.
pub(super) fn replace(pattern: &str, with: &str, value: &str, all: bool) -> Result<String> {
    let regex = compile(pattern, true, false)?;
    if all {
        return Ok(regex.replace_all(value, with).into_owned());
    }
    Ok(match regex.find(value) {
        Some(m) => format!("{}{with}{}", &value[..m.start()], &value[m.end()..]),
        None => value.to_owned(),
    })
}

fn compile(pattern: &str, greedy: bool, anchored: bool) -> Result<Regex> {
    let invalid = |why: String| Error::new(format!("invalid pattern ({pattern}) in substitution: {why}"));
    let mut out = if anchored { "^".to_owned() } else { String::new() };
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push_str(if greedy { ".*" } else { ".*?" }),
            '?' => out.push('.'),
            // These are escaped for the braces around the pattern, not for the pattern.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => {}
            '\\' => match chars.next() {
                Some(c @ ('*' | '?' | '\\')) => out.extend(['\\', c]),
                other => {
                    let c = other.unwrap_or(char::REPLACEMENT_CHARACTER);
                    return Err(invalid(format!("invalid escape '\\{c}'")));
                }
            },
            c => out.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&out).map_err(|e| invalid(e.to_string()))
}

fn reverse(text: &str) -> String {
    text.chars().rev().collect()
}

/// An escape stays in front of the character that it escapes.
fn reverse_pattern(pattern: &str) -> String {
    let mut parts = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        parts.push((c, escaped));
    }
    parts.into_iter().rev().flat_map(|(c, escaped)| [Some(c), escaped]).flatten().collect()
}
