//! The build context, the Dockerfile in it, and what of it is ignored.

use std::sync::Arc;

use bytes::Bytes;
use dockerfile::ignore;
use errdefs::{Code, Error, Result, ResultExt, SourceInfo};
use frontend::{FileRange, Ref};
use fsutil::Compression;
use fsutil::tar::is_tar;
use llb::{Copy, OpMetadata, Output, SourceOp, caps};
use oci::Digest;

use super::Client;
use crate::convert::called;
use crate::draft::{About, Action, ActionKind, Draft, Port};
use crate::git;

const CONTEXT: &str = "context";
const IGNORE_FILE: &str = ".dockerignore";

/// Where the build context comes from.
#[derive(Debug)]
pub(crate) enum BuildContext {
    /// The client sends a folder.
    Local,
    /// An archive from the web, unpacked, or a Dockerfile from the web when it is no archive.
    Http { address: String, is_archive: bool },
    /// A repository.
    Git { wanted: Box<git::GitRef>, address: String },
    /// A graph that the client gave.
    Input(Output),
}

/// The Dockerfile.
pub(crate) struct Entrypoint {
    pub info: SourceInfo,
    pub source: Arc<llb::SourceInfo>,
    /// The vertex that delivered it; warnings hang on it.
    pub vertex: Digest,
}

/// A source that the client sends, before it becomes an op.
#[derive(Debug, Clone, Default)]
pub(super) struct LocalSource<'a> {
    pub name: &'a str,
    pub session: &'a str,
    /// Nothing is everything.
    pub follow: &'a [String],
    pub exclude: &'a [String],
    pub hint: &'a str,
    /// The files are few and wanted anew each time.
    pub no_diff: bool,
    pub title: String,
}

impl LocalSource<'_> {
    pub fn op(&self) -> (SourceOp, About) {
        let mut op = SourceOp { identifier: format!("local://{}", self.name), attrs: Default::default() };
        let mut about = About::default();
        let json = |list: &[String]| match list {
            [] => String::new(),
            list => String::from_utf8(oci::json::to_vec(list)).expect("JSON is text"),
        };
        let attrs = [
            ("local.session", self.session.to_owned(), caps::SOURCE_LOCAL_SESSION_ID),
            ("local.followpaths", json(self.follow), caps::SOURCE_LOCAL_FOLLOW_PATHS),
            ("local.excludepatterns", json(self.exclude), caps::SOURCE_LOCAL_EXCLUDE_PATTERNS),
            ("local.sharedkeyhint", self.hint.to_owned(), caps::SOURCE_LOCAL_SHARED_KEY_HINT),
        ];
        about.metadata.need(caps::SOURCE_LOCAL);
        for (key, value, cap) in attrs {
            if !value.is_empty() {
                op.attrs.insert(key.into(), value);
                about.metadata.need(cap);
            }
        }
        if self.no_diff {
            op.attrs.insert("local.differ".into(), "none".into());
        }
        about.metadata.description.insert("llb.customname".into(), self.title.clone());
        (op, about)
    }
}

/// One source as a graph of its own.
pub(super) fn definition(op: SourceOp, about: About) -> llb::Definition {
    let mut draft = Draft::default();
    let port = draft.source(op, None, about);
    draft.finish(Some(port), &oci::Platform::default(), &Arc::default())
}

/// Whether the client wants `.git` too.
pub(super) fn keeps_git_dir(config: &crate::config::Config) -> bool {
    let given = config.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    given.is_some_and(|value| oci::parse_bool(value) == Some(true))
}

impl Client {
    pub(super) async fn find_context(&self) -> Result<BuildContext> {
        let remote = self.config().context.remote.as_str();
        if git::is_git(remote) || remote.starts_with("github.com/") {
            let mut wanted = git::GitRef::parse(remote)?;
            if keeps_git_dir(self.config()) {
                wanted.keep_git_dir = Some(true);
            }
            return Ok(BuildContext::Git { wanted: Box::new(wanted), address: remote.to_owned() });
        }
        if git::is_http(remote) {
            let (op, about) = http_context(remote);
            let reference =
                self.solve(definition(op, about)).await.context("failed to resolve httpcontext")?;
            let range = FileRange { offset: 0, length: 1024 };
            let head = self.bridge().read_file(&reference, CONTEXT, Some(range)).await;
            let head = head.context("failed to read downloaded context")?;
            return Ok(BuildContext::Http { address: remote.to_owned(), is_archive: is_archive(&head) });
        }
        Ok(match self.input(CONTEXT)? {
            Some(output) => BuildContext::Input(output),
            None => BuildContext::Local,
        })
    }

    /// The only source of the build context; nothing for a folder of the client.
    pub(crate) fn context_source(&self) -> Result<Option<SourceOp>> {
        Ok(match &self.context {
            BuildContext::Local => None,
            BuildContext::Http { address, .. } => Some(http_context(address).0),
            BuildContext::Git { wanted, .. } => Some(wanted.op().0),
            BuildContext::Input(output) => only_source(output)?,
        })
    }

    pub(crate) fn has_local_context(&self) -> bool {
        matches!(self.context, BuildContext::Local)
    }

    /// The build context in a draft. A local one stays open until it is known which paths are needed.
    pub(crate) async fn context_tree(&self, draft: &mut Draft) -> Result<Option<Port>> {
        Ok(Some(match &self.context {
            BuildContext::Local => draft.open(),
            BuildContext::Http { address, is_archive } => {
                let (op, about) = http_context(address);
                let file = draft.source(op, None, about);
                let tree = if *is_archive { unpacked(draft, file) } else { file };
                self.scoped(draft, tree)
            }
            BuildContext::Git { wanted, address } => {
                let (op, mut about) = wanted.op();
                called(&mut about.metadata, format!("[internal] load git source {address}"));
                let tree = draft.source(op, None, about);
                self.scoped(draft, tree)
            }
            BuildContext::Input(output) => {
                let tree = draft.finished(output.clone());
                self.scoped(draft, tree)
            }
        }))
    }

    /// The folder of a remote context that was asked for.
    fn scoped(&self, draft: &mut Draft, tree: Port) -> Port {
        let Some(dir) = &self.config().context.subdir else { return tree };
        let copy = Copy {
            src: crate::path::join("/", dir),
            dest: "/".into(),
            dir_copy_contents: true,
            ..Copy::default()
        };
        let action = Action::new(ActionKind::Copy(Some(tree), copy));
        draft.file(None, vec![action], About::default())
    }

    /// The local build context, cut down to what is needed.
    pub(crate) async fn main_context(&self, follow: &[String]) -> Result<(SourceOp, About)> {
        let source = LocalSource {
            name: CONTEXT,
            session: &self.session_of(CONTEXT),
            follow,
            exclude: self.dockerignore().await?,
            hint: CONTEXT,
            no_diff: false,
            title: "[internal] load build context".into(),
        };
        Ok(source.op())
    }

    /// What of the build context is ignored.
    pub(crate) async fn dockerignore(&self) -> Result<&[String]> {
        if !self.has_local_context() {
            return Ok(&[]);
        }
        let patterns = self.ignored.get_or_try_init(|| self.read_dockerignore()).await?;
        Ok(patterns)
    }

    async fn read_dockerignore(&self) -> Result<Vec<String>> {
        let text = match self.own_ignore_file.get() {
            Some(Some(text)) => text.clone(),
            _ => self.read_ignore_file().await?,
        };
        let patterns = ignore::parse(&text);
        fsutil::pattern::Matcher::new(&patterns)
            .map_err(|e| Error::user(format!("failed parsing {IGNORE_FILE}: {e}")))?;
        Ok(patterns)
    }

    async fn read_ignore_file(&self) -> Result<Bytes> {
        let source = LocalSource {
            name: CONTEXT,
            session: &self.session_of(CONTEXT),
            follow: &[IGNORE_FILE.to_owned()],
            hint: &format!("{CONTEXT}-{IGNORE_FILE}"),
            no_diff: true,
            title: format!("[internal] load {IGNORE_FILE}"),
            ..LocalSource::default()
        };
        let (op, about) = source.op();
        let reference = self.solve(definition(op, about)).await?;
        match self.read_if_there(&reference, IGNORE_FILE).await {
            // A client without folders has no such file either; who needs the context is told so.
            Err(e) if e.code() == Code::FailedPrecondition => Ok(Bytes::new()),
            text => Ok(text?.unwrap_or_default()),
        }
    }

    pub(super) async fn read_if_there(&self, reference: &Ref, path: &str) -> Result<Option<Bytes>> {
        match self.bridge().read_file(reference, path, None).await {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads the Dockerfile, and the ignore file beside it.
    pub(crate) async fn read_entrypoint(&self) -> Result<Entrypoint> {
        let config = &self.config().context;
        let filename = match &self.context {
            BuildContext::Http { is_archive: false, .. } if !config.dockerfile_is_local => CONTEXT,
            _ => config.filename.as_str(),
        };
        let definition = self.entrypoint_definition(filename).await?;
        let vertex = head(&definition)?;
        let reference = self.solve(definition.clone()).await.context("failed to resolve dockerfile")?;
        let data = self.read_dockerfile(&reference, filename).await.context("failed to read dockerfile")?;
        let own = self.read_if_there(&reference, &format!("{filename}{IGNORE_FILE}")).await?;
        self.own_ignore_file.set(own).expect("the Dockerfile is read once");
        let language = "Dockerfile".to_owned();
        Ok(Entrypoint {
            info: SourceInfo {
                filename: filename.to_owned(),
                data: data.to_vec(),
                language: language.clone(),
                definition: definition.encode(),
            },
            source: Arc::new(llb::SourceInfo {
                filename: filename.to_owned(),
                data,
                language,
                definition: Some(Box::new(definition)),
            }),
            vertex,
        })
    }

    async fn entrypoint_definition(&self, filename: &str) -> Result<llb::Definition> {
        let config = &self.config().context;
        if !config.dockerfile_is_local {
            let mut draft = Draft::default();
            let tree = match self.input(&config.dockerfile_name)? {
                Some(output) => Some(draft.finished(output)),
                None if self.has_local_context() => None,
                None => match &self.context {
                    // Only a graph given under the name of the Dockerfile's source holds it.
                    BuildContext::Input(_) => None,
                    _ => self.context_tree(&mut draft).await?,
                },
            };
            if let Some(tree) = tree {
                return Ok(draft.finish(Some(tree), &self.build_platform(), &Arc::default()));
            }
        }
        let mut follow = vec![filename.to_owned(), format!("{filename}{IGNORE_FILE}")];
        follow.extend(lower_case_name(filename));
        let source = LocalSource {
            name: &config.dockerfile_name,
            session: &self.session_of(&config.dockerfile_name),
            follow: &follow,
            hint: &config.dockerfile_name,
            no_diff: true,
            title: format!("[internal] load build definition from {filename}"),
            ..LocalSource::default()
        };
        let (op, about) = source.op();
        Ok(self::definition(op, about))
    }

    /// `dockerfile` does when there is no `Dockerfile`.
    async fn read_dockerfile(&self, reference: &Ref, filename: &str) -> Result<Bytes> {
        let missing = match self.bridge().read_file(reference, filename, None).await {
            Ok(data) => return Ok(data),
            Err(e) => e,
        };
        if let Some(lower) = lower_case_name(filename)
            && let Some(data) = self.read_if_there(reference, &lower).await?
        {
            return Ok(data);
        }
        Err(missing)
    }
}

/// The other name under which a Dockerfile is looked for.
fn lower_case_name(filename: &str) -> Option<String> {
    let dir = filename.strip_suffix("Dockerfile")?;
    (dir.is_empty() || dir.ends_with('/')).then(|| crate::path::join(dir, "dockerfile"))
}

/// The source of a graph that has no other.
pub(super) fn only_source(output: &Output) -> Result<Option<SourceOp>> {
    let graph = llb::Graph::load(&output.marshal())?;
    let mut sources = graph.ops.into_values().filter_map(|loaded| match loaded.op.kind {
        llb::OpKind::Source(op) => Some(op),
        _ => None,
    });
    Ok(sources.next().filter(|_| sources.next().is_none()))
}

fn head(definition: &llb::Definition) -> Result<Digest> {
    match definition.ops.len() {
        0 | 1 => Err(Error::user("the source of the Dockerfile is empty")),
        count => Ok(Digest::of(&definition.ops[count - 2])),
    }
}

fn http_context(address: &str) -> (SourceOp, About) {
    http_source(address, "[internal] load remote build context".into())
}

/// A file of the web, under the name `context`.
pub(super) fn http_source(address: &str, title: String) -> (SourceOp, About) {
    let mut op = SourceOp { identifier: address.to_owned(), attrs: Default::default() };
    op.attrs.insert("http.filename".into(), CONTEXT.into());
    let mut about = About::default();
    about.metadata.need(caps::SOURCE_HTTP);
    about.metadata.description.insert("llb.customname".into(), title);
    (op, about)
}

/// A context that lies in the web.
#[derive(Debug, Clone, PartialEq)]
pub struct WebContext {
    pub source: SourceOp,
    pub metadata: OpMetadata,
    /// A repository, whose files are the result; else a file with the name [`WebContext::FILE`].
    pub is_repository: bool,
}

impl WebContext {
    pub const FILE: &str = CONTEXT;

    /// # Errors
    /// The address is that of a repository, and asks for something that makes no sense.
    pub fn at(address: &str) -> Result<Self> {
        if git::is_git(address) || address.starts_with("github.com/") {
            let (source, mut about) = git::GitRef::parse(address)?.op();
            called(&mut about.metadata, format!("[internal] load git source {address}"));
            return Ok(WebContext { source, metadata: about.metadata, is_repository: true });
        }
        let (source, about) = http_context(address);
        Ok(WebContext { source, metadata: about.metadata, is_repository: false })
    }

    /// Whether a file is an archive, by its first bytes: 512 at least, if it has as many.
    pub fn is_archive(head: &[u8]) -> bool {
        is_archive(head)
    }
}

fn unpacked(draft: &mut Draft, file: Port) -> Port {
    let copy = Copy { src: format!("/{CONTEXT}"), dest: "/".into(), attempt_unpack: true, ..Copy::default() };
    draft.file(None, vec![Action::new(ActionKind::Copy(Some(file), copy))], About::default())
}

/// Whether a file begins as an archive does: a tar header, or packed in a way that BuildKit looks for here, which zstd is
/// not.
fn is_archive(head: &[u8]) -> bool {
    match Compression::detect(head) {
        Compression::Gzip | Compression::Bzip2 | Compression::Xz => true,
        Compression::None | Compression::Zstd => is_tar(head),
    }
}
