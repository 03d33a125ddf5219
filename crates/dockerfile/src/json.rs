//! The JSON form of a command: an array of strings.

use crate::{Error, Result};

/// The strings of an array. `None` where the text is no JSON array: it is then read as a shell's command line.
///
/// # Errors
/// For an array that holds something else than strings.
pub(crate) fn array(text: &str) -> Result<Option<Vec<String>>> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Ok(None) };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(s) => Ok(s),
        _ => Err(Error::new("when using JSON array syntax, arrays must be comprised of strings only")),
    });
    strings.collect::<Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_strings_only() {
        let check = |text, expected: Option<&[&str]>| {
            let got = array(text).expect(text);
            assert_eq!(
                got.as_deref().map(|v| v.iter().map(String::as_str).collect::<Vec<_>>()),
                expected.map(<[&str]>::to_vec),
                "{text}"
            );
        };
        check(r#" ["a", "b c"] "#, Some(&["a", "b c"]));
        check("[]", Some(&[]));
        check("echo", None);
        check(r#"["a" "b"]"#, None);
        check(r#"["a"] && x"#, None);
        assert!(array(r#"["a", 1]"#).is_err());
        assert!(array("[[\"a\"]]").is_err());
    }
}
