//! Small files of the kernel.

use std::fs;
use std::path::Path;

/// Nothing where there is none, or it cannot be read: a controller may not be there, or not be told of.
pub fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// A file that is one number.
pub fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

/// `key value` in each line; what is no such line is passed over.
pub fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once([' ', '\t'])?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// Adds to a sum that may not have begun.
pub fn add(sum: &mut Option<u64>, value: u64) {
    *sum = Some(sum.unwrap_or_default().saturating_add(value));
}
