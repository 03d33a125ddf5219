//! `.env` files: lines of `KEY=value`.

use std::collections::BTreeMap;

use super::interpolate;

/// Reads all variables. Values see those before them, and `outside`.
///
/// # Errors
/// Tells the line that is malformed.
pub fn parse(text: &str, outside: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    while let Some(statement) = next_statement(rest) {
        let line = text[..text.len() - statement.len()].matches('\n').count() + 1;
        let statement = match statement.strip_prefix("export") {
            Some(after) if after.starts_with([' ', '\t']) => after.trim_start(),
            _ => statement,
        };
        let end = statement.find(['=', ':', '\n']).unwrap_or(statement.len());
        let key = statement[..end].trim_end();
        let valid = |c: char| c.is_alphanumeric() || "_.-[]".contains(c);
        if let Some(odd) = key.chars().find(|c| !valid(*c)) {
            return Err(format!("line {line}: unexpected character \"{odd}\" in variable name \"{key}\""));
        }
        match statement[end..].chars().next() {
            Some('=' | ':') => {
                let (value, after) = value(&statement[end + 1..], line, &out, outside)?;
                out.insert(key.to_owned(), value);
                rest = after;
            }
            // A name alone takes its value from outside.
            _ => {
                out.extend(outside.get(key).map(|v| (key.to_owned(), v.clone())));
                rest = &statement[end..];
            }
        }
    }
    Ok(out)
}

/// What follows empty lines and comments.
fn next_statement(mut text: &str) -> Option<&str> {
    loop {
        text = text.trim_start();
        match text.strip_prefix('#') {
            Some(comment) => text = comment.find('\n').map_or("", |i| &comment[i..]),
            None => return (!text.is_empty()).then_some(text),
        }
    }
}

fn value<'t>(
    text: &'t str,
    line: usize,
    known: &BTreeMap<String, String>,
    outside: &BTreeMap<String, String>,
) -> Result<(String, &'t str), String> {
    let text = text.trim_start_matches([' ', '\t']);
    let lookup = |name: &str| outside.get(name).or_else(|| known.get(name)).cloned();
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let (value, rest) = text.split_once('\n').unwrap_or((text, ""));
        let value = value.split(" #").next().unwrap_or_default().trim_end();
        return Ok((interpolate::text(value, &lookup)?, rest));
    };
    let mut out = String::new();
    let mut chars = text[1..].char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, escaped)) if escaped == quote => out.push(escaped),
                Some((_, escaped)) => out.extend(['\\', escaped]),
                None => break,
            },
            c if c == quote => {
                let rest = &text[1 + i + 1..];
                let value = match quote {
                    '"' => interpolate::text(&unescaped(&out), &lookup)?,
                    _ => out,
                };
                return Ok((value, rest));
            }
            c => out.push(c),
        }
    }
    Err(format!("line {line}: unterminated quoted value"))
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('$') => out.push_str("$$"),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}
