use client::Address;
use errdefs::Result;

use crate::args::GlobalArgs;
use crate::engine::Home;
use crate::environment::Environment;

/// Which engine is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// One that somebody else looks after.
    Given(Address),
    /// The user's own, which is started when it is needed.
    Own(Home),
}

impl Place {
    pub(crate) fn find(global: &GlobalArgs, env: &Environment) -> Result<Self> {
        match global.host.as_deref().filter(|h| !h.is_empty()) {
            Some(host) => Ok(Place::Given(host.parse()?)),
            None => Ok(Place::Own(Home::find(global.root.as_deref(), env)?)),
        }
    }

    pub(crate) fn address(&self) -> Address {
        match self {
            Place::Given(address) => address.clone(),
            Place::Own(home) => Address::Unix(home.socket.clone()),
        }
    }
}
