//! Docker's `config.json`: logins, credential helpers, proxies.

mod helper;

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Error, Result, ResultExt as _};
use oci::reference::DEFAULT_HOST;
use serde::Deserialize;

use crate::{Credential, Credentials, Token, TokenRequest};

/// The name under which logins to Docker Hub are kept.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What the file says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerConfig {
    auths: BTreeMap<String, Login>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
    proxies: BTreeMap<String, Proxies>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Login {
    /// `name:password` in base64.
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Proxies {
    http_proxy: String,
    https_proxy: String,
    ftp_proxy: String,
    no_proxy: String,
    all_proxy: String,
}

impl DockerConfig {
    /// Reads a file. One that is not there is empty.
    pub fn load(path: &Path) -> Result<Self> {
        let failed = || format!("failed to read `{}`", path.display());
        match std::fs::read(path) {
            Ok(text) => Self::parse(&text).with_context(failed),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e).with_context(failed),
        }
    }

    pub fn parse(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text).map_err(|e| Error::user(format!("invalid Docker configuration: {e}")))
    }

    /// Build arguments that the file asks for, in both cases that programs look for. `daemon` is the address of the
    /// Docker engine, for which there may be proxies of its own.
    pub fn build_proxies(&self, daemon: &str) -> BTreeMap<String, String> {
        let Some(proxies) = self.proxies.get(daemon).or_else(|| self.proxies.get("default")) else {
            return BTreeMap::new();
        };
        [
            ("HTTP_PROXY", &proxies.http_proxy),
            ("HTTPS_PROXY", &proxies.https_proxy),
            ("FTP_PROXY", &proxies.ftp_proxy),
            ("NO_PROXY", &proxies.no_proxy),
            ("ALL_PROXY", &proxies.all_proxy),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .flat_map(|(name, value)| [(name.to_owned(), value.clone()), (name.to_lowercase(), value.clone())])
        .collect()
    }

    /// The login for a host: of the host's own helper, else of the general one, else of the file itself.
    async fn login(&self, host: &str) -> Result<Option<Login>> {
        let key = key(host);
        let own = self.cred_helpers.get(key).or_else(|| self.cred_helpers.get(host));
        let helper = own.unwrap_or(&self.creds_store);
        if !helper.is_empty() {
            return helper::get(helper, key).await;
        }
        let kept = self.auths.get(key);
        let kept = kept.or_else(|| self.auths.iter().find(|(k, _)| bare(k) == bare(key)).map(|(_, l)| l));
        kept.map(Login::decoded).transpose()
    }
}

impl Login {
    fn decoded(&self) -> Result<Login> {
        let mut login = self.clone();
        if !self.auth.is_empty() {
            let broken =
                || Error::user("invalid auth configuration file").hint("log in again with `docker login`");
            let text = STANDARD.decode(&self.auth).map_err(|_| broken())?;
            let text = String::from_utf8(text).map_err(|_| broken())?;
            let (name, password) = text.split_once(':').ok_or_else(broken)?;
            login.username = name.to_owned();
            login.password = password.trim_matches('\0').to_owned();
        }
        Ok(login)
    }
}

#[async_trait]
impl Credentials for DockerConfig {
    async fn credentials(&self, host: &str) -> Result<Option<Credential>> {
        let Some(login) = self.login(host).await? else { return Ok(None) };
        let credential = match login.identitytoken.is_empty() {
            true => Credential { username: login.username, secret: login.password },
            false => Credential { username: String::new(), secret: login.identitytoken },
        };
        Ok((!credential.secret.is_empty()).then_some(credential))
    }

    /// Only a token that is in the file.
    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>> {
        let login = self.login(&request.host).await?.filter(|l| !l.registrytoken.is_empty());
        Ok(login.map(|l| Token { token: l.registrytoken, expires_in: 0, issued_at: 0 }))
    }
}

/// The name under which a host's login is kept.
fn key(host: &str) -> &str {
    match host {
        DEFAULT_HOST | "registry-1.docker.io" | "index.docker.io" => HUB_KEY,
        host => host,
    }
}

/// A host out of what was once written as an address.
fn bare(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(config: &str, host: &str, expected: &str) {
        let config = DockerConfig::parse(config.as_bytes()).expect("valid");
        let told = match config.credentials(host).await {
            Ok(Some(c)) => format!("{} {}", c.username, c.secret),
            Ok(None) => "nobody".into(),
            Err(e) => e.to_string(),
        };
        assert_eq!(told, expected, "{host}");
    }

    #[tokio::test]
    async fn logins_are_found() {
        let auth = |text: &str| STANDARD.encode(text);
        let config = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}},"http://old.example/v1/":{{"username":"u","password":"p"}},
               "ghcr.io":{{"auth":"{}","identitytoken":"t"}},"broken":{{"auth":"!"}},"empty":{{}}}},"other":1}}"#,
            auth("me:pa:ss\0"),
            auth("x:y"),
        );
        check(&config, "registry-1.docker.io", "me pa:ss").await;
        check(&config, "docker.io", "me pa:ss").await;
        check(&config, "old.example", "u p").await;
        check(&config, "ghcr.io", " t").await;
        check(&config, "broken", "invalid auth configuration file").await;
        check(&config, "empty", "nobody").await;
        check(&config, "elsewhere", "nobody").await;
    }

    #[tokio::test]
    async fn registry_tokens_are_given_as_they_are() {
        let config = DockerConfig::parse(br#"{"auths":{"r":{"registrytoken":"abc"}}}"#).expect("valid");
        let request = |host: &str| TokenRequest { host: host.into(), ..TokenRequest::default() };
        assert_eq!(config.token(&request("r")).await.expect("works").map(|t| t.token), Some("abc".into()));
        assert!(config.token(&request("s")).await.expect("works").is_none());
    }

    #[test]
    fn proxies_come_in_both_cases() {
        let text =
            br#"{"proxies":{"default":{"httpProxy":"http://p:1","noProxy":""},"tcp://d":{"noProxy":"x"}}}"#;
        let config = DockerConfig::parse(text).expect("valid");
        let told = |daemon| -> Vec<String> {
            config.build_proxies(daemon).into_iter().map(|(k, v)| format!("{k}={v}")).collect()
        };
        assert_eq!(told("unix:///s"), ["HTTP_PROXY=http://p:1", "http_proxy=http://p:1"]);
        assert_eq!(told("tcp://d"), ["NO_PROXY=x", "no_proxy=x"]);
    }

    #[test]
    fn no_file_is_empty_and_a_broken_one_is_told() {
        assert!(DockerConfig::load(Path::new("/nope/config.json")).is_ok());
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("config.json");
        std::fs::write(&path, "{").expect("written");
        assert!(DockerConfig::load(&path).expect_err("broken").to_string().contains("config.json"));
    }
}
