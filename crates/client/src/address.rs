use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use errdefs::Error;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// `host:port`, without encryption.
    Tcp(String),
}

impl FromStr for Address {
    type Err = Error;

    /// Reads `unix:///run/x.sock` or `tcp://host:port`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once("://") {
            Some(("unix", path)) if !path.is_empty() => Ok(Address::Unix(path.into())),
            Some(("tcp", host))
                if host.rsplit_once(':').is_some_and(|(h, p)| is_host(h) && p.parse::<u16>().is_ok()) =>
            {
                Ok(Address::Tcp(host.to_owned()))
            }
            _ => Err(Error::user(format!("invalid engine address `{text}`"))
                .hint("write it as `unix:///path/to/engine.sock` or `tcp://host:port`")),
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
        check("unix://", false);
        check("tcp://host", false);
        check("tcp://:1", false);
        check("tcp://a/b:1", false);
        check("ssh://host", false);
        check("/run/x.sock", false);
    }
}
