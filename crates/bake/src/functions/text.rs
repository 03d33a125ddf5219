//! Text.

use unicode_segmentation::UnicodeSegmentation as _;

use super::{Called, Context, bad, elements, integer, text_of};
use crate::value::Value;

/// Letter by letter, so that no letter becomes two.
fn each(text: &str, change: impl Fn(char) -> Option<char>) -> Value {
    Value::string(text.chars().map(|c| change(c).unwrap_or(c)).collect::<String>())
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next();
    items.next().is_none().then_some(first).flatten()
}

pub(super) fn upper(args: &[Value], _: &Context) -> Called {
    Ok(each(text_of(args, 0), |c| only(c.to_uppercase())))
}

pub(super) fn lower(args: &[Value], _: &Context) -> Called {
    Ok(each(text_of(args, 0), |c| c.to_lowercase().next()))
}

/// The first letter of each word in upper case.
pub(super) fn title(args: &[Value], _: &Context) -> Called {
    let mut before = ' ';
    let mut out = String::new();
    for c in text_of(args, 0).chars() {
        let starts_word = match before.is_ascii() {
            true => !before.is_ascii_alphanumeric() && before != '_',
            false => before.is_whitespace(),
        };
        out.push(if starts_word { only(c.to_uppercase()).unwrap_or(c) } else { c });
        before = c;
    }
    Ok(Value::string(out))
}

pub(super) fn reverse(args: &[Value], _: &Context) -> Called {
    Ok(Value::string(text_of(args, 0).graphemes(true).rev().collect::<String>()))
}

pub(super) fn length(args: &[Value], _: &Context) -> Called {
    Ok(Value::count(text_of(args, 0).graphemes(true).count()))
}

/// A negative offset counts from the end, a negative length means the rest.
pub(super) fn substring(args: &[Value], _: &Context) -> Called {
    let (offset, length) = (integer(args, 1)?, integer(args, 2)?);
    let all: Vec<&str> = text_of(args, 0).graphemes(true).collect();
    let count = all.len() as i64;
    let start = if offset < 0 { offset + count } else { offset };
    if (offset >= 0 && length == 0) || start >= count.max(1) {
        return Ok(Value::string(""));
    }
    let start = start.max(0);
    let end = if length < 0 { count } else { start.saturating_add(length).min(count) };
    Ok(Value::string(all[start as usize..(end as usize).max(start as usize)].concat()))
}

pub(super) fn join(args: &[Value], _: &Context) -> Called {
    let mut items = Vec::new();
    for i in 1..args.len() {
        for (at, item) in elements(args, i).iter().enumerate() {
            let text = item.as_str();
            items.push(text.ok_or_else(|| bad(i, format!("item {at} is null and cannot be joined")))?);
        }
    }
    if args.len() < 2 {
        return Err("at least one list is required".into());
    }
    Ok(Value::string(items.join(text_of(args, 0))))
}

pub(super) fn split(args: &[Value], _: &Context) -> Called {
    let (separator, text) = (text_of(args, 0), text_of(args, 1));
    Ok(match separator.is_empty() {
        true => Value::strings(text.chars().map(String::from)),
        false => Value::strings(text.split(separator)),
    })
}

pub(super) fn chomp(args: &[Value], _: &Context) -> Called {
    Ok(Value::string(text_of(args, 0).trim_end_matches(['\r', '\n'])))
}

/// Every line but the first.
pub(super) fn indent(args: &[Value], _: &Context) -> Called {
    let spaces = usize::try_from(integer(args, 0)?).map_err(|_| bad(0, "the number must not be negative"))?;
    let text = text_of(args, 1);
    let lines = text.matches('\n').count();
    if spaces.saturating_mul(lines.max(1)) > 1 << 24 {
        return Err(bad(0, "this is too much space"));
    }
    Ok(Value::string(text.replace('\n', &format!("\n{}", " ".repeat(spaces)))))
}

pub(super) fn trim_space(args: &[Value], _: &Context) -> Called {
    Ok(Value::string(text_of(args, 0).trim()))
}

pub(super) fn trim(args: &[Value], _: &Context) -> Called {
    let set: Vec<char> = text_of(args, 1).chars().collect();
    Ok(Value::string(text_of(args, 0).trim_matches(set.as_slice())))
}

pub(super) fn trim_prefix(args: &[Value], _: &Context) -> Called {
    let (text, prefix) = (text_of(args, 0), text_of(args, 1));
    Ok(Value::string(text.strip_prefix(prefix).unwrap_or(text)))
}

pub(super) fn trim_suffix(args: &[Value], _: &Context) -> Called {
    let (text, suffix) = (text_of(args, 0), text_of(args, 1));
    Ok(Value::string(text.strip_suffix(suffix).unwrap_or(text)))
}

pub(super) fn replace(args: &[Value], _: &Context) -> Called {
    let (text, from, to) = (text_of(args, 0), text_of(args, 1), text_of(args, 2));
    let count = if from.is_empty() { text.len() + 1 } else { text.len() / from.len() };
    if count.saturating_mul(to.len()) > 1 << 26 {
        return Err(bad(2, "the result is too long"));
    }
    Ok(Value::string(text.replace(from, to)))
}

/// What a target may not be named by becomes `_`.
pub(super) fn sanitize(args: &[Value], _: &Context) -> Called {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    Ok(each(text_of(args, 0), |c| (!allowed(c)).then_some('_')))
}

pub(super) fn base_name(args: &[Value], _: &Context) -> Called {
    let path = text_of(args, 0);
    let trimmed = path.trim_end_matches('/');
    Ok(Value::string(match (path.is_empty(), trimmed.is_empty()) {
        (true, _) => ".",
        (_, true) => "/",
        _ => trimmed.rsplit('/').next().unwrap_or_default(),
    }))
}

pub(super) fn dir_name(args: &[Value], _: &Context) -> Called {
    let path = text_of(args, 0);
    let dir = path.rfind('/').map_or("", |i| &path[..=i]);
    Ok(Value::string(crate::path::clean(dir)))
}

/// There is no value of bytes in bake files, so nobody can call these two.
pub(super) fn no_bytes(_: &[Value], _: &Context) -> Called {
    Err(bad(0, "argument 1: bytes are required, and no other function makes any"))
}
