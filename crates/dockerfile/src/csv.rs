//! One line of comma-separated fields (RFC 4180), as options and `--mount` values are written.

use crate::{Error, Result};

/// The fields of a line.
///
/// # Errors
/// For an empty line and for quotes that stand where they must not.
pub fn fields(line: &str) -> Result<Vec<String>> {
    let line = line.strip_suffix('\n').map_or(line, |l| l.strip_suffix('\r').unwrap_or(l));
    if line.is_empty() {
        return Err(Error::new("EOF"));
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let column = line.len() - rest.len();
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, line)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if let Some(quote) = rest[..end].find('"') {
                    return Err(fault(column + quote, "bare \" in non-quoted-field"));
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// Fields as one line, in quotes where they need them.
pub fn line(fields: impl IntoIterator<Item = String>) -> String {
    let quoted = |field: String| match field.contains([',', '"', '\n', '\r']) || field.is_empty() {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    };
    fields.into_iter().map(quoted).collect::<Vec<_>>().join(",")
}

/// What stands between quotes, and what follows the closing one: nothing or a comma.
fn quoted_field<'a>(mut rest: &'a str, line: &str) -> Result<(String, &'a str)> {
    let mut field = String::new();
    loop {
        let Some(quote) = rest.find('"') else {
            return Err(fault(line.len() - rest.len(), "extraneous or missing \" in quoted-field"));
        };
        field.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        if let Some(next) = rest.strip_prefix('"') {
            field.push('"');
            rest = next;
        } else if rest.is_empty() || rest.starts_with(',') {
            return Ok((field, rest));
        } else {
            return Err(fault(line.len() - rest.len() - 1, "extraneous or missing \" in quoted-field"));
        }
    }
}

fn fault(offset: usize, what: &str) -> Error {
    Error::new(format!("parse error on line 1, column {}: {what}", offset + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_and_unquoted() {
        let check = |line, expected: &[&str]| assert_eq!(fields(line).expect(line), expected, "{line}");
        check("a,b=c", &["a", "b=c"]);
        check("a,,", &["a", "", ""]);
        check(r#""a,b",c"#, &["a,b", "c"]);
        check(r#""say ""hi""""#, &[r#"say "hi""#]);
        check("a\r\n", &["a"]);
        check("a,", &["a", ""]);
        check("\"\"", &[""]);
    }

    #[test]
    fn stray_quotes_are_refused() {
        let check =
            |line, expected| assert_eq!(fields(line).expect_err(line).to_string(), expected, "{line}");
        check("", "EOF");
        check(r#"a"b"#, "parse error on line 1, column 2: bare \" in non-quoted-field");
        check(r#""a"b"#, "parse error on line 1, column 3: extraneous or missing \" in quoted-field");
        check(r#""a"#, "parse error on line 1, column 2: extraneous or missing \" in quoted-field");
    }

    proptest::proptest! {
        #[test]
        fn what_is_joined_splits_again(list in proptest::collection::vec(".*", 1..5)) {
            proptest::prop_assert_eq!(fields(&line(list.clone())).expect("own output"), list);
        }

        #[test]
        fn any_text_is_taken(text in "[a\",=]{0,12}") {
            let _ = fields(&text);
        }
    }
}
