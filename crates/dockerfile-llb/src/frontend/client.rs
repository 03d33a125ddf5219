//! What a conversion asks for, on top of the bridge.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use errdefs::{Error, Result};
use frontend::{Bridge, ResolveOptions, ResolvedImage};
use llb::{Definition, Graph, Output};
use oci::Platform;
use tokio::sync::OnceCell;

use super::context::BuildContext;
use crate::config::Config;

/// One build's view of the engine and of its client.
pub(crate) struct Client {
    bridge: Arc<dyn Bridge>,
    config: Config,
    inputs: BTreeMap<String, Definition>,
    pub(super) context: BuildContext,
    /// The ignore file that stands beside the Dockerfile, if there is one.
    pub(super) own_ignore_file: OnceCell<Option<Bytes>>,
    pub(super) ignored: OnceCell<Vec<String>>,
    /// Images that were resolved: the same name gives the same image throughout a build.
    resolved: tokio::sync::Mutex<BTreeMap<String, Arc<OnceCell<ResolvedImage>>>>,
}

impl Client {
    /// Finds out what the build context is.
    pub async fn open(
        bridge: Arc<dyn Bridge>,
        config: Config,
        inputs: BTreeMap<String, Definition>,
    ) -> Result<Client> {
        let mut client = Client::without_context(bridge, config, inputs);
        client.context = client.find_context().await?;
        Ok(client)
    }

    /// For who does not need the build context.
    pub fn without_context(
        bridge: Arc<dyn Bridge>,
        config: Config,
        inputs: BTreeMap<String, Definition>,
    ) -> Client {
        Client {
            bridge,
            config,
            inputs,
            context: BuildContext::Local,
            own_ignore_file: OnceCell::new(),
            ignored: OnceCell::new(),
            resolved: tokio::sync::Mutex::default(),
        }
    }

    pub fn bridge(&self) -> &dyn Bridge {
        &*self.bridge
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the engine runs by itself.
    pub fn build_platform(&self) -> Platform {
        self.bridge.platforms().into_iter().next().unwrap_or_else(Platform::host)
    }

    /// The session that holds a local source.
    pub(super) fn session_of(&self, name: &str) -> String {
        let own = self.config.local_sessions.get(name).cloned();
        own.unwrap_or_else(|| self.bridge.session_id().to_owned())
    }

    /// The name of an image to its digest and config.
    pub async fn resolve(&self, name: &str, options: ResolveOptions) -> Result<ResolvedImage> {
        let key = format!("{name} {options:?}");
        let cell = Arc::clone(self.resolved.lock().await.entry(key).or_default());
        let resolved = cell.get_or_try_init(|| self.bridge.resolve_image_config(name, options)).await?;
        Ok(resolved.clone())
    }

    /// A graph that the client gave, if there is one of this name.
    pub(super) fn input(&self, name: &str) -> Result<Option<Output>> {
        self.inputs.get(name).map(import).transpose()
    }
}

/// A received graph as part of one under construction.
fn import(definition: &Definition) -> Result<Output> {
    if definition.is_empty() {
        return Err(Error::user("invalid nil input definition to definition op"));
    }
    Ok(Graph::load(definition)?.rebuild(|_, _| ())?.0)
}
