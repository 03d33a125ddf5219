//! JSON in the form that Go's `encoding/json` writes, on which digests of configs, manifests and cache keys stand.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// As `json.Marshal`: compact, with `<`, `>`, `&`, U+2028 and U+2029 escaped.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    write(value, Go(CompactFormatter))
}

/// As `json.MarshalIndent` with two spaces.
pub fn to_vec_indent<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    write(value, Go(PrettyFormatter::with_indent(b"  ")))
}

fn write<T: Serialize + ?Sized, F: Formatter>(value: &T, formatter: F) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, formatter);
    value
        .serialize(&mut serializer)
        .expect("data of this crate has string keys, and memory takes all writes");
    out
}

/// Valid JSON as `json.Marshal` writes it: without spaces, and escaped. Keys and numbers stay as they are.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            ' ' | '\t' | '\n' | '\r' if !in_string => continue,
            '"' if !escaped => in_string = !in_string,
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
                escaped = false;
                continue;
            }
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// Compact JSON with two spaces for each level, as `json.MarshalIndent` does it.
pub fn indent(compact: &str) -> String {
    let mut out = String::with_capacity(compact.len() * 2);
    let (mut in_string, mut escaped, mut depth) = (false, false, 0);
    let mut chars = compact.chars().peekable();
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        match c {
            '"' if !escaped => in_string = !in_string,
            '{' | '[' if !in_string => {
                out.push(c);
                match chars.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut out, depth);
                    }
                }
                continue;
            }
            '}' | ']' if !in_string => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
            }
            ',' if !in_string => {
                out.push(c);
                new_line(&mut out, depth);
                continue;
            }
            ':' if !in_string => {
                out.push_str(": ");
                continue;
            }
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// Escapes what Go escapes, and leaves the layout to another formatter.
struct Go<F>(F);

macro_rules! layout {
    ($($name:ident($($arg:ident: $ty:ty),*)),+ $(,)?) => {
        $(fn $name<W: ?Sized + io::Write>(&mut self, w: &mut W $(, $arg: $ty)*) -> io::Result<()> {
            self.0.$name(w $(, $arg)*)
        })+
    };
}

impl<F: Formatter> Formatter for Go<F> {
    layout!(
        begin_array(),
        end_array(),
        begin_array_value(first: bool),
        end_array_value(),
        begin_object(),
        end_object(),
        begin_object_key(first: bool),
        end_object_key(),
        begin_object_value(),
        end_object_value(),
    );

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, w: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}', '\u{7f}']) {
            let c = rest[at..].chars().next().expect("found there");
            w.write_all(&rest.as_bytes()[..at])?;
            if c == '\u{7f}' {
                w.write_all(b"\x7f")?;
            } else {
                write!(w, "\\u{:04x}", u32::from(c))?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        w.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_in_go() {
        let text = "a<b>&c \u{2028}\u{2029}\"\\\n\r\t\u{8}\u{c}\u{1}ü\u{7f}";
        let expected = "\"a\\u003cb\\u003e\\u0026c \\u2028\\u2029\\\"\\\\\\n\\r\\t\\b\\f\\u0001ü\u{7f}\"";
        assert_eq!(String::from_utf8(to_vec(text)).expect("text"), expected);
    }

    #[test]
    fn empty_lists_and_maps_stay_on_one_line_when_indented() {
        let value = serde_json::json!({"a": [], "b": {}, "c": [1]});
        let expected = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1\n  ]\n}";
        assert_eq!(String::from_utf8(to_vec_indent(&value)).expect("text"), expected);
    }

    #[test]
    fn texts_are_laid_out_anew() {
        let given = r#" { "b" : [ 1.50 , "a \" < b" ] , "a": {} , "c":[ ],"d":{"e":"[,:]\\"}, "f":null}"#;
        let short = compact(given);
        let expected = r#"{"b":[1.50,"a \" \u003c b"],"a":{},"c":[],"d":{"e":"[,:]\\"},"f":null}"#;
        assert_eq!(short, expected);
        insta::assert_snapshot!(indent(&short), @r#"
        {
          "b": [
            1.50,
            "a \" \u003c b"
          ],
          "a": {},
          "c": [],
          "d": {
            "e": "[,:]\\"
          },
          "f": null
        }
        "#);
        assert_eq!(compact(&indent(&short)), short);
    }
}
