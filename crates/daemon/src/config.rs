//! The configuration file, in the format of `buildkitd.toml`.
//!
//! Every key of that format is accepted. Those that this engine has no use for yet are named once in the log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt};
use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    pub root: Option<PathBuf>,
    pub debug: bool,
    #[serde(rename = "insecure-entitlements")]
    pub insecure_entitlements: Vec<String>,
    pub grpc: Grpc,
    pub registry: BTreeMap<String, Registry>,
    pub worker: Workers,
    pub dns: Option<Dns>,
    #[serde(flatten)]
    other: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Grpc {
    pub address: Vec<String>,
}

/// How to reach one registry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Registry {
    /// Hosts that are asked first, in order; a path may follow the host.
    pub mirrors: Vec<String>,
    /// Talk plain HTTP; where nothing is said, only to this machine's own.
    pub http: Option<bool>,
    /// Do not verify certificates.
    pub insecure: bool,
    /// PEM files of certificate authorities.
    pub ca: Vec<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Workers {
    pub oci: Worker,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Worker {
    pub labels: BTreeMap<String, String>,
    /// Steps that run at the same time; 0 is no limit.
    #[serde(rename = "max-parallelism")]
    pub max_parallelism: usize,
    #[serde(rename = "networkMode")]
    pub network_mode: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Dns {
    pub nameservers: Vec<String>,
    pub options: Vec<String>,
    #[serde(rename = "searchDomains")]
    pub search_domains: Vec<String>,
}

impl Config {
    /// Reads `path`; a missing file is an error only where it was asked for by name.
    pub fn load(path: &Path, required: bool) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).with_context(|| format!("failed to read `{}`", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => Ok(Config::default()),
            Err(e) => Err(Error::from(e).context(format!("failed to read `{}`", path.display()))),
        }
    }

    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e| Error::user(e.to_string().trim_end().to_owned()))
    }

    /// Top-level keys that this engine has no use for.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.other.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_buildkitd_are_read() {
        let text = r#"
            insecure-entitlements = ["network.host"]
            [worker.oci]
              max-parallelism = 4
            [registry."docker.io"]
              mirrors = ["localhost:5000"]
            [otel]
              socketPath = "/x"
        "#;
        let config = Config::parse(text).expect("valid");
        assert_eq!(config.registry["docker.io"].mirrors, ["localhost:5000"]);
        assert_eq!(config.worker.oci.max_parallelism, 4);
        assert_eq!(config.unused().collect::<Vec<_>>(), ["otel"]);
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        let e = Config::parse("debug = 3").expect_err("not a bool");
        assert!(e.to_string().contains("line 1"), "{e}");
    }
}
