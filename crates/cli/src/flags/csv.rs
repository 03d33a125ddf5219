//! Comma-separated fields with quotes (RFC 4180), one record.

use errdefs::{Error, Result};

/// Splits a record. A field that begins with `"` runs to the next lone quote, and `""` inside stands for one quote.
pub(crate) fn fields(text: &str) -> Result<Vec<String>> {
    if text.is_empty() {
        return Err(Error::user("EOF"));
    }
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(text, quoted)?,
            None => bare_field(text, rest)?,
        };
        out.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(out),
        }
    }
}

/// The field up to the next comma, and what follows that comma.
fn bare_field<'a>(text: &str, rest: &'a str) -> Result<(String, Option<&'a str>)> {
    let (field, after) = match rest.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (rest, None),
    };
    match field.find('"') {
        Some(at) => Err(bad(text, &rest[at..], "bare \" in non-quoted-field")),
        None => Ok((field.to_owned(), after)),
    }
}

fn quoted_field<'a>(text: &str, mut rest: &'a str) -> Result<(String, Option<&'a str>)> {
    let mut field = String::new();
    loop {
        let Some((before, after)) = rest.split_once('"') else {
            return Err(bad(text, rest, "extraneous or missing \" in quoted-field"));
        };
        field.push_str(before);
        if let Some(after) = after.strip_prefix('"') {
            field.push('"');
            rest = after;
        } else if let Some(after) = after.strip_prefix(',') {
            return Ok((field, Some(after)));
        } else if after.is_empty() {
            return Ok((field, None));
        } else {
            return Err(bad(text, &rest[before.len()..], "extraneous or missing \" in quoted-field"));
        }
    }
}

/// `rest` is the tail of `text` that begins where the fault is.
fn bad(text: &str, rest: &str, why: &str) -> Error {
    let column = text.len() - rest.len() + 1;
    Error::user(format!("parse error on line 1, column {column}: {why}"))
}

/// Puts fields into one record, with quotes where they are needed.
#[cfg(test)]
fn join<S: AsRef<str>>(fields: impl IntoIterator<Item = S>) -> String {
    let quote = |field: &str| match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    };
    fields.into_iter().map(|f| quote(f.as_ref())).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let check = |text: &str, expect: &[&str]| assert_eq!(fields(text).expect(text), expect, "{text}");
        check("a", &["a"]);
        check("a,b", &["a", "b"]);
        check("a,", &["a", ""]);
        check(",", &["", ""]);
        check("type=local,dest=/x y", &["type=local", "dest=/x y"]);
        check("\"name=a,b\",push=true", &["name=a,b", "push=true"]);
        check("\"say \"\"hi\"\"\",x", &["say \"hi\"", "x"]);
        check("\"\"", &[""]);
    }

    #[test]
    fn faults() {
        let check = |text: &str, expect: &str| {
            assert_eq!(fields(text).expect_err(text).to_string(), expect, "{text}");
        };
        check("", "EOF");
        check("a\"b", "parse error on line 1, column 2: bare \" in non-quoted-field");
        check("x,\"a", "parse error on line 1, column 4: extraneous or missing \" in quoted-field");
        check("\"a\"b", "parse error on line 1, column 3: extraneous or missing \" in quoted-field");
    }

    proptest::proptest! {
        #[test]
        fn what_is_joined_splits_again(list in proptest::collection::vec(".*", 1..5)) {
            // One empty field alone is no record.
            proptest::prop_assume!(list != [""]);
            proptest::prop_assert_eq!(fields(&join(&list)).expect("own output"), list);
        }

        #[test]
        fn any_text_is_taken(text in "[a\",=]{0,12}") {
            let _ = fields(&text);
        }
    }
}
