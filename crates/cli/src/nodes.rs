//! One build on several engines: who builds what, and how it is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ::builder::Node;
use client::Client;
use errdefs::{Error, Result, ResultExt as _};
use futures_util::future::{join_all, try_join_all};
use oci::{Digest, Platform};
use progress::SolveStatus;
use registry::{HostConfig, KeyPair};
use serde::Deserialize;
use tokio::sync::{OnceCell, mpsc};

use crate::engine::{Builder, Member};

/// Status messages that wait for the display, of one node.
const BACKLOG: usize = 64;

/// A node that takes part in a build.
pub(crate) struct Chosen {
    pub name: String,
    pub address: String,
    pub client: Client,
    /// What it builds; none where the engine takes its own.
    pub platforms: Vec<Platform>,
    /// What its engine was told of registries, if it was told by us.
    pub registries: BTreeMap<String, HostConfig>,
}

impl Chosen {
    /// The node for a reader of an error.
    pub(crate) fn told(&self) -> String {
        let platforms: Vec<_> = self.platforms.iter().map(Platform::to_string).collect();
        format!("node {} at {} ({})", self.name, self.address, platforms.join(", "))
    }
}

/// The nodes of a builder, for one build or several: each is reached, and asked what it can, once at most. Nodes whose
/// options make no sense take no part.
pub(crate) struct Nodes<'b> {
    pub builder: &'b Builder,
    usable: Vec<(&'b Member, OnceCell<Client>)>,
    /// What each of them builds, by its own word.
    found: OnceCell<Vec<Vec<Platform>>>,
}

impl<'b> Nodes<'b> {
    pub(crate) fn new(builder: &'b Builder) -> Self {
        let usable = builder.nodes.iter().filter(|member| member.driver.is_ok());
        let usable = usable.map(|member| (member, OnceCell::new())).collect();
        Nodes { builder, usable, found: OnceCell::new() }
    }

    /// Gives the platforms to nodes, and connects to those.
    ///
    /// # Errors
    /// An engine that is needed does not answer.
    pub(crate) async fn choose(&self, platforms: &[Platform]) -> Result<Vec<Chosen>> {
        self.builder.place().context("no valid drivers found")?;
        let fixed: Vec<Vec<Platform>> =
            self.usable.iter().map(|(member, _)| member.node.platforms.clone()).collect();
        let ask = async || self.found.get_or_try_init(|| self.find_out()).await.cloned();
        let shares = ::builder::choose(platforms, &fixed, ask).await?;
        try_join_all(shares.into_iter().map(async |share| {
            let client = self.reach(share.node).await?.clone();
            let node = &self.usable[share.node].0.node;
            let registries = registries_of(node)?;
            let (name, address) = (node.name.clone(), client.address().to_string());
            Ok(Chosen { name, address, client, platforms: share.platforms, registries })
        }))
        .await
    }

    /// The first node.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn first(&self) -> Result<&Client> {
        self.builder.place().context("no valid drivers found")?;
        self.reach(0).await
    }

    async fn reach(&self, place: usize) -> Result<&Client> {
        let (member, client) = &self.usable[place];
        let several = self.builder.nodes.len() > 1;
        let named = |e: Error| if several { e.context(format!("node {}", member.node.name)) } else { e };
        client.get_or_try_init(|| member.connect()).await.map_err(named)
    }

    async fn find_out(&self) -> Result<Vec<Vec<Platform>>> {
        try_join_all((0..self.usable.len()).map(async |place| found(self.reach(place).await?).await)).await
    }
}

/// What the engine of a node was told of registries, if it was told by us.
pub(crate) fn registries_of(node: &Node) -> Result<BTreeMap<String, HostConfig>> {
    let config = node.files.get("buildkitd.toml");
    let registries = config.map_or(Ok(BTreeMap::new()), |file| registries(&file.0));
    registries.with_context(|| format!("configuration of node {}", node.name))
}

/// What the workers of an engine build.
async fn found(client: &Client) -> Result<Vec<Platform>> {
    let workers = client.workers().await?;
    Ok(workers.iter().flat_map(|w| &w.platforms).filter_map(|p| p.parse().ok()).collect())
}

/// The part of `buildkitd.toml` that is also for those who push on behalf of engines.
#[derive(Default, Deserialize)]
#[serde(default)]
struct EngineConfig {
    registry: BTreeMap<String, RegistryConfig>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RegistryConfig {
    mirrors: Vec<String>,
    http: Option<bool>,
    insecure: bool,
    ca: Vec<PathBuf>,
    keypair: Vec<KeyConfig>,
}

#[derive(Deserialize)]
struct KeyConfig {
    key: PathBuf,
    cert: PathBuf,
}

fn registries(config: &[u8]) -> Result<BTreeMap<String, HostConfig>> {
    let config: EngineConfig = toml::from_slice(config).map_err(|e| Error::user(e.message().to_owned()))?;
    let host = |(name, r): (String, RegistryConfig)| {
        let keys = r.keypair.into_iter().map(|k| KeyPair { cert: k.cert, key: k.key }).collect();
        let host = HostConfig { mirrors: r.mirrors, http: r.http, insecure: r.insecure, ca: r.ca, keys };
        (name, host)
    };
    Ok(config.registry.into_iter().map(host).collect())
}

/// Runs the work of all nodes side by side. The first that fails ends the others, and its error is the one that counts.
pub(crate) async fn all_or_none<T>(
    work: impl IntoIterator<Item = impl Future<Output = Result<T>>>,
    end: impl Fn(),
) -> Result<Vec<T>> {
    let first = Mutex::new(None);
    let done = join_all(work.into_iter().map(async |work| {
        work.await
            .map_err(|e| {
                first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                end();
            })
            .ok()
    }))
    .await;
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(e) => Err(e),
        None => Ok(done.into_iter().flatten().collect()),
    }
}

/// A way to the display on which all steps are told as those of a node: nodes that do the same take nothing from each
/// other.
pub(crate) fn labelled(node: &str, display: mpsc::Sender<SolveStatus>) -> mpsc::Sender<SolveStatus> {
    let (sender, mut messages) = mpsc::channel(BACKLOG);
    let node: Arc<str> = node.into();
    tokio::spawn(async move {
        while let Some(mut status) = messages.recv().await {
            label(&node, &mut status);
            if display.send(status).await.is_err() {
                break;
            }
        }
    });
    sender
}

fn label(node: &str, status: &mut SolveStatus) {
    let own = |digest: &mut Digest| *digest = Digest::of(format!("{node} {digest}"));
    for vertex in &mut status.vertexes {
        own(&mut vertex.digest);
        vertex.inputs.iter_mut().for_each(own);
        vertex.name = labelled_name(node, &vertex.name);
        if let Some(group) = &mut vertex.progress_group {
            group.id = format!("{node} {}", group.id);
            group.name = labelled_name(node, &group.name);
        }
    }
    status.statuses.iter_mut().for_each(|s| own(&mut s.vertex));
    status.logs.iter_mut().for_each(|l| own(&mut l.vertex));
    status.warnings.iter_mut().for_each(|w| own(&mut w.vertex));
}

/// As buildx puts a label: into the brackets of a name that begins with them.
pub(crate) fn labelled_name(label: &str, name: &str) -> String {
    match name.strip_prefix('[') {
        Some(rest) => format!("[{label} {rest}"),
        None => format!("[{label}] {name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use progress::{Vertex, VertexLog};

    use super::*;

    #[test]
    fn names_get_the_label_into_their_brackets() {
        let check = |name: &str, expect: &str| assert_eq!(labelled_name("b1", name), expect);
        check("[linux/arm64 2/3] RUN make", "[b1 linux/arm64 2/3] RUN make");
        check("[internal] load build context", "[b1 internal] load build context");
        check("exporting to image", "[b1] exporting to image");
    }

    #[test]
    fn what_engines_are_told_of_registries() {
        let text = "debug = true\n[registry.\"reg.io\"]\nhttp = true\nca = [\"/ca.pem\"]\n\
                    [[registry.\"reg.io\".keypair]]\nkey = \"/k\"\ncert = \"/c\"\n[registry.other]\ninsecure = true\n";
        let hosts = registries(text.as_bytes()).expect("valid");
        assert_eq!((hosts["reg.io"].http, hosts["reg.io"].keys[0].cert.to_str()), (Some(true), Some("/c")));
        assert!(hosts["other"].insecure && hosts["other"].http.is_none());
        assert!(registries(b"registry = 1").is_err());
    }

    #[test]
    fn the_same_step_on_two_nodes_is_two() {
        let of = |node: &str| {
            let digest = Digest::of("step");
            let vertex = Vertex {
                digest: digest.clone(),
                inputs: vec![Digest::of("input")],
                name: "[1/2] FROM x".into(),
                cached: false,
                started: None,
                completed: None,
                error: String::new(),
                progress_group: None,
            };
            let timestamp = jiff::Timestamp::UNIX_EPOCH;
            let log = VertexLog { vertex: digest, timestamp, stream: 1, data: "hi".into() };
            let mut status =
                SolveStatus { vertexes: vec![vertex], logs: vec![log], ..SolveStatus::default() };
            label(node, &mut status);
            status
        };
        let (a, b) = (of("a"), of("b"));
        assert_ne!(a.vertexes[0].digest, b.vertexes[0].digest);
        assert_ne!(a.vertexes[0].inputs, b.vertexes[0].inputs);
        assert_eq!(a.vertexes[0].digest, a.logs[0].vertex);
    }

    #[tokio::test]
    async fn the_first_error_counts_and_ends_the_rest() {
        let ended = Cell::new(0);
        let work = |name: &'static str, steps: usize| {
            let ended = &ended;
            async move {
                for _ in 0..steps {
                    tokio::task::yield_now().await;
                }
                match name {
                    "fine" => Ok(()),
                    _ if ended.get() > 0 => Err(Error::canceled()),
                    name => Err(Error::user(name)),
                }
            }
        };
        let end = || ended.set(ended.get() + 1);
        let told = all_or_none([work("slow", 9), work("broken", 3), work("fine", 1)], end).await;
        assert_eq!(told.expect_err("one is broken").to_string(), "broken");
        ended.set(0);
        assert_eq!(
            all_or_none([work("fine", 2), work("fine", 1)], || ended.set(1)).await.expect("fine").len(),
            2
        );
        assert_eq!(ended.get(), 0);
    }
}
