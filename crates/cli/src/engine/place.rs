use client::{Address, Tls};
use errdefs::Result;

use crate::args::GlobalArgs;
use crate::engine::{Builder, Home};
use crate::environment::Environment;

/// Which engine is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// One that somebody else looks after.
    Given(Address, Box<Tls>),
    /// The user's own, which is started when it is needed.
    Own(Home),
}

impl Place {
    /// The engine of the builder that is meant; of several nodes the first that can be used.
    pub(crate) fn find(global: &GlobalArgs, env: &Environment) -> Result<Self> {
        Builder::find(global, env)?.place().cloned()
    }

    /// The engine at an address, with what the flags say of TLS.
    pub(crate) fn given(host: &str, global: &GlobalArgs, env: &Environment) -> Result<Self> {
        let address: Address = host.parse()?;
        let mut tls = match global.tls_dir.as_deref() {
            Some(dir) => Tls::in_folder(&env.cwd.join(dir))?,
            None => Tls::default(),
        };
        tls.server_name.clone_from(&global.tls_server_name);
        Ok(Place::Given(address, Box::new(tls)))
    }

    pub(crate) fn address(&self) -> Address {
        match self {
            Place::Given(address, _) => address.clone(),
            Place::Own(home) => Address::Unix(home.socket.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let check = |host: &str, builder: &str, vars: &[(&str, &str)], expect: &str| {
            let text = |text: &str| Some(text.to_owned());
            let global = GlobalArgs { host: text(host), builder: text(builder), ..GlobalArgs::default() };
            let vars = [vars, &[("HOME", "/home/a")]].concat();
            let told = match Place::find(&global, &Environment::of(&vars)) {
                Ok(place) => place.address().to_string(),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{host} {builder} {vars:?}");
        };
        let own = "unix:///home/a/.local/share/kiln/engine.sock";
        check("", "", &[], own);
        check("", "default", &[("BUILDKIT_HOST", "tcp://h:1")], own);
        check("", "", &[("BUILDX_BUILDER", "default")], own);
        check("tcp://h:1", "other", &[], "tcp://h:1");
        check("", "", &[("BUILDKIT_HOST", "ssh://h")], "ssh://h");
        check("", "", &[("BUILDKIT_HOST", "h")], "BUILDKIT_HOST: invalid engine address `h`");
        check("", "other", &[], "no builder \"other\" found");
    }
}
