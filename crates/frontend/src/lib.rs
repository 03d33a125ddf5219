//! The contract between a frontend and the engine: `Frontend`, `Bridge`, `BuildResult`.
//!
//! A [`Frontend`] turns options into graphs. It asks the [`Bridge`] for what it needs to know (a Dockerfile from the
//! client, the config of a base image), hands graphs to [`Bridge::solve`] and gets a [`Ref`] for each: a promise.
//! Nothing of a ref is run until somebody reads a file of it, evaluates it, or exports the [`BuildResult`] that it is
//! part of. The same contract serves a frontend inside the engine and one behind the wire.
//!
//! What frontends and the engine do alike stands here too: [`sbom`].
//!
//! Never: holds a frontend.

mod attestation;
mod container;
pub mod sbom;
mod scope;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::Result;
use llb::{Definition, Policies, SourceOp};
use oci::{Digest, Platform};

pub use attestation::{Attestation, AttestationBody, AttestationChain, AttestationKind, LateBody, Subject};
pub use container::{
    Container, ContainerMount, ContainerRequest, Input, Process, ProcessExit, ProcessIo, ProcessRequest,
    Started, Stdin,
};
pub use scope::Scope;

/// Turns options and inputs into a result.
#[async_trait]
pub trait Frontend: Send + Sync {
    async fn solve(&self, bridge: Arc<dyn Bridge>, request: FrontendRequest) -> Result<BuildResult>;
}

/// What a frontend is asked.
#[derive(Debug, Clone, Default)]
pub struct FrontendRequest {
    /// Options as `target`, `build-arg:X`, `platform`.
    pub opts: BTreeMap<String, String>,
    /// Named graphs that stand in for contexts.
    pub inputs: BTreeMap<String, Definition>,
}

/// A graph that was handed to the engine; scratch when `id` is empty.
#[derive(Debug, Clone, Default)]
pub struct Ref {
    pub id: String,
    pub definition: Arc<Definition>,
}

/// What a frontend returns.
#[derive(Debug, Clone, Default)]
pub struct BuildResult {
    pub refs: Refs,
    /// Keys as `containerimage.config`, `refs.platforms`, `result.json`; those of one platform end in `/<platform>`.
    pub metadata: BTreeMap<String, Bytes>,
    /// By platform id; those of a result with one ref stand under the empty name, or that of its platform.
    pub attestations: BTreeMap<String, Vec<Attestation>>,
}

#[derive(Debug, Clone, Default)]
pub enum Refs {
    #[default]
    None,
    Single(Ref),
    /// By platform id, as `linux/arm64`.
    Map(BTreeMap<String, Ref>),
}

impl BuildResult {
    /// All refs, those of attestations last.
    pub fn all_refs(&self) -> Vec<&Ref> {
        let mut all = match &self.refs {
            Refs::None => Vec::new(),
            Refs::Single(one) => vec![one],
            Refs::Map(map) => map.values().collect(),
        };
        let bodies = self.attestations.values().flatten().map(|attestation| &attestation.body);
        all.extend(bodies.filter_map(|body| match body {
            AttestationBody::File { reference, .. } => Some(reference),
            AttestationBody::Inline(_) | AttestationBody::Late(_) => None,
        }));
        all
    }
}

/// A request of a frontend to the engine: a graph, or another frontend.
#[derive(Debug, Clone, Default)]
pub struct SolveRequest {
    pub definition: Option<Definition>,
    pub frontend: String,
    pub opts: BTreeMap<String, String>,
    pub inputs: BTreeMap<String, Definition>,
    /// Caches that the steps of it may come from.
    pub cache_imports: Vec<CacheImport>,
    /// What its sources are judged by, after the policies of the build.
    pub policies: Policies,
    /// Run it now rather than when it is needed.
    pub evaluate: bool,
}

/// A cache of builds elsewhere: a type, as `registry`, and its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheImport {
    pub kind: String,
    pub attrs: BTreeMap<String, String>,
}

/// How to resolve an image.
#[derive(Debug, Clone, Default)]
pub struct ResolveOptions {
    pub platform: Option<Platform>,
    /// `default`, `pull` or `local`; empty is `default`.
    pub resolve_mode: String,
    /// Name of the vertex that shows the work; empty shows none.
    pub log_name: String,
    /// For `oci-layout://` references: the session and the id of its store; empty for the build's own.
    pub session_id: String,
    pub store_id: String,
    /// What the image is judged by, after the policies of the build.
    pub policies: Policies,
    /// The config is of no use.
    pub no_config: bool,
    /// What is said of the image is wanted too, with statements of these types.
    pub attestations: Option<Vec<String>>,
}

/// How a source is asked about.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// Name of the vertex that shows the work; empty shows none.
    pub log_name: String,
    /// Encoded commits and tags of git are wanted.
    pub objects: bool,
    /// The digest of a page, in this way.
    pub checksum: Option<ChecksumRequest>,
    /// What the source is judged by, after the policies of the build.
    pub policies: Policies,
}

/// Another digest of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksumRequest {
    pub algorithm: ChecksumAlgorithm,
    /// Bytes that count as if they stood behind the file.
    pub suffix: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumAlgorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// A source as a policy left it, and what is known of it.
#[derive(Debug, Clone, Default)]
pub struct ResolvedSource {
    pub source: SourceOp,
    pub meta: SourceMeta,
}

/// What an image reference stands for.
#[derive(Debug, Clone)]
pub struct ResolvedImage {
    /// The reference as it was resolved, which a policy may have changed.
    pub reference: String,
    /// Digest of what the reference names: an index or a manifest.
    pub digest: Digest,
    /// The image config of the platform, as its JSON.
    pub config: Bytes,
    /// Where it was asked for, and the image has one.
    pub chain: Option<AttestationChain>,
}

/// What is known of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SourceMeta {
    /// Nothing beyond its name.
    #[default]
    Plain,
    Git(GitMeta),
    Http(HttpMeta),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitMeta {
    /// `refs/heads/main`, or a commit.
    pub reference: String,
    /// What it names.
    pub checksum: String,
    /// The commit of an annotated tag; empty otherwise.
    pub commit_checksum: String,
    pub commit_object: Bytes,
    pub tag_object: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpMeta {
    pub digest: Digest,
    pub filename: String,
    /// Seconds since 1970, where the server says it.
    pub modified: Option<i64>,
    /// The digest that was asked for, as `sha512:...`, and what it was asked for with.
    pub checksum: Option<(String, ChecksumRequest)>,
}

/// An entry of a directory, or a file. `mode` is `st_mode`, `mtime_ns` counts from 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    pub path: String,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime_ns: i64,
    pub linkname: String,
}

/// A stretch of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRange {
    pub offset: u64,
    pub length: u64,
}

/// The engine, from the view of a frontend. One bridge belongs to one build.
#[async_trait]
pub trait Bridge: Send + Sync {
    /// The session of the client that started the build; local sources name it.
    fn session_id(&self) -> &str;

    /// Platforms that steps can run on, the engine's own first.
    fn platforms(&self) -> Vec<Platform>;

    /// Who runs the steps.
    fn worker(&self) -> Worker {
        Worker { platforms: self.platforms(), ..Worker::default() }
    }

    /// Named graphs that the client of the build gave along.
    fn inputs(&self) -> BTreeMap<String, Definition> {
        BTreeMap::new()
    }

    /// `docker.io/library/alpine:3` or `oci-layout://...` -> digest and config.
    async fn resolve_image_config(&self, reference: &str, options: ResolveOptions) -> Result<ResolvedImage>;

    /// What is known of a source without its files.
    async fn resolve_source(&self, source: &SourceOp, options: SourceOptions) -> Result<ResolvedSource>;

    /// Takes a graph, or runs another frontend.
    async fn solve(&self, request: SolveRequest) -> Result<BuildResult>;

    /// Computes a ref now.
    async fn evaluate(&self, reference: &Ref) -> Result<()>;

    async fn read_file(&self, reference: &Ref, path: &str, range: Option<FileRange>) -> Result<Bytes>;

    /// Entries of a directory, sorted; `include` is a pattern for their names, or empty.
    async fn read_dir(&self, reference: &Ref, path: &str, include: &str) -> Result<Vec<FileInfo>>;

    async fn stat_file(&self, reference: &Ref, path: &str) -> Result<FileInfo>;

    /// Tells the client of something that does not fail the build. The warning hangs on `vertex`.
    async fn warn(&self, vertex: &Digest, warning: Warning) -> Result<()>;

    /// Makes a container for processes of the frontend's own. It lives until it is released, and not longer than the
    /// build.
    async fn new_container(&self, request: ContainerRequest) -> Result<Arc<dyn Container>>;
}

/// Who runs the steps, as clients are told.
#[derive(Debug, Clone, Default)]
pub struct Worker {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    pub platforms: Vec<Platform>,
}

/// A finding of a frontend.
#[derive(Debug, Clone, Default)]
pub struct Warning {
    pub level: i64,
    pub short: String,
    pub detail: Vec<String>,
    pub url: String,
    pub source: Option<errdefs::SourceLocation>,
}
