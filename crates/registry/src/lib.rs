//! OCI distribution: resolve, pull, push, auth, mirrors (OCI distribution-spec v1.1).
//!
//! A [`Registry`] finds manifests and streams blobs in both directions. How hosts are reached is in [`Config`], who asks
//! in [`Credentials`]. Below lies [`http::Http`], which other sources of bytes may use as well.
//!
//! Never: knows builds.

pub mod config;

pub use config::{Config, HostConfig, KeyPair, ProxyConfig, Retry};
pub use session::{AuthSource as Credentials, Credential, Token, TokenRequest};
