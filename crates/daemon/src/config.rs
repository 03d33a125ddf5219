//! The configuration file, in the format of `buildkitd.toml`.
//!
//! Every key of that format is accepted. Those that this engine has no use for yet are named once in the log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt};
use serde::Deserialize;

use crate::gc::GcConfig;
use crate::tls::Tls;
use crate::units::Span;

/// What no key of ours takes: named once in the log.
type Other = BTreeMap<String, toml::Value>;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    pub root: Option<PathBuf>,
    pub debug: bool,
    pub trace: bool,
    pub log: Log,
    #[serde(rename = "insecure-entitlements")]
    pub insecure_entitlements: Vec<String>,
    pub grpc: Grpc,
    pub registry: BTreeMap<String, Registry>,
    pub worker: Workers,
    pub frontend: BTreeMap<String, Frontend>,
    pub dns: Option<Dns>,
    pub history: History,
    pub cdi: Cdi,
    /// Steps reach the network only through proxies, which keep account.
    #[serde(rename = "proxyNetwork")]
    pub proxy_network: bool,
    /// A folder of JSON files, whose fields are told with all provenance.
    #[serde(rename = "provenanceEnvDir")]
    pub provenance_env_dir: Option<PathBuf>,
    #[serde(flatten)]
    pub(crate) other: Other,
}

/// Devices that steps may ask for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Cdi {
    pub disabled: Option<bool>,
    /// Folders of spec files; later ones win.
    #[serde(rename = "specDirs")]
    pub spec_dirs: Vec<PathBuf>,
    /// Devices, or kinds of them, that every build may use.
    #[serde(rename = "autoAllowed")]
    pub auto_allowed: Vec<String>,
    #[serde(flatten)]
    other: Other,
}

/// The engine's own log.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Log {
    /// `text` or `json`.
    pub format: String,
    pub level: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Grpc {
    pub address: Vec<String>,
    #[serde(rename = "debugAddress")]
    pub debug_address: String,
    /// Whom socket files belong to.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub tls: Tls,
    #[serde(flatten)]
    other: Other,
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
    /// Certificates of the engine, with their keys.
    pub keypair: Vec<KeyPair>,
    /// Folders with all of these, as Docker's `certs.d`.
    pub tlsconfigdir: Vec<PathBuf>,
    #[serde(flatten)]
    other: Other,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct KeyPair {
    pub key: PathBuf,
    pub cert: PathBuf,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Workers {
    pub oci: Worker,
    #[serde(flatten)]
    other: Other,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Worker {
    pub labels: BTreeMap<String, String>,
    /// What the engine says it builds, ahead of its own platform.
    pub platforms: Vec<String>,
    /// Steps that run at the same time; 0 is no limit.
    #[serde(rename = "max-parallelism")]
    pub max_parallelism: usize,
    /// `auto`, `host`, `cni` or `bridge`; empty is `auto`.
    #[serde(rename = "networkMode")]
    pub network_mode: String,
    #[serde(rename = "cniConfigPath")]
    pub cni_config_path: Option<PathBuf>,
    #[serde(rename = "cniBinaryPath")]
    pub cni_binary_path: Option<PathBuf>,
    /// Network namespaces that are kept ready.
    #[serde(rename = "cniPoolSize")]
    pub cni_pool_size: usize,
    #[serde(rename = "bridgeName")]
    pub bridge_name: String,
    #[serde(rename = "bridgeSubnet")]
    pub bridge_subnet: String,
    #[serde(flatten)]
    pub gc: GcConfig,
    #[serde(flatten)]
    other: Other,
}

/// A frontend that is part of the engine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Frontend {
    pub enabled: Option<bool>,
    /// Where the images of `gateway.v0` may come from; empty is anywhere.
    #[serde(rename = "allowedRepositories")]
    pub allowed_repositories: Vec<String>,
    #[serde(flatten)]
    other: Other,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Dns {
    pub nameservers: Vec<String>,
    pub options: Vec<String>,
    #[serde(rename = "searchDomains")]
    pub search_domains: Vec<String>,
}

/// How much is kept of builds that are over.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(rename = "maxAge")]
    pub max_age: Option<Span>,
    #[serde(rename = "maxEntries")]
    pub max_entries: Option<usize>,
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

    /// Keys that this engine has no use for, with the tables that they lie in.
    pub fn unused(&self) -> Vec<String> {
        // Those of collection are taken by the same table, which tells no others of them.
        const OF_GC: [&str; 6] =
            ["gc", "gckeepstorage", "reservedSpace", "maxUsedSpace", "minFreeSpace", "gcpolicy"];
        let mut unused: Vec<String> = self.other.keys().cloned().collect();
        let mut add = |table: &str, other: &Other| {
            let keys = other.keys().filter(|key| !OF_GC.contains(&key.as_str()));
            unused.extend(keys.map(|key| format!("{table}.{key}")));
        };
        add("grpc", &self.grpc.other);
        add("cdi", &self.cdi.other);
        add("worker", &self.worker.other);
        add("worker.oci", &self.worker.oci.other);
        self.registry.iter().for_each(|(name, r)| add(&format!("registry.{name:?}"), &r.other));
        self.frontend.iter().for_each(|(name, f)| add(&format!("frontend.{name:?}"), &f.other));
        unused
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
        assert_eq!(config.unused(), ["otel"]);
    }

    /// All keys of BuildKit's documentation.
    #[test]
    fn every_key_is_taken() {
        let text = r#"
            debug = true
            trace = true
            root = "/var/lib/buildkit"
            insecure-entitlements = ["network.host", "security.insecure", "device"]
            provenanceEnvDir = "/etc/buildkit/provenance.d"
            [log]
              format = "json"
              level = "warn"
            [dns]
              nameservers = ["1.1.1.1"]
              options = ["edns0"]
              searchDomains = ["example.com"]
            [grpc]
              address = ["tcp://0.0.0.0:1234"]
              debugAddress = "0.0.0.0:6060"
              uid = 0
              gid = 5
              [grpc.tls]
                cert = "/etc/buildkit/tls.crt"
                key = "/etc/buildkit/tls.key"
                ca = "/etc/buildkit/tlsca.crt"
            [otel]
              socketPath = "/run/buildkit/otel-grpc.sock"
            [cdi]
              disabled = true
              specDirs = ["/etc/cdi"]
              autoAllowed = ["docker.com/gpu"]
            [history]
              maxAge = 172800
              maxEntries = 50
            [worker.oci]
              enabled = true
              platforms = ["linux/amd64"]
              snapshotter = "auto"
              gc = true
              reservedSpace = "30%"
              maxUsedSpace = "60%"
              minFreeSpace = "20GB"
              networkMode = "bridge"
              cniConfigPath = "/etc/buildkit/cni.json"
              cniBinaryPath = "/opt/cni/bin"
              cniPoolSize = 16
              bridgeName = "buildkit0"
              bridgeSubnet = "10.10.0.0/16"
              [worker.oci.labels]
                "foo" = "bar"
              [[worker.oci.gcpolicy]]
                reservedSpace = "512MB"
                keepDuration = "48h"
                filters = ["type==source.local"]
            [worker.containerd]
              address = "/run/containerd/containerd.sock"
            [registry."docker.io"]
              mirrors = ["hub.example"]
              http = true
              insecure = true
              ca = ["/etc/config/myca.pem"]
              [[registry."docker.io".keypair]]
                key = "/etc/config/key.pem"
                cert = "/etc/config/cert.pem"
            [frontend."dockerfile.v0"]
              enabled = true
            [frontend."gateway.v0"]
              enabled = false
              allowedRepositories = ["docker-registry.wikimedia.org/x"]
            [system]
              platformsCacheMaxAge = "1m"
        "#;
        let config = Config::parse(text).expect("valid");
        let expect = ["otel", "system", "worker.containerd", "worker.oci.enabled", "worker.oci.snapshotter"];
        assert_eq!(config.unused(), expect);
        assert_eq!((config.grpc.uid, config.grpc.gid), (Some(0), Some(5)));
        assert_eq!(config.grpc.tls.ca.as_deref(), Some(Path::new("/etc/buildkit/tlsca.crt")));
        assert_eq!(config.history.max_entries, Some(50));
        assert_eq!(config.worker.oci.gc.gcpolicy.len(), 1);
        assert_eq!(config.worker.oci.cni_pool_size, 16);
        assert_eq!(config.worker.oci.platforms, ["linux/amd64"]);
        assert_eq!(config.registry["docker.io"].keypair.len(), 1);
        assert_eq!(config.frontend["gateway.v0"].enabled, Some(false));
        assert_eq!(config.frontend["gateway.v0"].allowed_repositories.len(), 1);
        assert_eq!(config.log.level, "warn");
        assert_eq!((config.cdi.disabled, config.cdi.auto_allowed.len()), (Some(true), 1));
        assert_eq!(config.cdi.spec_dirs, [Path::new("/etc/cdi")]);
        assert_eq!(config.provenance_env_dir.as_deref(), Some(Path::new("/etc/buildkit/provenance.d")));
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        let e = Config::parse("debug = 3").expect_err("not a bool");
        assert!(e.to_string().contains("line 1"), "{e}");
    }
}
