//! What the steps of a stage have come to.

use llb::{HostIp, NetMode};
use oci::Platform;

use crate::draft::Port;
use crate::environment::Variables;

/// A file tree and the settings under which the next step runs on it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// Nothing is scratch.
    pub tree: Option<Port>,
    pub env: Variables,
    /// Always absolute.
    pub dir: String,
    pub user: String,
    pub hostname: String,
    pub network: NetMode,
    /// Of exec ops; nothing is the target's.
    pub platform: Option<Platform>,
}

impl State {
    pub fn new(tree: Option<Port>) -> Self {
        State {
            tree,
            env: Variables::default(),
            dir: "/".into(),
            user: String::new(),
            hostname: String::new(),
            network: NetMode::Unset,
            platform: None,
        }
    }

    #[must_use]
    pub fn on(mut self, platform: &Platform) -> Self {
        self.platform = Some(platform.normalize());
        self
    }
}

/// A line of `/etc/hosts`.
pub(crate) fn host_ip(host: &str, ip: std::net::IpAddr) -> HostIp {
    HostIp { host: host.to_owned(), ip: ip.to_canonical().to_string() }
}
