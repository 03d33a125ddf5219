//! How registries are reached.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// All that a [`crate::Registry`] is told at its start.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// By the host in image names, as `docker.io`, and by the host of mirrors.
    pub hosts: BTreeMap<String, HostConfig>,
    pub proxy: ProxyConfig,
    pub retry: Retry,
}

/// One registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct HostConfig {
    /// Asked first for what is pulled, in this order: `host[:port][/path]`.
    pub mirrors: Vec<String>,
    /// Without encryption; where nothing is said, only for this machine's own.
    pub http: Option<bool>,
    /// Certificates are not checked, and where the server speaks no TLS, plain HTTP is tried.
    pub insecure: bool,
    /// Files with further root certificates, in PEM.
    pub ca: Vec<PathBuf>,
    /// What this client shows of itself.
    pub keys: Vec<KeyPair>,
}

/// Files with a certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyPair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The proxies to use, as in HTTP_PROXY, HTTPS_PROXY and NO_PROXY; empty for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    pub http: String,
    pub https: String,
    pub no: String,
}

/// How often and how fast a request that failed for a while is tried again. The wait doubles each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// With the first.
    pub attempts: u32,
    pub first_wait: Duration,
    pub longest_wait: Duration,
    /// How long an answer or a transfer may bring nothing before it is broken off.
    pub patience: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 5,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(8),
            patience: Duration::from_secs(60),
        }
    }
}
