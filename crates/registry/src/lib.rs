//! OCI distribution: resolve, pull, push, auth, mirrors (OCI distribution-spec v1.1).
//!
//! A [`Registry`] finds manifests and streams blobs in both directions. How hosts are reached is in [`Config`], who asks
//! in [`Credentials`]. Below lies [`transport::Transport`], which other sources of bytes may use as well.
//!
//! Never: knows builds.

pub mod config;
pub mod docker_config;
pub mod transport;

mod auth;
mod backoff;
mod busy;
mod call;
mod endpoint;
mod error;
mod logins;
mod own_tokens;
mod pull;
mod push;
mod referrers;
mod registry;
mod resolve;
mod seen;

pub use config::{Config, HostConfig, KeyPair, ProxyConfig, Retry};
pub use docker_config::DockerConfig;
pub use logins::Logins;
pub use own_tokens::OwnTokens;
pub use pull::ByteStream;
pub use push::{BlobSource, PushBlob, Pushed};
pub use registry::Registry;
pub use session::{AuthSource as Credentials, Credential, Token, TokenRequest};

/// Nobody in particular.
pub struct Anonymous;

#[async_trait::async_trait]
impl Credentials for Anonymous {
    async fn credentials(&self, _host: &str) -> errdefs::Result<Option<Credential>> {
        Ok(None)
    }
}
