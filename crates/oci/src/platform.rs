//! Platforms (OCI image-spec, image-index.md, "platform"), in the reading of containerd.

mod names;
mod parse;
mod rank;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use parse::InvalidPlatform;

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::config::null_is_default"
    )]
    pub os_features: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// A platform by its parts, in their usual names.
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

    /// Other names replaced by the usual ones, default variants left out, features sorted.
    #[must_use]
    pub fn normalize(&self) -> Self {
        let (architecture, variant) = names::architecture(&self.architecture, &self.variant);
        let mut os_features = self.os_features.clone();
        os_features.sort();
        os_features.dedup();
        Platform {
            architecture,
            os: names::os(&self.os),
            os_version: self.os_version.clone(),
            os_features,
            variant,
        }
    }

    /// The text with version and features of the system: `windows(10.0.17763+win32k)/amd64`.
    pub fn format_all(&self) -> String {
        if self.os.is_empty() {
            return "unknown".into();
        }
        let mut features: Vec<_> = self.os_features.iter().filter(|f| !f.is_empty()).collect();
        features.sort();
        features.dedup();
        let mut options = parse::encode_option(&self.os_version);
        for feature in features {
            options.push('+');
            options.push_str(&parse::encode_option(feature));
        }
        let os = if options.is_empty() { self.os.clone() } else { format!("{}({options})", self.os) };
        join([&os, &self.architecture, &self.variant])
    }
}

fn join(parts: [&str; 3]) -> String {
    parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/")
}

/// As `os/architecture[/variant]`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.os.is_empty() {
            true => f.write_str("unknown"),
            false => f.write_str(&join([&self.os, &self.architecture, &self.variant])),
        }
    }
}
