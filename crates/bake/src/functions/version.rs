//! `semvercmp`: whether a version is within a constraint such as `>=1.2, <2 || ~3.1`.

use std::cmp::Ordering;

use super::{Called, Context, bad, text_of};
use crate::value::Value;

#[derive(Debug, Clone, Default)]
struct Version {
    numbers: [u64; 3],
    /// What follows the hyphen; empty for a release.
    pre: String,
}

impl Version {
    /// One to three numbers, perhaps with a `v` before and a prerelease and build behind.
    fn parse(text: &str) -> Option<Version> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = text.split_once('+').map_or((text, None), |(t, b)| (t, Some(b)));
        let (core, pre) = text.split_once('-').map_or((text, None), |(t, p)| (t, Some(p)));
        let well_formed = |ids: &str| {
            ids.split('.')
                .all(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        };
        if !pre.is_none_or(well_formed) || !build.is_none_or(well_formed) {
            return None;
        }
        let mut numbers = [0; 3];
        let parts: Vec<&str> = core.split('.').collect();
        if parts.len() > 3 {
            return None;
        }
        for (number, part) in numbers.iter_mut().zip(parts) {
            let plain = part.bytes().all(|b| b.is_ascii_digit());
            *number = part.parse().ok().filter(|_| plain)?;
        }
        Some(Version { numbers, pre: pre.unwrap_or_default().to_owned() })
    }

    fn compare(&self, other: &Version) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| compare_pre(&self.pre, &other.pre))
    }
}

/// A release comes after all its prereleases; numbers come before words.
fn compare_pre(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        _ => {}
    }
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                _ => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// An operator and a version of which the last numbers may be left open.
#[derive(Debug)]
struct Rule {
    operator: String,
    version: Version,
    /// How many numbers are given.
    given: usize,
}

impl Rule {
    fn parse(text: &str) -> Option<Rule> {
        let end = text.find(|c: char| !matches!(c, '=' | '!' | '<' | '>' | '~' | '^')).unwrap_or(text.len());
        let (operator, version) = (&text[..end], text[end..].trim());
        let known = ["", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^"];
        if !known.contains(&operator) {
            return None;
        }
        let version = version.strip_prefix('v').unwrap_or(version);
        let end = version.find(['-', '+']).unwrap_or(version.len());
        let (core, extra) = version.split_at(end);
        let parts: Vec<&str> = core.split('.').collect();
        let is_open = |part: &&str| matches!(*part, "x" | "X" | "*");
        let given = parts.iter().position(is_open).unwrap_or(parts.len());
        if parts.len() > 3 || parts.iter().any(|p| p.is_empty()) {
            return None;
        }
        let mut numbers: Vec<&str> = parts[..given].to_vec();
        numbers.resize(3, "0");
        let version = Version::parse(&format!("{}{extra}", numbers.join(".")))?;
        Some(Rule { operator: operator.to_owned(), version, given })
    }

    fn admits(&self, v: &Version, with_pre: bool) -> bool {
        if !v.pre.is_empty() && !with_pre {
            return false;
        }
        let given = &self.version.numbers[..self.given];
        let is_open = self.given < 3;
        let order = v.compare(&self.version);
        match self.operator.as_str() {
            "" | "=" if !is_open => order.is_eq(),
            "" | "=" | "~" | "~>" => self.tilde(v, order),
            "!=" if is_open => {
                let differs = !v.numbers.starts_with(given);
                differs
                    || (self.given == 2 && compare_pre(&v.pre, &self.version.pre).is_ne() && self.has_pre(v))
            }
            "!=" => order.is_ne(),
            ">" if is_open => v.numbers[..self.given.max(1)] > self.version.numbers[..self.given.max(1)],
            ">" => order.is_gt(),
            "<" => order.is_lt(),
            ">=" | "=>" => order.is_ge(),
            _ if self.operator == "^" => self.caret(v, order),
            _ if is_open => v.numbers[..self.given.max(1)] <= self.version.numbers[..self.given.max(1)],
            _ => order.is_le(),
        }
    }

    fn has_pre(&self, v: &Version) -> bool {
        !v.pre.is_empty() || !self.version.pre.is_empty()
    }

    /// The same as far as the second number.
    fn tilde(&self, v: &Version, order: Ordering) -> bool {
        if order.is_lt() {
            return false;
        }
        let anything = self.version.numbers == [0; 3] && (self.given == 0 || self.given == 3);
        anything || v.numbers.starts_with(&self.version.numbers[..self.given.clamp(1, 2)])
    }

    /// The same as far as the first number that is not zero.
    fn caret(&self, v: &Version, order: Ordering) -> bool {
        if order.is_lt() {
            return false;
        }
        let [major, minor, _] = self.version.numbers;
        let fixed = match (major, minor) {
            (1.., _) => 1,
            _ if self.given == 1 => 1,
            (_, 1..) => 2,
            _ if self.given == 2 => 2,
            _ => 3,
        };
        v.numbers[..fixed] == self.version.numbers[..fixed]
    }
}

/// Rules that must all hold: split at commas and spaces, where an operator may stand apart from its version.
fn rules(text: &str) -> Option<Vec<Rule>> {
    let mut text = text.trim().to_owned();
    if let Some((low, high)) = text.split_once(" - ") {
        text = format!(">={} <={}", low.trim(), high.trim());
    }
    let mut words: Vec<String> = Vec::new();
    for word in text.split([',', ' ', '\t']).filter(|w| !w.is_empty()) {
        match words.last_mut() {
            Some(last) if last.chars().all(|c| "=!<>~^".contains(c)) => last.push_str(word),
            _ => words.push(word.to_owned()),
        }
    }
    if words.is_empty() {
        return None;
    }
    words.iter().map(|w| Rule::parse(w)).collect()
}

pub(super) fn semver_compare(args: &[Value], _: &Context) -> Called {
    let (text, constraint) = (text_of(args, 0), text_of(args, 1));
    let version =
        Version::parse(text).ok_or_else(|| bad(0, format!("`{text}` is no version such as 1.2.3")))?;
    let mut admitted = false;
    for alternative in constraint.split("||") {
        let rules = rules(alternative)
            .ok_or_else(|| bad(1, format!("`{alternative}` is no constraint such as >=1.2")))?;
        let with_pre = rules.iter().any(|r| !r.version.pre.is_empty());
        admitted |= rules.iter().all(|r| r.admits(&version, with_pre));
    }
    Ok(Value::Bool(admitted))
}
