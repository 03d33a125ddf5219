//! From text to platform: `<os>[(<version>[+<feature>]*)][/<architecture>[/<variant>]]`, or one of the first two alone.

use std::str::FromStr;

use super::{Platform, names};

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlatform {
    #[error("{0:?}: wildcards not yet supported: invalid argument")]
    Wildcard(String),
    #[error(
        "{part:?} is an invalid OS component of {text:?}: OSAndVersion specifier component must match \"{OS_FORM}\": invalid argument"
    )]
    Os { part: String, text: String },
    #[error(
        "{part:?} is an invalid component of {text:?}: platform specifier component must match \"{PART_FORM}\": invalid argument"
    )]
    Part { part: String, text: String },
    #[error("{0:?}: unknown operating system or architecture: invalid argument")]
    Unknown(String),
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    TooManyParts(String),
}

// What a part must look like, in the words of the messages that clients know.
const OS_FORM: &str = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$";
const PART_FORM: &str = r"^[A-Za-z0-9_.-]+$";

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        if text.contains('*') {
            return Err(InvalidPlatform::Wildcard(text.into()));
        }
        let parts: Vec<_> = text.splitn(4, '/').collect();
        let mut platform = parse_os(parts[0])
            .ok_or_else(|| InvalidPlatform::Os { part: parts[0].into(), text: text.into() })?;
        if let Some(part) = parts[1..].iter().find(|p| !is_word(p, b"_.-")) {
            return Err(InvalidPlatform::Part { part: (*part).into(), text: text.into() });
        }
        match parts[..] {
            [_] if names::is_known_os(&platform.os) => {
                platform.architecture = Platform::host().architecture;
            }
            [one] => {
                platform.set_architecture(one, "");
                if !names::is_known_architecture(&platform.architecture) {
                    return Err(InvalidPlatform::Unknown(text.into()));
                }
                platform.os = Platform::host().os;
            }
            [_, architecture] => platform.set_architecture(architecture, ""),
            [_, architecture, variant] => {
                platform.set_architecture(architecture, variant);
                if platform.architecture == "arm64" && platform.variant.is_empty() {
                    platform.variant = "v8".into();
                }
            }
            _ => return Err(InvalidPlatform::TooManyParts(text.into())),
        }
        Ok(platform)
    }
}

impl Platform {
    /// Takes the usual names; an arm without a variant stays one.
    fn set_architecture(&mut self, architecture: &str, variant: &str) {
        (self.architecture, self.variant) = names::architecture(architecture, variant);
        if variant.is_empty() && self.architecture == "arm" && self.variant == "v7" {
            self.variant.clear();
        }
    }
}

fn parse_os(part: &str) -> Option<Platform> {
    let (name, options) = match part.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')?),
        None => (part, ""),
    };
    let mut options = options.split('+');
    let version = options.next().unwrap_or_default();
    let features: Vec<_> = options.collect();
    let valid = is_word(name, b"_-")
        && (version.is_empty() || is_word(version, b"_.%-"))
        && features.iter().all(|f| is_word(f, b"_.%-"));
    if !valid {
        return None;
    }
    Some(Platform {
        os: names::os(name),
        os_version: decode_option(version)?,
        os_features: features.into_iter().map(decode_option).collect::<Option<_>>()?,
        ..Platform::default()
    })
}

fn is_word(part: &str, also: &[u8]) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}

/// Undoes `%xx`.
fn decode_option(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            b => out.push(b),
        }
    }
    String::from_utf8(out).ok()
}

/// Writes what would be read as syntax as `%xx`.
pub(super) fn encode_option(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => out.push_str("%25"),
            '+' => out.push_str("%2B"),
            '(' => out.push_str("%28"),
            ')' => out.push_str("%29"),
            '/' => out.push_str("%2F"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let parsed = text.parse::<Platform>().map(|p| p.format_all()).map_err(|e| e.to_string());
        assert_eq!(parsed.unwrap_or_else(|e| e), expected, "{text}");
    }

    #[test]
    fn parts_get_their_usual_names() {
        check("linux/x86_64", "linux/amd64");
        check("linux/aarch64", "linux/arm64");
        check("linux/arm64/v8", "linux/arm64/v8");
        check("linux/arm64/v9", "linux/arm64/v9");
        check("linux/arm", "linux/arm");
        check("linux/arm/7", "linux/arm/v7");
        check("linux/armel", "linux/arm/v6");
        check("Linux/AMD64", "linux/amd64");
        check("macos/arm64", "darwin/arm64");
        check("windows(10.0.17763+win32k)/amd64", "windows(10.0.17763+win32k)/amd64");
        check("linux(+b+a)/amd64", "linux(+a+b)/amd64");
        check("windows(1%2B2)/amd64", "windows(1%2B2)/amd64");
    }

    #[test]
    fn one_part_is_a_system_or_a_processor() {
        let host = Platform::host();
        check("windows", &format!("windows/{}", host.architecture));
        check("arm64", "linux/arm64");
        check("wasm", "linux/wasm");
    }

    #[test]
    fn nonsense_is_refused_in_words_that_clients_know() {
        check("foo", "\"foo\": unknown operating system or architecture: invalid argument");
        check("linux/a/b/c", "\"linux/a/b/c\": cannot parse platform specifier: invalid argument");
        check("*", "\"*\": wildcards not yet supported: invalid argument");
        check(
            "linux/",
            "\"\" is an invalid component of \"linux/\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument",
        );
        for text in ["", "/", "linux(/amd64", "linux(1%2)/amd64", "linux(+)/a", "linux/a b"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(text in "[a-z(+%./0-9)]{0,20}") {
            if let Ok(platform) = text.parse::<Platform>() {
                proptest::prop_assert_eq!(platform.format_all().parse::<Platform>().map(|p| p.normalize()), Ok(platform.normalize()));
            }
        }
    }
}
