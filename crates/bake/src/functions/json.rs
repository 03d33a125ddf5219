//! Values as JSON, and JSON as values.

use serde_json::Value as Json;

use crate::number::Number;
use crate::value::{Fields, Value};

/// Whether JSON has a form for it: it has none for infinity.
pub(crate) fn is_finite(value: &Value) -> bool {
    match value {
        Value::Number(n) => !n.is_infinite(),
        Value::List(_, values) | Value::Set(_, values) | Value::Tuple(values) => values.iter().all(is_finite),
        Value::Map(_, fields) | Value::Object(fields) => fields.values().all(is_finite),
        _ => true,
    }
}

/// One line, keys sorted, and `<`, `>`, `&` escaped, so that it may stand in HTML.
pub(crate) fn encode(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null(_) => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::String(text) => write_text(text, out),
        Value::List(_, values) | Value::Set(_, values) | Value::Tuple(values) => {
            out.push('[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(value, out);
            }
            out.push(']');
        }
        Value::Map(_, fields) | Value::Object(fields) => {
            out.push('{');
            for (i, (key, value)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Objects become objects, arrays tuples.
///
/// # Errors
/// If the text is no JSON, or a number is out of range.
pub(crate) fn decode(text: &str) -> Result<Value, String> {
    let json: &serde_json::value::RawValue = serde_json::from_str(text).map_err(|e| e.to_string())?;
    from_raw(json.get())
}

/// Numbers are read from their text: a machine float would lose digits.
fn from_raw(text: &str) -> Result<Value, String> {
    use serde_json::value::RawValue;
    let broken = |e: serde_json::Error| e.to_string();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let fields: std::collections::BTreeMap<String, Box<RawValue>> =
                serde_json::from_str(text).map_err(broken)?;
            let fields = fields.into_iter().map(|(k, v)| {
                let Value::String(key) = Value::string(k) else {
                    return Err("a key must be text".to_owned());
                };
                Ok((key, from_raw(v.get())?))
            });
            Value::object(fields.collect::<Result<Fields, String>>()?)
        }
        Some(b'[') => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text).map_err(broken)?;
            Value::tuple(items.iter().map(|v| from_raw(v.get())).collect::<Result<_, _>>()?)
        }
        Some(b'"') => match serde_json::from_str(text).map_err(broken)? {
            Json::String(text) => Value::string(text),
            _ => Value::NULL,
        },
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::NULL,
        _ => Value::number(Number::parse(text).ok_or_else(|| format!("the number {text} is out of range"))?),
    })
}
