//! Where a registry is: its mirrors, then itself.

use oci::Reference;
use oci::reference::DEFAULT_HOST;
use url::Url;

use crate::config::{Config, HostConfig};
use crate::transport::Tls;

/// Docker Hub answers under another name than its images carry.
const HUB: &str = "registry-1.docker.io";

/// One server that may answer for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// With the port.
    pub host: String,
    /// As `/v2`, or `/v2/<path>` for a mirror.
    prefix: String,
    schemes: Schemes,
    pub tls: Tls,
    /// What a mirror is asked for, where its own name does not say.
    namespace: Option<String>,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schemes {
    Https,
    Http,
    /// With TLS, and without where the server has none.
    HttpsThenHttp,
}

impl Endpoint {
    /// Who is asked for what is pulled, in order.
    pub fn pull(config: &Config, host: &str, insecure: bool) -> Vec<Endpoint> {
        let mirrors = config.hosts.get(host).map(|h| h.mirrors.as_slice()).unwrap_or_default();
        let mut list: Vec<_> = mirrors.iter().map(|m| Self::mirror(config, m, host)).collect();
        list.push(Self::push(config, host, insecure));
        list
    }

    /// Who takes what is pushed.
    pub fn push(config: &Config, host: &str, insecure: bool) -> Endpoint {
        let settings = config.hosts.get(host).cloned().unwrap_or_default();
        let host = if host == DEFAULT_HOST { HUB } else { host };
        Self::new(host, "/v2".into(), &settings, insecure, None)
    }

    fn mirror(config: &Config, mirror: &str, of: &str) -> Endpoint {
        let bare = mirror.split_once("://").map_or(mirror, |(_, rest)| rest).trim_end_matches('/');
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        let mut settings = config.hosts.get(host).cloned().unwrap_or_default();
        if mirror.starts_with("http://") {
            settings.http = settings.http.or(Some(true));
        }
        let prefix = if path.is_empty() { "/v2".into() } else { format!("/v2/{path}") };
        let namespace = (host != of && !(of == DEFAULT_HOST && host == HUB)).then(|| of.to_owned());
        Self::new(host, prefix, &settings, false, namespace)
    }

    fn new(
        host: &str,
        prefix: String,
        settings: &HostConfig,
        insecure: bool,
        namespace: Option<String>,
    ) -> Endpoint {
        let plain = settings.http.unwrap_or_else(|| is_local(host));
        let schemes = match (settings.insecure || insecure, plain) {
            (true, _) => Schemes::HttpsThenHttp,
            (false, true) => Schemes::Http,
            (false, false) => Schemes::Https,
        };
        Endpoint { host: host.to_owned(), prefix, schemes, tls: Tls::of(settings, insecure), namespace }
    }

    /// The address of something in a repository, as `manifests/latest`.
    pub fn url(&self, repository: &str, rest: &str) -> Result<Url, url::ParseError> {
        let scheme = if self.schemes == Schemes::Http { "http" } else { "https" };
        let mut url = Url::parse(&format!("{scheme}://{}{}/{repository}/{rest}", self.host, self.prefix))?;
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Ok(url)
    }

    /// Whether to try again without TLS where the server has none.
    pub fn may_fall_back(&self) -> bool {
        self.schemes == Schemes::HttpsThenHttp
    }

    pub fn is_mirror(&self) -> bool {
        self.namespace.is_some()
    }
}

/// What a token must allow for a repository.
pub fn scope(reference: &Reference, push: bool) -> String {
    format!("repository:{}:{}", reference.path(), if push { "pull,push" } else { "pull" })
}

/// Whether a host, with or without a port, is this machine.
pub fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None if host.matches(':').count() == 1 => host.split(':').next().unwrap_or_default(),
        None => host,
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "::1"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["docker.io", "localhost.com", "10.0.0.1:80", "[fe80::1]:80"] {
            assert!(!is_local(host), "{host}");
        }
    }

    fn urls(config: &Config, host: &str, insecure: bool) -> Vec<String> {
        let list = Endpoint::pull(config, host, insecure);
        list.iter().map(|e| e.url("library/a", "manifests/1").expect("valid").to_string()).collect()
    }

    #[test]
    fn hosts_have_their_addresses() {
        let none = Config::default();
        let check = |host, expected: &str| assert_eq!(urls(&none, host, false), [expected]);
        check("docker.io", "https://registry-1.docker.io/v2/library/a/manifests/1");
        check("localhost:5000", "http://localhost:5000/v2/library/a/manifests/1");
        check("[::1]:5000", "http://[::1]:5000/v2/library/a/manifests/1");
        assert_eq!(urls(&none, "localhost", true), ["https://localhost/v2/library/a/manifests/1"]);
    }

    #[test]
    fn mirrors_come_first() {
        let mut config = Config::default();
        let mirrors = vec!["mirror:5000/hub".into(), "http://plain".into()];
        config.hosts.insert("docker.io".into(), HostConfig { mirrors, ..HostConfig::default() });
        config.hosts.insert("mirror:5000".into(), HostConfig { http: Some(true), ..HostConfig::default() });
        assert_eq!(
            urls(&config, "docker.io", false),
            [
                "http://mirror:5000/v2/hub/library/a/manifests/1?ns=docker.io",
                "http://plain/v2/library/a/manifests/1?ns=docker.io",
                "https://registry-1.docker.io/v2/library/a/manifests/1",
            ]
        );
    }
}
