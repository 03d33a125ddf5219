//! Platforms (OCI image-spec, image-index.md, "platform"), in the reading of containerd.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform `{0}`")]
pub struct InvalidPlatform(pub String);

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let platform = Platform {
            os: os.into(),
            architecture: architecture.into(),
            variant: variant.into(),
            ..Platform::default()
        };
        platform.normalize()
    }

    /// The platform that this program runs on.
    pub fn host() -> Self {
        Platform::new(std::env::consts::OS, std::env::consts::ARCH, "")
    }

    /// Common other names replaced by the usual ones, default variants left out.
    #[must_use]
    pub fn normalize(&self) -> Self {
        let mut p = self.clone();
        p.os = match self.os.to_lowercase().as_str() {
            "macos" => "darwin".into(),
            os => os.into(),
        };
        let (architecture, variant) = (self.architecture.to_lowercase(), self.variant.to_lowercase());
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386" | "x86", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", v) => ("amd64", v),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
            ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
            ("aarch64" | "arm64", v) => ("arm64", v),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            ("riscv64gc", v) => ("riscv64", v),
            (a, v) => (a, v),
        };
        p.architecture = architecture.into();
        p.variant = variant.into();
        p
    }
}

/// Which platforms run here, best first.
impl Platform {
    /// How well `offered` suits a wish for this platform: 0 is best, `None` is not at all. An arm machine runs the
    /// images of older variants, an amd64 machine those of lower levels, and an arm64 machine those of 32 bits.
    pub fn rank(&self, offered: &Platform) -> Option<usize> {
        let (wanted, offered) = (self.normalize(), offered.normalize());
        if wanted.os != offered.os {
            return None;
        }
        wanted.runs().iter().position(|(a, v)| *a == offered.architecture && *v == offered.variant)
    }

    /// Architecture and variant of the images that run on this platform, best first.
    fn runs(&self) -> Vec<(String, String)> {
        let of = |a: &str, v: &str| (a.to_owned(), v.to_owned());
        let own = of(&self.architecture, &self.variant);
        let number =
            |v: &str| v.trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
        let mut list = vec![own];
        match (self.architecture.as_str(), number(&self.variant)) {
            ("arm", Some(n)) => list.extend((5..n).rev().map(|n| of("arm", &format!("v{n}")))),
            ("arm64", n) => {
                if n.is_some_and(|n| n > 8) {
                    list.push(of("arm64", ""));
                }
                list.extend((5..=8).rev().map(|n| of("arm", &format!("v{n}"))));
            }
            ("amd64", Some(n)) => {
                list.extend((2..n).rev().map(|n| of("amd64", &format!("v{n}"))));
                list.push(of("amd64", ""));
            }
            _ => {}
        }
        list
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.write_str("unknown");
        }
        f.write_str(&self.os)?;
        for part in [&self.architecture, &self.variant] {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(s: &str) -> Result<Self, InvalidPlatform> {
        let parts: Vec<_> = s.split('/').collect();
        let valid =
            |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-()".contains(&b));
        match parts[..] {
            [os, architecture] if parts.iter().all(valid) => Ok(Platform::new(os, architecture, "")),
            [os, architecture, variant] if parts.iter().all(valid) => {
                Ok(Platform::new(os, architecture, variant))
            }
            _ => Err(InvalidPlatform(s.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_are_replaced() {
        for (text, expected) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(text.parse::<Platform>().map(|p| p.to_string()), Ok(expected.to_string()));
        }
        for text in ["", "linux", "linux/", "a/b/c/d", "linux/a b"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn older_variants_run_but_come_last() {
        let rank = |a: &str, b: &str| {
            let parse = |t: &str| t.parse::<Platform>().expect("valid");
            parse(a).rank(&parse(b))
        };
        assert_eq!(rank("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(rank("linux/arm/v7", "linux/arm/v6"), Some(1));
        assert_eq!(rank("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(rank("linux/amd64", "linux/arm64"), None);
        assert!(rank("linux/arm64", "linux/arm/v7").is_some());
    }
}
