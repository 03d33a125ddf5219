//! `$NAME`, `${NAME:-default}` and their like in the values of Compose files.

use serde_json::Value as Json;

/// Nesting of defaults past this is refused.
const MAX_DEPTH: usize = 32;

type Lookup<'l> = dyn Fn(&str) -> Option<String> + 'l;

/// Fills in all text of a value. Keys stay as they are.
///
/// # Errors
/// Tells the path of the value that is malformed or wants a variable that is not set.
pub fn value(value: &mut Json, path: &str, lookup: &Lookup) -> Result<(), String> {
    match value {
        Json::String(s) => {
            if s.contains('$') {
                *s = text(s, lookup).map_err(|e| format!("error while interpolating {path}: {e}"))?;
            }
            Ok(())
        }
        Json::Array(items) => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(i, item)| self::value(item, &format!("{path}.[{i}]"), lookup)),
        Json::Object(map) => {
            map.iter_mut().try_for_each(|(key, item)| self::value(item, &join(path, key), lookup))
        }
        _ => Ok(()),
    }
}

pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Fills in one text; `$$` is a dollar.
///
/// # Errors
/// If it is malformed or wants a variable that is not set.
pub fn text(text: &str, lookup: &Lookup) -> Result<String, String> {
    fill(text, lookup, 0)
}

fn fill(text: &str, lookup: &Lookup, depth: usize) -> Result<String, String> {
    let invalid = || format!("invalid interpolation format: `{text}` (a dollar sign is written as $$)");
    if depth > MAX_DEPTH {
        return Err(invalid());
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or_else(invalid)?;
            out.push_str(&expression(&after[..end], lookup, depth).ok_or_else(invalid)??);
            rest = &after[end + 1..];
        } else {
            let end = name_end(rest);
            if end == 0 {
                return Err(invalid());
            }
            out.push_str(&lookup(&rest[..end]).unwrap_or_default());
            rest = &rest[end..];
        }
        if out.len() > 1 << 24 {
            return Err("the text is too long".into());
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The brace that closes the one before the text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(i),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn name_end(text: &str) -> usize {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(is_start) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// What stands between braces. `None` if it is malformed.
fn expression(text: &str, lookup: &Lookup, depth: usize) -> Option<Result<String, String>> {
    let end = name_end(text);
    let (name, operator) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let value = lookup(name);
    let filled = value.clone().filter(|v| !v.is_empty());
    let word = |skip: usize| fill(&operator[skip..], lookup, depth + 1);
    Some(match operator.as_bytes() {
        [] => Ok(value.unwrap_or_default()),
        [b':', b'-', ..] => filled.map_or_else(|| word(2), Ok),
        [b'-', ..] => value.map_or_else(|| word(1), Ok),
        [b':', b'+', ..] => filled.map_or_else(|| Ok(String::new()), |_| word(2)),
        [b'+', ..] => value.map_or_else(|| Ok(String::new()), |_| word(1)),
        [b':', b'?', ..] => filled.ok_or(()).or_else(|()| word(2).and_then(|why| Err(missing(name, &why)))),
        [b'?', ..] => value.ok_or(()).or_else(|()| word(1).and_then(|why| Err(missing(name, &why)))),
        _ => return None,
    })
}

fn missing(name: &str, why: &str) -> String {
    format!("required variable {name} is missing a value: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        };
        let check = |from: &str, to: &str| assert_eq!(text(from, &lookup).as_deref(), Ok(to), "{from}");
        check("$A-${A}-$$A", "a-a-$A");
        check("${N:-d}${E:-d}${E-d}${N-d}", "ddd");
        check("${A:+x}${E:+x}${E+x}${N+x}", "xx");
        check("${N:-${A}${N:-y}}", "ay");
        check("${N}", "");
        for wrong in ["$", "${", "${}", "${A", "${1}", "$-", "${A!}"] {
            assert!(text(wrong, &lookup).is_err(), "{wrong}");
        }
        assert!(text("${N:?no}", &lookup).unwrap_err().contains("no"));
    }
}
