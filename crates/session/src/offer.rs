//! What a client offers to the engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result};
use proto::content::content_client::ContentClient;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use crate::files::Tree;
use crate::handover::Folders;
use crate::hello::Hello;
use crate::outputs::Output;
use crate::serve;

/// Most bytes of a secret.
pub const MAX_SECRET: usize = 500 * 1024;

/// The host under which the engine asks for a stream of the session.
pub const UPLOAD_HOST: &str = "buildkit-session";

/// Gives secrets by id.
#[async_trait]
pub trait SecretStore: Send + Sync + 'static {
    /// Nothing when there is no such secret.
    async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>>;
}

/// A login. For an identity token the name is empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub username: String,
    pub secret: String,
}

/// What a registry wants to have a token for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenRequest {
    pub host: String,
    pub realm: String,
    pub service: String,
    pub scopes: Vec<String>,
}

/// A registry token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub token: String,
    /// Seconds; 0 when the registry did not say.
    pub expires_in: i64,
    /// Seconds since the epoch; 0 when the registry did not say.
    pub issued_at: i64,
}

/// Gives registry logins.
#[async_trait]
pub trait AuthSource: Send + Sync + 'static {
    /// Nothing for a registry without login. Docker Hub is asked for as `registry-1.docker.io`.
    async fn credentials(&self, host: &str) -> Result<Option<Credential>>;

    /// Fetches a token here, so that the login stays with the client. Nothing when that is not done.
    async fn token(&self, _request: &TokenRequest) -> Result<Option<Token>> {
        Ok(None)
    }

    /// Whether the tokens of a host have to be fetched here.
    fn is_authority(&self, _host: &str) -> bool {
        false
    }
}

/// An exporter that a client picked: its type, as `oci`, and its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PickedExporter {
    pub kind: String,
    pub attrs: BTreeMap<String, String>,
}

/// Picks exporters for a result once it is there.
#[async_trait]
pub trait ExporterSource: Send + Sync + 'static {
    /// `refs` are ids by which the gateway of the build shows the files of the result.
    async fn exporters(
        &self,
        metadata: BTreeMap<String, Vec<u8>>,
        refs: Vec<String>,
    ) -> Result<Vec<PickedExporter>>;

    /// Hears what all exporters of the build answered. An error fails the build.
    async fn exported(&self, _response: BTreeMap<String, String>) -> Result<()> {
        Ok(())
    }
}

/// Judges what a build fetches, before it is fetched.
#[async_trait]
pub trait Judge: Send + Sync + 'static {
    async fn judge(&self, request: policy::Request) -> Result<policy::Answer>;
}

/// A stream that the engine may read once.
pub type UploadSource = Box<dyn AsyncRead + Send + Unpin>;

/// What stands behind the name of a folder.
#[derive(Clone)]
pub(crate) enum Dir {
    Path(PathBuf),
    Tree(Arc<dyn Tree>),
}

/// Where blobs are.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    /// A folder in the form of an OCI layout.
    Folder {
        path: PathBuf,
        writable: bool,
    },
    Elsewhere(StoreElsewhere),
}

/// A store of another program, which speaks containerd's protocol.
#[derive(Debug, Clone)]
pub struct StoreElsewhere {
    pub channel: Channel,
    /// What goes along with each call, as `containerd-namespace`.
    pub headers: Vec<(&'static str, AsciiMetadataValue)>,
}

impl StoreElsewhere {
    /// The service that keeps the blobs.
    pub fn blobs(&self) -> ContentClient<Channel> {
        proto::sized!(ContentClient::new(self.channel.clone()))
    }

    /// A request of any of its services.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in &self.headers {
            request.metadata_mut().insert(*name, value.clone());
        }
        request
    }
}

/// All that a client offers in one session.
#[derive(Default)]
pub struct Attachables {
    pub(crate) dirs: BTreeMap<String, Dir>,
    pub(crate) outputs: BTreeMap<u32, Output>,
    pub(crate) secrets: Option<Arc<dyn SecretStore>>,
    pub(crate) auth: Option<Arc<dyn AuthSource>>,
    pub(crate) exporters: Option<Arc<dyn ExporterSource>>,
    pub(crate) judge: Option<Arc<dyn Judge>>,
    pub(crate) agents: BTreeMap<String, PathBuf>,
    pub(crate) uploads: BTreeMap<String, UploadSource>,
    pub(crate) stores: BTreeMap<String, Store>,
    pub(crate) handed: Folders,
    pub(crate) hands_over_files: bool,
}

impl Attachables {
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers a local folder under a name, as `context`. All its files look as owned by root, as every client of
    /// Docker Build has it.
    #[must_use]
    pub fn dir(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.dirs.insert(name.into(), Dir::Path(path.into()));
        self
    }

    /// Offers files that are no folder, as a Dockerfile from stdin. They are sent whole, whatever part is asked for.
    #[must_use]
    pub fn tree(mut self, name: impl Into<String>, tree: Arc<dyn Tree>) -> Self {
        self.dirs.insert(name.into(), Dir::Tree(tree));
        self
    }

    /// Takes what exporter `id` sends.
    #[must_use]
    pub fn output(mut self, id: u32, output: Output) -> Self {
        self.outputs.insert(id, output);
        self
    }

    #[must_use]
    pub fn secrets(mut self, store: Arc<dyn SecretStore>) -> Self {
        self.secrets = Some(store);
        self
    }

    #[must_use]
    pub fn auth(mut self, source: Arc<dyn AuthSource>) -> Self {
        self.auth = Some(source);
        self
    }

    /// Picks exporters for builds that ask for it.
    #[must_use]
    pub fn exporters(mut self, source: Arc<dyn ExporterSource>) -> Self {
        self.exporters = Some(source);
        self
    }

    /// Judges the sources of the build.
    #[must_use]
    pub fn judge(mut self, judge: Arc<dyn Judge>) -> Self {
        self.judge = Some(judge);
        self
    }

    /// Whether sources are judged.
    pub fn has_judge(&self) -> bool {
        self.judge.is_some()
    }

    /// Offers the ssh agent that listens at `socket`: keys can be listed and used, not changed.
    #[must_use]
    pub fn ssh_agent(mut self, id: impl Into<String>, socket: impl Into<PathBuf>) -> Self {
        self.agents.insert(id.into(), socket.into());
        self
    }

    /// Offers a stream, as a build context on stdin, and gives the URL to ask for it. `key` is unique in the session.
    pub fn upload(&mut self, key: &str, stream: UploadSource) -> Result<String> {
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Error::internal(format!("invalid upload key `{key}`")));
        }
        self.uploads.insert(key.to_owned(), stream);
        Ok(format!("http://{UPLOAD_HOST}/{key}"))
    }

    /// Offers the blobs of an OCI layout under a store id, as `oci:base`.
    #[must_use]
    pub fn oci_layout(mut self, store: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.stores.insert(store.into(), Store::Folder { path: path.into(), writable: false });
        self
    }

    /// Offers the blobs of another program under a store id; what the engine writes goes there.
    #[must_use]
    pub fn store_elsewhere(mut self, store: impl Into<String>, elsewhere: StoreElsewhere) -> Self {
        self.stores.insert(store.into(), Store::Elsewhere(elsewhere));
        self
    }

    /// The same for a folder that also takes blobs, as `local:cache`.
    #[must_use]
    pub fn cache_dir(mut self, store: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.stores.insert(store.into(), Store::Folder { path: path.into(), writable: true });
        self
    }

    /// Hands folders, and the files of outputs, over to an engine on this machine. Folders stay open as long as these
    /// offers are served.
    #[must_use]
    pub fn hand_over(mut self) -> Self {
        for (name, dir) in &self.dirs {
            if let Dir::Path(path) = dir {
                self.handed.open(name, path);
            }
        }
        self.hands_over_files = true;
        self
    }

    /// The same offers for one more engine, but for outputs, and for streams, which can be read once.
    #[must_use]
    pub fn again(&self) -> Self {
        Attachables {
            dirs: self.dirs.clone(),
            secrets: self.secrets.clone(),
            auth: self.auth.clone(),
            exporters: self.exporters.clone(),
            judge: self.judge.clone(),
            agents: self.agents.clone(),
            stores: self.stores.clone(),
            ..Attachables::default()
        }
    }

    /// Folders on offer, by their names.
    pub fn folders(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.dirs.iter().filter_map(|(name, dir)| match dir {
            Dir::Path(path) => Some((name.as_str(), path.as_path())),
            Dir::Tree(_) => None,
        })
    }

    /// Introduces these offers.
    pub fn hello(
        &self,
        id: impl Into<String>,
        name: impl Into<String>,
        shared_key: impl Into<String>,
    ) -> Hello {
        Hello {
            id: id.into(),
            name: name.into(),
            shared_key: shared_key.into(),
            methods: serve::methods(self),
            health_timeout: None,
            folders: self.handed.words(),
            files: self.hands_over_files,
        }
    }

    /// Answers the engine until the connection ends.
    pub async fn serve(self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<()> {
        serve::serve(self, io).await
    }
}
