//! Kiln's own engine: on this machine, with a store of its own, started when it is needed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use builder::Node;
use client::Client;
use errdefs::{Error, Result, ResultExt as _};

use super::{Driver, Status};
use crate::engine::{EngineProcess, Home, Place, connect, connect_running};
use crate::environment::Environment;

/// Before the folder of the store, in the endpoint of a node.
const SCHEME: &str = "kiln://";
/// An engine that was told to hurry ends within this time.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// An engine that is this program's to start and to end; the place is one of those.
pub(crate) struct Own(pub Place);

impl Own {
    /// The endpoint of a new node.
    pub(crate) fn endpoint(node: &str, root: Option<&Path>, env: &Environment) -> Result<String> {
        Ok(format!("{SCHEME}{}", Home::of_builders(root, env)?.join(node).display()))
    }

    pub(super) fn of_node(node: &Node, env: &Environment) -> Result<Self> {
        if let Some(option) = node.driver_opts.keys().next() {
            return Err(Error::user(format!("invalid driver option {option} for kiln driver")));
        }
        let root = node.endpoint.strip_prefix(SCHEME).filter(|root| root.starts_with('/'));
        let root = root.ok_or_else(|| {
            Error::user(format!("invalid endpoint `{}` of node {}", node.endpoint, node.name))
                .hint(format!("write it as `{SCHEME}/folder/of/its/store`"))
        })?;
        let mut home = Home::find(Some(Path::new(root)), env)?;
        home.flags.clone_from(&node.flags);
        home.config = node.files.get("buildkitd.toml").map(|file| file.0.clone());
        Ok(Own(Place::Own(home)))
    }

    fn home(&self) -> Result<&Home> {
        match &self.0 {
            Place::Own(home) => Ok(home),
            Place::Given(address, _) => Err(Error::internal(format!("`{address}` is no engine of our own"))),
        }
    }
}

#[async_trait]
impl Driver for Own {
    fn place(&self) -> &Place {
        &self.0
    }

    fn booting(&self) -> &'static str {
        "starting the engine"
    }

    async fn boot(&self) -> Result<Client> {
        connect(&self.0).await
    }

    async fn look(&self) -> Result<(Status, Option<Client>)> {
        let home = self.home()?;
        match connect_running(&self.0).await? {
            Some(client) => Ok((Status::Running, Some(client))),
            None if is_store(&home.root) => Ok((Status::Stopped, None)),
            None => Ok((Status::Inactive, None)),
        }
    }

    /// Its builds are cancelled.
    async fn stop(&self) -> Result<()> {
        let Some(process) = EngineProcess::behind(&self.home()?.socket)? else { return Ok(()) };
        process.tell_to_stop()?;
        process.tell_to_hurry()?;
        let waited = tokio::task::spawn_blocking(move || process.wait(STOP_TIMEOUT)).await;
        waited.map_err(|e| Error::internal(e.to_string()))?
    }

    async fn remove(&self, keep_store: bool) -> Result<()> {
        let root = self.home()?.root.clone();
        if keep_store || !is_store(&root) {
            return Ok(());
        }
        let failed = format!("failed to remove `{}`", root.display());
        let removed = tokio::task::spawn_blocking(move || {
            std::fs::remove_dir_all(&root)?;
            // The folder of all builders goes with the last one.
            let _others_are_there = root.parent().map(std::fs::remove_dir);
            Ok::<_, std::io::Error>(())
        });
        removed.await.map_err(|e| Error::internal(e.to_string()))?.with_context(|| failed)
    }
}

/// Whether a folder was made by an engine: no other is removed, whatever a builder's file says.
fn is_store(root: &Path) -> bool {
    let made: [PathBuf; 2] = ["format-version", "engine.log"].map(|name| root.join(name));
    made.iter().any(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn node(endpoint: &str) -> Node {
        Node { name: "b0".into(), endpoint: endpoint.into(), ..Node::default() }
    }

    #[test]
    fn stores_lie_next_to_the_users_own() {
        let env = Environment::of(&[("HOME", "/home/a")]);
        let endpoint = Own::endpoint("b0", None, &env).expect("there is a home");
        assert_eq!(endpoint, "kiln:///home/a/.local/share/kiln-builders/b0");
        assert_eq!(Own::endpoint("b0", Some(Path::new("/s")), &env).expect("given"), "kiln:///s-builders/b0");
        let own = Own::of_node(&node(&endpoint), &env).expect("valid");
        let address = own.place().address().to_string();
        assert_eq!(address, "unix:///home/a/.local/share/kiln-builders/b0/engine.sock");
        assert!(Own::of_node(&node("tcp://h:1"), &env).is_err());
        assert!(Own::of_node(&node("kiln://relative"), &env).is_err());
        let driver_opts = BTreeMap::from([("x".to_owned(), "y".to_owned())]);
        let told = Own::of_node(&Node { driver_opts, ..node(&endpoint) }, &env).err().map(|e| e.to_string());
        assert_eq!(told.as_deref(), Some("invalid driver option x for kiln driver"));
    }

    #[tokio::test]
    async fn only_a_store_is_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("all/b0");
        std::fs::create_dir_all(&root).expect("made");
        let own =
            Own::of_node(&node(&format!("kiln://{}", root.display())), &Environment::of(&[])).expect("valid");
        own.remove(false).await.expect("nothing to do");
        assert!(root.exists(), "not an engine's");
        std::fs::write(root.join("format-version"), "1").expect("written");
        own.remove(true).await.expect("kept");
        assert!(root.exists());
        own.remove(false).await.expect("removed");
        assert!(!root.parent().expect("a parent").exists());
    }
}
