//! Base64, JSON, CSV, URLs.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Called, Context, bad, json, text_of};
use crate::types::Type;
use crate::value::{Fields, Value};

pub(super) fn base64_encode(args: &[Value], _: &Context) -> Called {
    Ok(Value::string(STANDARD.encode(text_of(args, 0))))
}

pub(super) fn base64_decode(args: &[Value], _: &Context) -> Called {
    // Line ends may stand anywhere in it.
    let text: String = text_of(args, 0).chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = STANDARD.decode(&text).map_err(|_| bad(0, format!("`{text}` is no base64")))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Value::string(text)),
        Err(_) => Err(bad(0, "what was encoded is not UTF-8")),
    }
}

pub(super) fn json_encode(args: &[Value], _: &Context) -> Called {
    match json::is_finite(&args[0]) {
        true => Ok(Value::string(json::encode(&args[0]))),
        false => Err(bad(0, "infinity cannot be written as JSON")),
    }
}

pub(super) fn json_decode(args: &[Value], _: &Context) -> Called {
    json::decode(text_of(args, 0)).map_err(|why| bad(0, why))
}

pub(super) fn url_encode(args: &[Value], _: &Context) -> Called {
    let mut out = String::new();
    for byte in text_of(args, 0).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(Value::string(out))
}

/// A list of objects; the first line names the columns.
pub(super) fn csv_decode(args: &[Value], _: &Context) -> Called {
    let mut records = records(text_of(args, 0)).map_err(|why| bad(0, why))?.into_iter();
    let header = records.next().ok_or_else(|| bad(0, "the line with names of columns is missing"))?;
    let mut types = std::collections::BTreeMap::new();
    for name in &header {
        if types.insert(Rc::from(name.as_str()), Type::String).is_some() {
            return Err(bad(0, format!("the column \"{name}\" is there twice")));
        }
    }
    let mut rows = Vec::new();
    for (i, record) in records.enumerate() {
        if record.len() != header.len() {
            return Err(bad(0, format!("record {} has not as many fields as the first line", i + 1)));
        }
        let fields =
            header.iter().zip(record).map(|(name, field)| (Rc::from(name.as_str()), Value::string(field)));
        rows.push(Value::object(fields.collect::<Fields>()));
    }
    Ok(Value::list(Type::Object(Rc::new(types)), rows))
}

/// Records of RFC 4180; empty lines are none.
fn records(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut out = Vec::new();
    let mut record = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        if record.is_empty()
            && let Some(next) = rest.strip_prefix('\n').or_else(|| rest.strip_prefix("\r\n"))
        {
            (rest, line) = (next, line + 1);
            continue;
        }
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                quoted_field(quoted).ok_or_else(|| format!("line {line}: a quote is not closed well"))?
            }
            None => {
                let end = rest.find([',', '\n']).unwrap_or(rest.len());
                let field = &rest[..end];
                if field.contains('"') {
                    return Err(format!("line {line}: a quote within a field that is not quoted"));
                }
                let ends_line = rest[end..].starts_with('\n') || end == rest.len();
                let field = if ends_line { field.strip_suffix('\r').unwrap_or(field) } else { field };
                (field.to_owned(), &rest[end..])
            }
        };
        line += field.matches('\n').count();
        record.push(field);
        rest = match after.strip_prefix(',') {
            Some("") => {
                record.push(String::new());
                out.push(std::mem::take(&mut record));
                ""
            }
            Some(next) if next.starts_with('\n') => {
                record.push(String::new());
                next
            }
            Some(next) => {
                rest = next;
                continue;
            }
            None => after,
        };
        let after = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'));
        if !record.is_empty() {
            out.push(std::mem::take(&mut record));
        }
        line += usize::from(after.is_some());
        rest = after.unwrap_or(rest);
    }
    if !record.is_empty() {
        out.push(record);
    }
    Ok(out)
}

fn quoted_field(mut rest: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    loop {
        let quote = rest.find('"')?;
        field.push_str(&rest[..quote].replace("\r\n", "\n"));
        rest = &rest[quote + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => {
                let closed = rest.is_empty() || rest.starts_with([',', '\n']) || rest.starts_with("\r\n");
                return closed.then_some((field, rest));
            }
        }
    }
}
