//! Tokens that a client fetches itself.

use std::collections::BTreeMap;

use async_trait::async_trait;
use errdefs::Result;

use crate::auth::{Realm, Server};
use crate::transport::{Tls, Transport};
use crate::{Credential, Credentials, DockerConfig, HostConfig, ProxyConfig, Retry, Token, TokenRequest};

/// The logins of a Docker configuration. For hosts of which the TLS is known here, tokens are fetched here too: the
/// certificates and keys need not be where the engine is.
pub struct OwnTokens {
    config: DockerConfig,
    hosts: BTreeMap<String, HostConfig>,
    transport: Transport,
}

impl OwnTokens {
    /// `hosts` by the name of the registry, with its port.
    pub fn new(config: DockerConfig, hosts: BTreeMap<String, HostConfig>, proxy: &ProxyConfig) -> Self {
        OwnTokens { config, hosts, transport: Transport::new(proxy, Retry::default().patience) }
    }
}

#[async_trait]
impl Credentials for OwnTokens {
    async fn credentials(&self, host: &str) -> Result<Option<Credential>> {
        self.config.credentials(host).await
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>> {
        let known = self.config.token(request).await?;
        let (None, Some(settings)) = (&known, self.hosts.get(&request.host)) else { return Ok(known) };
        let login = self.credentials(&request.host).await?;
        let tls = Tls::of(settings, false);
        let server = Server { transport: &self.transport, tls: &tls, retry: Retry::default() };
        let realm = Realm::parse(&request.realm, &request.service)?;
        realm.fetch(&server, &request.scopes, login.as_ref()).await.map(|fresh| Some(fresh.into_token()))
    }

    fn is_authority(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }
}
