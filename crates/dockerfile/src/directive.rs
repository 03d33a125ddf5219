//! Parser directives: `# syntax=`, `# escape=` and `# check=` at the top of a file.

use std::collections::BTreeSet;

use errdefs::Range;

use crate::{Error, Result};

/// A directive: one of `syntax`, `escape`, `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    pub name: String,
    pub value: String,
    pub range: Range,
}

impl Directive {
    /// The value up to its first space: of `syntax`, the frontend's image.
    pub fn first_word(&self) -> &str {
        self.value.split(' ').next().unwrap_or_default()
    }
}

/// Reads directives until the first line that is none.
#[derive(Debug)]
pub(crate) struct Reader {
    prefix: &'static str,
    seen: BTreeSet<String>,
    done: bool,
}

impl Reader {
    pub(crate) fn new(prefix: &'static str) -> Self {
        Reader { prefix, seen: BTreeSet::new(), done: false }
    }

    /// # Errors
    /// For a directive that was there before.
    pub(crate) fn read(&mut self, line: &str, number: u32) -> Result<Option<Directive>> {
        if self.done {
            return Ok(None);
        }
        let Some((name, value)) = line.strip_prefix(self.prefix).and_then(name_and_value) else {
            self.done = true;
            return Ok(None);
        };
        if !self.seen.insert(name.clone()) {
            return Err(Error::new(format!("only one {name} parser directive can be used")));
        }
        Ok(Some(Directive { name, value: value.to_owned(), range: Range::lines(number, number) }))
    }
}

fn name_and_value(comment: &str) -> Option<(String, &str)> {
    let (name, value) = comment.trim_start().split_once('=')?;
    let name = name.trim_end().to_lowercase();
    let value = value.trim();
    (matches!(name.as_str(), "syntax" | "escape" | "check") && !value.is_empty()).then_some((name, value))
}

/// The frontend that a file asks for: `# syntax=`, `// syntax=`, or a JSON document with the key `syntax`. A `#!` line
/// on top is passed over.
pub fn detect_syntax(data: &[u8]) -> Option<Directive> {
    find("syntax", data, true)
}

/// The value of `# <name>=`, if the file has one.
pub fn find_directive(name: &str, data: &[u8]) -> Option<Directive> {
    find(name, data, false)
}

fn find(name: &str, data: &[u8], any_format: bool) -> Option<Directive> {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let (skipped, data) = match data.strip_prefix(b"#!") {
        Some(_) => (1, data.iter().position(|&b| b == b'\n').map_or(&[][..], |end| &data[end + 1..])),
        None => (0, data),
    };
    let prefixes: &[&'static str] = if any_format { &["#", "//"] } else { &["#"] };
    for prefix in prefixes {
        let mut reader = Reader::new(prefix);
        for (number, line) in (skipped + 1..).zip(data.split(|&b| b == b'\n')) {
            let found = reader.read(&String::from_utf8_lossy(line), number).ok().flatten();
            if found.as_ref().is_some_and(|d| d.name == name) {
                return found;
            }
            if reader.done {
                break;
            }
        }
    }
    let document: serde_json::Value = any_format.then(|| serde_json::from_slice(data).ok())??;
    let value = document.get(name)?.as_str()?.to_owned();
    Some(Directive { name: name.to_owned(), value, range: Range::lines(skipped, skipped) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_syntax_is_found() {
        let check = |text: &str, expected: Option<(&str, &str, u32)>| {
            let got = detect_syntax(text.as_bytes());
            let got = got.as_ref().map(|d| (d.first_word(), d.value.as_str(), d.range.start.line));
            assert_eq!(got, expected, "{text:?}");
        };
        check(
            "# syntax=docker/dockerfile:1\nFROM a",
            Some(("docker/dockerfile:1", "docker/dockerfile:1", 1)),
        );
        check("\u{feff}#Syntax = a b\r\n", Some(("a", "a b", 1)));
        check("#!/usr/bin/env x\n# escape=`\n# syntax=a", Some(("a", "a", 3)));
        check("// syntax=a\n", Some(("a", "a", 1)));
        check(r#"{"syntax": "a"}"#, Some(("a", "a", 0)));
        check("# a comment\n# syntax=a", None);
        check("\n# syntax=a", None);
        check("# unknown=1\n# syntax=a", None);
        check("FROM a", None);
    }
}
