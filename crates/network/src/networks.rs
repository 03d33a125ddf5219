//! The networks of an engine's steps.

use std::path::PathBuf;
use std::sync::Arc;

use errdefs::Result;
use executor::Network;

use crate::cni::{self, Bridge, Cni, Lease, List, Plugins};
use crate::proxy::{Egress, Judge, Proxy, Traffic};

/// What the network of a step is that asks for none.
#[derive(Debug, Clone)]
pub enum Mode {
    /// That of the host.
    Host,
    /// One that plugins make.
    Cni(List),
    /// A bridge of this name, with addresses of this subnet.
    Bridge { name: String, subnet: String },
}

#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    /// Where CNI plugins are; None is where they usually are.
    pub plugins: Option<PathBuf>,
    /// Namespaces that are made ahead, and kept for the next step.
    pub pool_size: usize,
    /// A folder for what must be found again after a crash.
    pub state: PathBuf,
}

/// How the steps of an engine reach the network. Cheap to clone.
#[derive(Clone)]
pub struct Networks(Arc<Inner>);

struct Inner {
    /// None: the host's network.
    cni: Option<Arc<Cni>>,
    bridge: Option<Bridge>,
}

/// What one container needs of the network.
pub struct Needs<'a> {
    pub network: Network,
    pub hostname: &'a str,
    /// It can change what its namespace has: nobody gets that after it.
    pub privileged: bool,
    /// It reaches the network through a proxy only, which asks this one.
    pub judge: Option<Arc<dyn Judge>>,
}

/// What one container has. Dropping it lets go of it too.
#[derive(Default)]
pub struct Attached {
    proxy: Option<Proxy>,
    lease: Option<Lease>,
    privileged: bool,
}

impl Networks {
    /// That of the host, for all.
    pub fn host() -> Self {
        Networks(Arc::new(Inner { cni: None, bridge: None }))
    }

    /// Clears up what a killed engine left, and tries whether the network works.
    pub async fn open(options: Options) -> Result<Self> {
        let Options { mode, plugins, pool_size, state } = options;
        cni::sweep(&state).await;
        let wanted = match &mode {
            Mode::Bridge { name, .. } => Some(&**name),
            _ => None,
        };
        Bridge::sweep(&state, wanted);
        let (list, bridge) = match mode {
            Mode::Host => return Ok(Self::host()),
            Mode::Cni(list) => (list, None),
            Mode::Bridge { name, subnet } => {
                let list = List::bridge(&name, &subnet, Plugins::prefix_for_bridges());
                (list, Some(Bridge::claim(&state, &name)?))
            }
        };
        let opened = Cni::open(list, plugins, &state, pool_size).await;
        bridge.iter().for_each(Bridge::mark);
        match opened {
            Ok(cni) => Ok(Networks(Arc::new(Inner { cni: Some(cni), bridge }))),
            Err(e) => {
                bridge.iter().for_each(Bridge::remove);
                Err(e)
            }
        }
    }

    /// Steps that ask for no network share that of the host.
    pub fn is_host(&self) -> bool {
        self.0.cni.is_none()
    }

    /// What clients are told: `cni` or `host`, as BuildKit does.
    pub fn name(&self) -> &'static str {
        if self.is_host() { "host" } else { "cni" }
    }

    /// Makes what a container needs.
    pub async fn attach(&self, needs: Needs<'_>) -> Result<Attached> {
        let lease = match (&self.0.cni, needs.network) {
            (Some(cni), Network::Sandbox) => Some(cni.lease(needs.hostname).await?),
            _ => None,
        };
        let proxy = match needs.judge {
            Some(judge) if needs.network != Network::None => {
                let from = lease.as_ref().map(|lease| Arc::clone(lease.namespace()));
                Some(Proxy::start(Egress::new(from), judge)?)
            }
            _ => None,
        };
        Ok(Attached { proxy, lease, privileged: needs.privileged })
    }

    /// Lets go of all that is kept, once no step runs any more.
    pub async fn close(&self) {
        if let Some(cni) = &self.0.cni {
            cni.close().await;
        }
        self.0.bridge.iter().for_each(Bridge::remove);
    }
}

impl Attached {
    /// The namespace that the container goes into; None is what its network says.
    pub fn namespace(&self) -> Option<PathBuf> {
        let proxied = self.proxy.as_ref().map(|proxy| proxy.namespace().path());
        proxied.or_else(|| self.lease.as_ref().map(|lease| lease.file().to_owned()))
    }

    /// Variables for all processes of the container.
    pub fn env(&self) -> Vec<String> {
        self.proxy.as_ref().map(Proxy::env).unwrap_or_default()
    }

    /// A certificate in PEM, to be trusted by the container.
    pub fn certificate(&self) -> Option<String> {
        self.proxy.as_ref().map(|proxy| proxy.certificate().to_owned())
    }

    /// Lets go of it, and tells what went through the proxy, if there is one. The container has ended.
    pub async fn detach(self) -> Option<Traffic> {
        let Attached { proxy, lease, privileged } = self;
        let traffic = match proxy {
            Some(proxy) => Some(proxy.stop().await),
            None => None,
        };
        // Behind a proxy, the namespace was the proxy's alone.
        if let Some(lease) = lease
            && (!privileged || traffic.is_some())
        {
            lease.give_back();
        }
        traffic
    }
}
