//! `--ssh`.

use errdefs::{Error, Result};

/// The id of the agent that a step gets which asks for none by name.
pub(crate) const DEFAULT_ID: &str = "default";

/// One `--ssh`: an agent under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshFlag {
    pub id: String,
    /// The socket of an agent, or keys; empty is the agent of SSH_AUTH_SOCK.
    pub paths: Vec<String>,
}

impl SshFlag {
    /// Reads `default`, `ID`, `ID=SOCKET` or `ID=KEY[,KEY…]`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        if id.is_empty() {
            return Err(Error::user(format!("invalid ssh value `{text}`: it has no id"))
                .hint("write `--ssh default` or `--ssh ID=SOCKET|KEY`"));
        }
        let paths = paths.split(',').filter(|path| !path.is_empty()).map(str::to_owned).collect();
        Ok(SshFlag { id: id.to_owned(), paths })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_and_keys() {
        for (text, id, paths) in [
            ("default", "default", &[][..]),
            ("default=/run/agent", "default", &["/run/agent"]),
            ("deploy=a,b", "deploy", &["a", "b"]),
            ("x=", "x", &[]),
        ] {
            let flag = SshFlag::parse(text).unwrap();
            assert_eq!((flag.id.as_str(), flag.paths), (id, paths.iter().map(|p| (*p).to_owned()).collect()));
        }
        assert!(SshFlag::parse("=x").is_err());
    }
}
