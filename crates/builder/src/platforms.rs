//! Lists of platforms, as they are given and shown.

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use oci::Platform;

/// Shown first where there is little room.
const MAJOR: [&str; 7] = [
    "linux/amd64",
    "linux/arm64",
    "linux/arm",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/mips64",
];
/// As many kinds of processors are shown where there is little room.
const SHOWN: usize = 4;

/// Reads flags, each with one platform or several after commas, as [`parse_platform`] does.
pub fn parse_platforms(flags: &[String]) -> Result<Vec<Platform>> {
    flags.iter().flat_map(|flag| flag.split(',')).map(parse_platform).collect()
}

/// Reads one platform. `local` is that of this machine.
pub fn parse_platform(word: &str) -> Result<Platform> {
    if word.eq_ignore_ascii_case("local") {
        return Ok(Platform::host());
    }
    let platform = word.parse::<Platform>().map_err(|e| Error::user(e.to_string()))?;
    Ok(platform.normalize())
}

/// Each platform once, where it comes first.
pub fn without_repeats(platforms: impl IntoIterator<Item = Platform>) -> Vec<Platform> {
    let mut all: Vec<Platform> = Vec::new();
    for platform in platforms {
        let platform = platform.normalize();
        if !all.iter().any(|p| p.to_string() == platform.to_string()) {
            all.push(platform);
        }
    }
    all
}

/// Platforms that the user has fixed, each with a `*`, and then those that were found.
pub fn platform_list(fixed: &[Platform], found: &[Platform]) -> Vec<String> {
    let fixed = without_repeats(fixed.iter().cloned());
    let all = without_repeats(fixed.iter().chain(found).cloned());
    let mark = |place: usize| if place < fixed.len() { "*" } else { "" };
    all.iter().enumerate().map(|(place, p)| format!("{p}{}", mark(place))).collect()
}

/// A list of [`platform_list`] for a column of a table: variants of a processor are counted, and processors that would
/// make it too long.
pub fn short_platforms(list: &[String]) -> String {
    let mut kinds: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for text in list {
        if let Ok(platform) = text.trim_end_matches('*').parse::<Platform>() {
            let kind = format!("{}/{}", platform.os, platform.architecture);
            kinds.entry(kind).or_default().push(text);
        }
    }
    let majors = MAJOR.iter().filter(|kind| kinds.contains_key(**kind)).map(|kind| (*kind).to_owned());
    let others = kinds.keys().filter(|kind| !MAJOR.contains(&kind.as_str())).cloned();
    let shown: Vec<String> = majors.chain(others).take(SHOWN).collect();
    let mut count = 0;
    let mut words = Vec::new();
    for (place, kind) in shown.iter().enumerate() {
        let mut variants = &kinds[kind][..];
        // buildx counts the variants of its last major kind with those that are not shown.
        if place + 1 == SHOWN && MAJOR.contains(&kind.as_str()) {
            variants = &variants[..1];
        }
        count += variants.len();
        words.push(match variants {
            [one] => (*one).to_owned(),
            _ => {
                let is_fixed = variants.iter().any(|v| v.ends_with('*'));
                format!("{kind}{} (+{})", if is_fixed { "*" } else { "" }, variants.len())
            }
        });
    }
    if count < list.len() {
        words.push(format!("({} more)", list.len() - count));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Platform> {
        if text.is_empty() { Vec::new() } else { parse_platforms(&[text.to_owned()]).expect(text) }
    }

    #[test]
    fn lists() {
        let check = |fixed: &str, found: &str, expect: &str| {
            assert_eq!(platform_list(&parsed(fixed), &parsed(found)).join(", "), expect);
        };
        check("", "", "");
        check("linux/arm64", "linux/amd64,linux/arm64/v8", "linux/arm64*, linux/amd64");
        check("", "linux/arm/v7,linux/arm", "linux/arm/v7");
        check("linux/arm64,linux/arm64", "", "linux/arm64*");
    }

    #[test]
    fn what_is_no_platform_is_told() {
        let told = parse_platforms(&["linux/amd64,a/b/c/d/e".to_owned()]).expect_err("too long").to_string();
        assert!(told.starts_with("\"d/e\" is an invalid component of \"a/b/c/d/e\""), "{told}");
    }

    /// As buildx shows the same lists.
    #[test]
    fn short_lists() {
        let check = |fixed: &str, found: &str, expect: &str| {
            let list = platform_list(&parsed(fixed), &parsed(found));
            assert_eq!(short_platforms(&list), expect, "{list:?}");
        };
        check("", "", "");
        check("", "linux/amd64", "linux/amd64");
        check("", "linux/amd64,linux/amd64/v2,linux/amd64/v3", "linux/amd64 (+3)");
        check("linux/amd64/v2", "linux/amd64,linux/386", "linux/amd64* (+2), linux/386");
        check(
            "",
            "linux/386,linux/s390x,linux/arm/v6,linux/riscv64,linux/arm64,linux/amd64,linux/ppc64le",
            "linux/amd64, linux/arm64, linux/arm/v6, linux/ppc64le, (3 more)",
        );
        check(
            "",
            "linux/amd64,linux/arm64,linux/arm/v7,linux/arm/v6,linux/riscv64,linux/riscv64/x",
            "linux/amd64, linux/arm64, linux/arm (+2), linux/riscv64, (1 more)",
        );
        check("", "linux/loong64,windows/amd64,linux/386", "linux/386, linux/loong64, windows/amd64");
    }
}
