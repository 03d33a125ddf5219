//! Regular expressions, as RE2 reads them.

use std::rc::Rc;

use regex::{Captures, Regex, RegexBuilder};

use super::{CallError, Called, Context, bad, text_of};
use crate::convert::common;
use crate::types::Type;
use crate::value::{Fields, Value};

/// Bytes that a compiled pattern may need.
const SIZE: usize = 1 << 22;

fn compile(args: &[Value], i: usize) -> Result<Regex, CallError> {
    let pattern = ascii_classes(text_of(args, i));
    RegexBuilder::new(&pattern)
        .size_limit(SIZE)
        .dfa_size_limit(SIZE)
        .build()
        .map_err(|e| bad(i, format!("invalid pattern: {e}")))
}

/// In RE2 `\d`, `\w`, `\s` and `\b` mean ASCII, and a class has no operators and no classes in it.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::new();
    let mut in_class = false;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('d') => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('s') => out.push_str(if in_class { r"\t\n\x0C\r " } else { r"[\t\n\x0C\r ]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('S') => out.push_str(r"[^\t\n\x0C\r ]"),
                Some('b') if !in_class => out.push_str(r"(?-u:\b)"),
                Some('Q') if !in_class => {
                    let rest: String = chars.by_ref().collect();
                    let (quoted, after) = rest.split_once(r"\E").unwrap_or((&rest, ""));
                    return out + &regex::escape(quoted) + &ascii_classes(after);
                }
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                }
            }
            '[' if chars.peek() == Some(&':') => out.push('['),
            '[' => out.push_str(r"\["),
            ']' => {
                // The end of a `[:name:]` does not end the class.
                in_class = in_class
                    && out.ends_with(':')
                    && out.rfind("[:").is_some_and(|at| !out[at..].contains(']'));
                out.push(']');
            }
            '&' | '~' if in_class => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// What the groups of a match say: the match itself where there are none, a tuple, or an object where they have names.
fn captured(regex: &Regex, found: &Captures) -> Result<Value, CallError> {
    let group = |i: usize| found.get(i).map_or(Value::Null(Type::String), |m| Value::string(m.as_str()));
    let names: Vec<Option<&str>> = regex.capture_names().skip(1).collect();
    if names.is_empty() {
        return Ok(group(0));
    }
    match names.iter().flatten().count() {
        0 => Ok(Value::tuple((1..=names.len()).map(group).collect())),
        named if named == names.len() => {
            let fields = names.iter().flatten().enumerate().map(|(i, name)| (Rc::from(*name), group(i + 1)));
            Ok(Value::object(fields.collect::<Fields>()))
        }
        _ => Err(bad(0, "either all groups of the pattern have names, or none")),
    }
}

pub(super) fn regex(args: &[Value], _: &Context) -> Called {
    let regex = compile(args, 0)?;
    match regex.captures(text_of(args, 1)) {
        Some(found) => captured(&regex, &found),
        None => Err("the pattern does not match any part of the text".into()),
    }
}

pub(super) fn regex_all(args: &[Value], _: &Context) -> Called {
    let regex = compile(args, 0)?;
    let all: Result<Vec<Value>, CallError> =
        regex.captures_iter(text_of(args, 1)).map(|found| captured(&regex, &found)).collect();
    let all = all?;
    Ok(Value::list(common(&all).unwrap_or(Type::Any), all))
}

/// `$1` and `${name}` in the replacement stand for groups.
pub(super) fn replace(args: &[Value], _: &Context) -> Called {
    let regex = compile(args, 1)?;
    let (text, replacement) = (text_of(args, 0), text_of(args, 2));
    let mut out = String::new();
    let mut last = 0;
    for found in regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&text[last..whole.start()]);
        found.expand(replacement, &mut out);
        last = whole.end();
        if out.len() > 1 << 26 {
            return Err(bad(2, "the result is too long"));
        }
    }
    out.push_str(&text[last..]);
    Ok(Value::string(out))
}
