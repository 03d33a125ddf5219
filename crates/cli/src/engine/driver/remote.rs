//! Engines that somebody else looks after.

use std::path::PathBuf;

use async_trait::async_trait;
use builder::Node;
use client::{Address, Client, Tls};
use errdefs::{Error, Result};

use super::{Driver, Status, check_absolute};
use crate::engine::{Place, connect, connect_running};
use crate::flags::parse_bool;

/// The place is a given one.
pub(super) struct Remote(pub Place);

impl Remote {
    pub(super) fn of_node(node: &Node) -> Result<Self> {
        if !node.files.is_empty() {
            return Err(Error::user("setting config file is not supported for remote driver"));
        }
        if !node.flags.is_empty() {
            return Err(Error::user("setting buildkit flags is not supported for remote driver"));
        }
        let address: Address = node.endpoint.parse()?;
        Ok(Remote(Place::Given(address, Box::new(tls(node)?))))
    }

    /// The engine in the container that buildx has made for a node.
    pub(super) fn in_container(node: &Node) -> Result<Self> {
        let Node { name, endpoint, .. } = node;
        // The endpoint is a socket or the name of a Docker context.
        let context = match endpoint.contains("://") || endpoint.is_empty() || endpoint == "default" {
            true => String::new(),
            false => format!("?context={endpoint}"),
        };
        let address = format!("docker-container://buildx_buildkit_{name}{context}").parse()?;
        Ok(Remote(Place::Given(address, Box::default())))
    }
}

fn tls(node: &Node) -> Result<Tls> {
    let mut tls = Tls::default();
    for (option, value) in &node.driver_opts {
        let file = || check_absolute(option, value).map(|()| Some(PathBuf::from(value)));
        match option.as_str() {
            "servername" => tls.server_name = Some(value.clone()),
            "cacert" => tls.ca = file()?,
            "cert" => tls.cert = file()?,
            "key" => tls.key = file()?,
            // Only buildx loads by itself what it builds.
            "default-load" if parse_bool(value).is_some() => {}
            "default-load" => return Err(Error::user(format!("invalid value {value:?} for {option}"))),
            _ => return Err(Error::user(format!("invalid driver option {option} for remote driver"))),
        }
    }
    let is_wanted = tls.is_wanted() || tls.server_name.is_some();
    let missing = [
        ("cacert", is_wanted && tls.ca.is_none()),
        ("key", tls.cert.is_some() && tls.key.is_none()),
        ("cert", tls.key.is_some() && tls.cert.is_none()),
    ];
    let missing: Vec<_> = missing.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
    match missing.is_empty() {
        true => Ok(tls),
        false => Err(Error::user(format!("tls enabled, but missing keys {}", missing.join(", ")))),
    }
}

#[async_trait]
impl Driver for Remote {
    fn place(&self) -> &Place {
        &self.0
    }

    fn booting(&self) -> &'static str {
        "waiting for connection"
    }

    async fn boot(&self) -> Result<Client> {
        connect(&self.0).await
    }

    async fn look(&self) -> Result<(Status, Option<Client>)> {
        match connect_running(&self.0).await {
            Ok(Some(client)) if client.workers().await.is_ok() => Ok((Status::Running, Some(client))),
            told => {
                tracing::debug!(place = %self.0.address(), error = ?told.err(), "no engine");
                Ok((Status::Inactive, None))
            }
        }
    }

    async fn stop(&self) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, _keep_store: bool) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use builder::File;

    fn told(node: &Node) -> String {
        match Remote::of_node(node).map(|remote| remote.0) {
            Ok(Place::Given(address, tls)) => {
                let file =
                    |path: &Option<PathBuf>| path.as_ref().map_or("-".into(), |p| p.display().to_string());
                let files = [&tls.ca, &tls.cert, &tls.key].map(file).join(" ");
                format!("{address} {files} {}", tls.server_name.as_deref().unwrap_or("-"))
            }
            Ok(Place::Own(_)) => "own".into(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn options() {
        let check = |options: &[(&str, &str)], expect: &str| {
            let driver_opts = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let node = Node { endpoint: "tcp://h:1".into(), driver_opts, ..Node::default() };
            assert_eq!(told(&node), expect, "{options:?}");
        };
        check(&[], "tcp://h:1 - - - -");
        check(&[("default-load", "true")], "tcp://h:1 - - - -");
        check(&[("cacert", "/ca")], "tcp://h:1 /ca - - -");
        check(
            &[("cacert", "/ca"), ("cert", "/c"), ("key", "/k"), ("servername", "s")],
            "tcp://h:1 /ca /c /k s",
        );
        check(&[("servername", "s")], "tls enabled, but missing keys cacert");
        check(&[("cert", "/c")], "tls enabled, but missing keys cacert, key");
        check(&[("cacert", "/ca"), ("key", "/k")], "tls enabled, but missing keys cert");
        check(&[("cacert", "ca")], "non-absolute path 'ca' provided for cacert");
        check(&[("x", "y")], "invalid driver option x for remote driver");
    }

    #[test]
    fn what_is_somebody_elses_is_not_configured() {
        let node = Node { endpoint: "tcp://h:1".into(), ..Node::default() };
        let flags = Node { flags: vec!["--debug".into()], ..node.clone() };
        assert_eq!(told(&flags), "setting buildkit flags is not supported for remote driver");
        let files = [("buildkitd.toml".to_owned(), File(Vec::new()))].into();
        assert_eq!(told(&Node { files, ..node }), "setting config file is not supported for remote driver");
    }

    #[test]
    fn containers_of_buildx() {
        let check = |endpoint: &str, expect: &str| {
            let node = Node { name: "b0".into(), endpoint: endpoint.into(), ..Node::default() };
            let remote = Remote::in_container(&node).expect("valid");
            assert_eq!(remote.0.address().to_string(), expect);
        };
        check("unix:///var/run/docker.sock", "docker-container://buildx_buildkit_b0");
        check("default", "docker-container://buildx_buildkit_b0");
        check("far", "docker-container://buildx_buildkit_b0?context=far");
    }
}
