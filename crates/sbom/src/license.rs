//! Licences in the words of packagers -> SPDX licence expressions (SPDX 2.3, annex D).

use sha2::{Digest as _, Sha256};

/// What a package says of its licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub expression: String,
    /// What the expression names and SPDX has no name for: `LicenseRef-…`, and the words of the packager.
    pub others: Vec<(String, String)>,
}

impl Declared {
    /// Reads lines of which all hold; `None` for none.
    pub fn read(text: &str) -> Option<Self> {
        let mut others = Vec::new();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut parts: Vec<String> = lines.map(|line| one(line, &mut others)).collect();
        parts.sort();
        parts.dedup();
        if parts.len() > 1 {
            let is_choice = |part: &str| part.contains(" OR ");
            parts = parts.into_iter().map(|p| if is_choice(&p) { format!("({p})") } else { p }).collect();
        }
        (!parts.is_empty()).then(|| Declared { expression: parts.join(" AND "), others })
    }
}

fn one(line: &str, others: &mut Vec<(String, String)>) -> String {
    if let Some(known) = expression(line) {
        return known;
    }
    let words: Vec<String> = line.split_whitespace().map(word).collect();
    if let Some(known) = expression(&words.join(" ")) {
        return known;
    }
    let id = format!("LicenseRef-{}", name(line));
    if !others.iter().any(|(known, _)| *known == id) {
        others.push((id.clone(), line.to_owned()));
    }
    id
}

/// The text where it is an expression of names that SPDX knows.
fn expression(text: &str) -> Option<String> {
    let parsed = spdx::Expression::parse(text).ok()?;
    // Names that the document would have to explain.
    let is_known = |req: &spdx::expression::ExpressionReq| req.req.license.id().is_some();
    parsed.requirements().all(is_known).then(|| text.to_owned())
}

/// A word of Debian's or Red Hat's as SPDX has it.
fn word(word: &str) -> String {
    let known = match word {
        "and" | "AND" => "AND",
        "or" | "OR" => "OR",
        "with" | "WITH" => "WITH",
        "Expat" | "expat" => "MIT",
        "ZLIB" | "zlib" => "Zlib",
        "Artistic" | "Artistic-1" => "Artistic-1.0-Perl",
        "BSD-3-clause" => "BSD-3-Clause",
        "BSD-2-clause" => "BSD-2-Clause",
        "BSD-4-clause" => "BSD-4-Clause",
        "PSF-2" => "PSF-2.0",
        "ASL" => "Apache-2.0",
        other => return gnu(other).unwrap_or_else(|| other.to_owned()),
    };
    known.to_owned()
}

/// `GPL-2+`, `LGPLv2.1+`, `GPLv3` and the like.
fn gnu(word: &str) -> Option<String> {
    let family = ["AGPL", "LGPL", "GPL", "GFDL"].into_iter().find(|family| word.starts_with(family))?;
    let rest = word[family.len()..].trim_start_matches(['-', 'v']);
    let (version, later) = match rest.strip_suffix('+') {
        Some(version) => (version, "or-later"),
        None => (rest, "only"),
    };
    let is_version = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let version = if version.contains('.') { version.to_owned() } else { format!("{version}.0") };
    is_version.then(|| format!("{family}-{version}-{later}"))
}

/// Letters, digits, `-` and `.` are all that a name may have; one that lost something has a mark.
fn name(line: &str) -> String {
    let plain: String =
        line.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    if plain == line.replace(' ', "-") && plain.len() <= 60 {
        return plain;
    }
    let mark: String = Sha256::digest(line).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{mark}", plain.chars().take(40).collect::<String>().trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_packagers() {
        for (text, expected) in [
            ("MIT", "MIT"),
            ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
            ("GPL-2+\nExpat\nMIT", "GPL-2.0-or-later AND MIT"),
            ("GPL-2+ or Artistic\nMIT", "(GPL-2.0-or-later OR Artistic-1.0-Perl) AND MIT"),
            ("GPLv2+ and LGPLv2.1", "GPL-2.0-or-later AND LGPL-2.1-only"),
            ("public-domain", "LicenseRef-public-domain"),
            ("Custom (see: x)", "LicenseRef-Custom--see--x-537f812c"),
            ("LicenseRef-x", "LicenseRef-LicenseRef-x"),
        ] {
            assert_eq!(Declared::read(text).expect("some").expression, expected);
        }
        assert_eq!(Declared::read(" \n"), None);
        let others = Declared::read("x y\nMIT\nx y").expect("some").others;
        assert_eq!(others, [("LicenseRef-x-y".to_owned(), "x y".to_owned())]);
    }
}
