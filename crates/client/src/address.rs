use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use errdefs::Error;

use crate::helper::Helper;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
    /// A program that has a way to the engine.
    Program(Helper),
}

impl Address {
    /// The name that the certificate of an engine at this address has to show.
    pub fn host_name(&self) -> Option<&str> {
        match self {
            Address::Tcp(host) => {
                host.rsplit_once(':').map(|(name, _)| name.trim_start_matches('[').trim_end_matches(']'))
            }
            Address::Unix(_) | Address::Program(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    /// Reads `unix:///run/x.sock`, `tcp://host:port`, `docker-container://name` and the like.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once("://") {
            Some(("unix", path)) if !path.is_empty() => Ok(Address::Unix(path.into())),
            Some(("tcp", host))
                if host.rsplit_once(':').is_some_and(|(h, p)| is_host(h) && p.parse::<u16>().is_ok()) =>
            {
                Ok(Address::Tcp(host.to_owned()))
            }
            Some((scheme, rest)) if Helper::knows(scheme) => {
                Ok(Address::Program(Helper::parse(scheme, rest)?))
            }
            _ => Err(Error::user(format!("invalid engine address `{text}`")).hint(
                "write it as `unix:///path/to/engine.sock`, `tcp://host:port`, `ssh://user@host`, \
                 `docker-container://name` or `kube-pod://name`",
            )),
        }
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && !host.contains('/')
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(host) => write!(f, "tcp://{host}"),
            Address::Program(helper) => write!(f, "{helper}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, ok| match text.parse::<Address>() {
            Ok(address) => assert!(ok && address.to_string() == text, "{text}"),
            Err(e) => assert!(!ok, "{text}: {e}"),
        };
        check("unix:///run/kiln/engine.sock", true);
        check("unix://relative.sock", true);
        check("tcp://127.0.0.1:1234", true);
        check("tcp://[::1]:1234", true);
        check("ssh://host", true);
        check("docker-container://builder", true);
        check("unix://", false);
        check("tcp://host", false);
        check("tcp://:1", false);
        check("tcp://a/b:1", false);
        check("docker-container://", false);
        check("npipe:////./pipe/x", false);
        check("/run/x.sock", false);
    }

    #[test]
    fn names_of_hosts() {
        let check = |text: &str, expect| {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.host_name(), expect, "{text}");
        };
        check("tcp://build.example:1234", Some("build.example"));
        check("tcp://[::1]:1234", Some("::1"));
        check("unix:///x", None);
    }
}
