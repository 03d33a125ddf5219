//! Lists of patterns that choose paths, as in `.dockerignore`: the rules of moby/patternmatcher.
//!
//! `*` and `?` stop at `/`, `**` does not, `!` takes back what earlier patterns chose, and a pattern that matches a
//! directory matches all below it. The last pattern that has a say wins.

use regex::bytes::Regex;

use crate::glob;

/// A list of patterns.
#[derive(Debug, Clone)]
pub struct Matcher {
    patterns: Vec<Pattern>,
    exclusions: bool,
}

/// Which patterns matched a directory, for its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MatchInfo {
    matched: Vec<bool>,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    exclusion: bool,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Exact,
    /// `dir/**`
    Prefix(String),
    /// `**/name` or `**name`
    Suffix(String),
    Regex(Regex),
    /// Passed the syntax check, but stands for nothing.
    Never,
}

/// A pattern that has no meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidPattern {
    Syntax(String),
    BareExclusion,
}

impl std::fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InvalidPattern::Syntax(_) => f.write_str("syntax error in pattern"),
            InvalidPattern::BareExclusion => f.write_str("illegal exclusion pattern: \"!\""),
        }
    }
}

impl std::error::Error for InvalidPattern {}

impl Matcher {
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, InvalidPattern> {
        let patterns = patterns.iter().map(AsRef::as_ref).map(str::trim).filter(|p| !p.is_empty());
        let patterns = patterns.map(Pattern::parse).collect::<Result<Vec<_>, _>>()?;
        let exclusions = patterns.iter().any(|p| p.exclusion);
        Ok(Matcher { patterns, exclusions })
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether any pattern takes back, so that a directory that is chosen may hold paths that are not.
    pub fn has_exclusions(&self) -> bool {
        self.exclusions
    }

    /// Whether the path, or a directory above it, is chosen. The path is relative, with `/` between its parts.
    pub fn matches_or_parent(&self, path: &[u8]) -> bool {
        let mut chosen = false;
        for pattern in &self.patterns {
            if pattern.exclusion == chosen && (pattern.matches(path) || pattern.matches_parent(path)) {
                chosen = !pattern.exclusion;
            }
        }
        chosen
    }

    /// As [`Matcher::matches_or_parent`], for a walk that hands the answer for a directory to its entries. A default
    /// `parent` means that nothing is known of the directories above.
    pub fn matches_using_parent(&self, path: &[u8], parent: &MatchInfo) -> (bool, MatchInfo) {
        let known = parent.matched.len() == self.patterns.len();
        let mut info = MatchInfo { matched: vec![false; self.patterns.len()] };
        let mut chosen = false;
        for (i, pattern) in self.patterns.iter().enumerate() {
            let inherited = known && parent.matched[i];
            let matched = inherited
                || (pattern.exclusion == chosen
                    && (pattern.matches(path) || (!known && pattern.matches_parent(path))));
            info.matched[i] = matched;
            if matched {
                chosen = !pattern.exclusion;
            }
        }
        (chosen, info)
    }

    /// Whether a path below the directory `dir`, which is chosen, may be taken back by an exclusion.
    pub fn may_take_back_below(&self, dir: &[u8]) -> bool {
        let mut prefix = dir.to_vec();
        prefix.push(b'/');
        self.patterns.iter().filter(|p| p.exclusion).any(|p| p.may_match_below(&prefix))
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let cleaned = clean(text);
        let (exclusion, text) = match cleaned.strip_prefix('!') {
            Some("") => return Err(InvalidPattern::BareExclusion),
            Some(rest) => (true, rest.to_owned()),
            None => (false, cleaned),
        };
        glob::matches(text.as_bytes(), b".").map_err(|_| InvalidPattern::Syntax(text.clone()))?;
        let kind = compile(&text);
        Ok(Pattern { text, exclusion, kind })
    }

    fn matches(&self, path: &[u8]) -> bool {
        match &self.kind {
            Kind::Exact => path == self.text.as_bytes(),
            Kind::Prefix(prefix) => path.starts_with(prefix.as_bytes()),
            Kind::Suffix(suffix) => {
                path.ends_with(suffix.as_bytes())
                    || suffix.strip_prefix('/').is_some_and(|s| path == s.as_bytes())
            }
            Kind::Regex(regex) => regex.is_match(path),
            Kind::Never => false,
        }
    }

    fn matches_parent(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
        ends.into_iter().any(|end| self.matches(&path[..end]))
    }

    /// `prefix` ends in a slash. Where a wildcard comes before its end, it may.
    fn may_match_below(&self, prefix: &[u8]) -> bool {
        let text = self.text.as_bytes();
        let plain = text.iter().position(|b| b"*?[\\".contains(b)).unwrap_or(text.len());
        let shared = plain.min(prefix.len());
        text[..shared] == prefix[..shared] && (plain < text.len() || text.len() > prefix.len())
    }
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => _ = parts.pop(),
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

fn compile(text: &str) -> Kind {
    enum Shape {
        Exact,
        Prefix,
        Suffix,
        Regex,
    }
    let mut shape = Shape::Exact;
    let mut regex = String::from("(?s-u)^");
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.peek() == Some(&'*') => {
                chars.next();
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    regex.push_str("(.*/)?");
                    shape = Shape::Regex;
                } else if matches!(shape, Shape::Exact) {
                    shape = Shape::Prefix;
                } else {
                    regex.push_str(".*");
                    shape = Shape::Regex;
                }
                if first {
                    shape = Shape::Suffix;
                }
            }
            '*' => {
                regex.push_str("[^/]*");
                shape = Shape::Regex;
            }
            '?' => {
                // A byte that is no text counts as one character.
                regex.push_str(r"(?:(?u:[^/])|[\x80-\xff])");
                shape = Shape::Regex;
            }
            '\\' => {
                if let Some(escaped) = chars.next() {
                    push_literal(&mut regex, escaped);
                    shape = Shape::Regex;
                }
            }
            '[' => {
                push_class(&mut regex, &mut chars);
                shape = Shape::Regex;
            }
            c => push_literal(&mut regex, c),
        }
        first = false;
    }
    match shape {
        Shape::Exact => Kind::Exact,
        Shape::Prefix => Kind::Prefix(text[..text.len() - 2].to_owned()),
        Shape::Suffix => Kind::Suffix(text[2..].to_owned()),
        Shape::Regex => {
            regex.push('$');
            Regex::new(&regex).map_or(Kind::Never, Kind::Regex)
        }
    }
}

/// A class goes over as it stands; what only this regex dialect gives a meaning is escaped.
fn push_class(regex: &mut String, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    regex.push_str("(?u:[");
    if chars.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    while let Some(c) = chars.next() {
        match c {
            ']' => break,
            '\\' => {
                if let Some(escaped) = chars.next() {
                    regex.push_str(&regex::escape(&escaped.to_string()));
                }
            }
            '[' | '&' | '~' => {
                regex.push('\\');
                regex.push(c);
            }
            c => regex.push(c),
        }
    }
    regex.push_str("])");
}

fn push_literal(regex: &mut String, c: char) {
    let mut bytes = [0; 4];
    let text = c.encode_utf8(&mut bytes);
    if c.is_ascii() {
        regex.push_str(&regex::escape(text));
    } else {
        for b in text.bytes() {
            regex.push_str(&format!("\\x{b:02x}"));
        }
    }
}

#[cfg(test)]
mod tests;
