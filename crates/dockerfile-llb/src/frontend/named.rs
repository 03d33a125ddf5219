//! Named contexts: what the client gives in place of an image or a stage.

use errdefs::{Error, Result, ResultExt};
use frontend::{ResolveOptions, SolveRequest};
use llb::{Output, SourceOp, caps};
use oci::{Digest, ImageConfig, Platform, Reference};

use super::Client;
use super::context::{LocalSource, definition, http_source, keeps_git_dir, only_source};
use crate::convert::{called, image_source};
use crate::draft::{About, Draft, Port};
use crate::environment::split_line;
use crate::state::State;
use crate::{git, image};

/// How often a context may be replaced, until it is taken for a circle.
const MOST_CHANGES: usize = 10;
const IGNORE_FILE: &str = ".dockerignore";

/// A context that the client gave under some name, not loaded yet.
#[derive(Debug, Clone)]
pub(crate) struct NamedContext {
    /// As people write it: without `docker.io/library/` and `:latest`.
    name: String,
    /// The name, and the platform where the context was given for one.
    key: String,
    /// `docker-image://...`, `local:...` and so on.
    value: String,
    platform: Option<Platform>,
}

/// A loaded context.
#[derive(Debug)]
pub(crate) struct Loaded {
    tree: Tree,
    image: Option<ImageConfig>,
}

impl Loaded {
    /// Its only source; nothing for a folder of the client.
    pub fn source(&self) -> Result<Option<SourceOp>> {
        match &self.tree {
            Tree::Scratch | Tree::Local(_) => Ok(None),
            Tree::Source(source) => Ok(Some(source.0.clone())),
            Tree::Input(output) => only_source(output),
        }
    }
}

#[derive(Debug)]
enum Tree {
    Scratch,
    Source(Box<(SourceOp, Option<Platform>, About)>),
    Local(LocalContext),
    Input(Output),
}

/// A folder of the client in place of an image or a stage.
#[derive(Debug, Clone)]
pub(crate) struct LocalContext {
    key: String,
    name: String,
    session: String,
    hint: String,
    exclude: Vec<String>,
}

impl LocalContext {
    /// The source, cut down to the paths that are needed.
    pub fn source(&self, follow: &[String]) -> (SourceOp, About) {
        let source = LocalSource {
            name: &self.name,
            session: &self.session,
            follow,
            exclude: &self.exclude,
            hint: &self.hint,
            no_diff: false,
            title: format!("[context {}] load from client", self.key),
        };
        source.op()
    }
}

impl Client {
    /// The context given for a stage or an image. One for a platform goes before one for all.
    pub(crate) fn named_context(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Option<NamedContext>> {
        let contexts = &self.config().contexts;
        if contexts.is_empty() || ["scratch", "context"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Ok(None);
        }
        let reference: Reference =
            name.parse().map_err(|e| Error::user(format!("invalid context name {name}: {e}")))?;
        let familiar = reference.familiar();
        let name = familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned();
        let of_platform = platform.cloned().unwrap_or_else(|| self.build_platform()).normalize().format_all();
        let keys = [format!("{name}::{of_platform}"), name.clone()];
        Ok(keys.into_iter().find_map(|key| {
            let value = contexts.get(&key)?.clone();
            Some(NamedContext { name: name.clone(), key, value, platform: platform.cloned() })
        }))
    }

    pub(crate) async fn load(&self, context: &NamedContext) -> Result<Loaded> {
        let mut context = context.clone();
        for _ in 0..=MOST_CHANGES {
            let loaded = self.load_once(&context).await;
            // A policy may put a source of any kind in the place of an image.
            match loaded.as_ref().err().and_then(Error::no_image).and_then(|other| other.split_once("://")) {
                Some((scheme, rest)) => context.value = format!("{scheme}:{rest}"),
                None => return loaded,
            }
        }
        Err(Error::user(format!("context recursion limit exceeded: {}", context.value))
            .hint("look for rules of the source policy that replace each other's results"))
    }

    async fn load_once(&self, context: &NamedContext) -> Result<Loaded> {
        let NamedContext { key, value, .. } = context;
        let (scheme, rest) = value
            .split_once(':')
            .ok_or_else(|| Error::user(format!("invalid context specifier {value} for {key}")))?;
        match scheme {
            "docker-image" => self.load_image(context, rest.trim_start_matches("//")).await,
            "oci-layout" => self.load_oci_layout(context, rest.trim_start_matches("//")).await,
            "local" => self.load_local(context, rest).await,
            "input" => self.load_input(context, rest),
            "http" | "https" if git::is_http(value) => {
                let (op, about) = http_source(value, format!("[context {key}] {value}"));
                Ok(Loaded { tree: Tree::Source(Box::new((op, None, about))), image: None })
            }
            _ if git::is_git(value) => {
                let mut wanted = git::GitRef::parse(value)?;
                if keeps_git_dir(self.config()) {
                    wanted.keep_git_dir = Some(true);
                }
                let (op, mut about) = wanted.op();
                called(&mut about.metadata, format!("[context {key}] load git source {value}"));
                Ok(Loaded { tree: Tree::Source(Box::new((op, None, about))), image: None })
            }
            _ => Err(Error::user(format!("unsupported context source {scheme} for {key}"))),
        }
    }

    async fn load_image(&self, context: &NamedContext, name: &str) -> Result<Loaded> {
        if name == image::SCRATCH {
            return Ok(Loaded { tree: Tree::Scratch, image: None });
        }
        let key = &context.key;
        let reference: Reference = name.parse().map_err(|e| Error::user(format!("{name}: {e}")))?;
        let options = ResolveOptions {
            platform: context.platform.clone(),
            resolve_mode: self.config().resolve_mode.clone(),
            log_name: format!("[context {key}] load metadata for {name}"),
            ..ResolveOptions::default()
        };
        let resolved = self.resolve(&reference.with_default_tag().to_string(), options).await?;
        let (op, metadata) = image_source(&resolved.reference, "default");
        let mut about = About { metadata, ..About::default() };
        called(&mut about.metadata, format!("[context {key}] {name}"));
        let mut config = image::read(&resolved.config)?;
        config.created = None;
        Ok(Loaded {
            tree: Tree::Source(Box::new((op, context.platform.clone(), about))),
            image: Some(config),
        })
    }

    /// `<store>@<digest>`: the store is one that the client serves.
    async fn load_oci_layout(&self, context: &NamedContext, text: &str) -> Result<Loaded> {
        let key = &context.key;
        let (store, digest) = text
            .split_once('@')
            .ok_or_else(|| Error::user(format!("oci-layout reference \"{text}\" has no digest")))?;
        let digest: Digest = digest
            .parse()
            .map_err(|e| Error::user(format!("could not parse oci-layout reference \"{text}\": {e}")))?;
        let store = match store.rsplit_once(':') {
            Some((store, tag)) if !tag.contains('/') => store,
            _ => store,
        };
        let shown: Reference = context.name.parse().map_err(|e| {
            Error::user(format!("could not parse oci-layout reference \"{}\": {e}", context.name))
        })?;
        let shown = shown.with_digest(digest).to_string();
        let session = self.bridge().session_id().to_owned();
        let options = ResolveOptions {
            platform: context.platform.clone(),
            log_name: format!("[context {key}] load metadata for {shown}"),
            session_id: session.clone(),
            store_id: store.to_owned(),
            ..ResolveOptions::default()
        };
        let resolved = self.resolve(&format!("oci-layout://{shown}"), options).await?;
        let config = image::read(&resolved.config).context("could not parse oci-layout image config")?;
        let mut op = SourceOp { identifier: format!("oci-layout://{shown}"), attrs: Default::default() };
        op.attrs.insert("oci.session".into(), session);
        op.attrs.insert("oci.store".into(), store.to_owned());
        let mut about = About::default();
        about.metadata.need(caps::SOURCE_OCI_LAYOUT);
        called(&mut about.metadata, format!("[context {key}] OCI load from client"));
        Ok(Loaded {
            tree: Tree::Source(Box::new((op, context.platform.clone(), about))),
            image: Some(config),
        })
    }

    async fn load_local(&self, context: &NamedContext, name: &str) -> Result<Loaded> {
        let key = &context.key;
        let session = self.session_of(name);
        let source = LocalSource {
            name,
            session: &session,
            follow: &[IGNORE_FILE.to_owned()],
            hint: &format!("context:{key}-{IGNORE_FILE}"),
            no_diff: true,
            title: format!("[context {key}] load {IGNORE_FILE}"),
            ..LocalSource::default()
        };
        let (op, about) = source.op();
        let request = SolveRequest {
            definition: Some(definition(op, about)),
            evaluate: true,
            ..SolveRequest::default()
        };
        let frontend::Refs::Single(reference) = self.bridge().solve(request).await?.refs else {
            return Err(Error::internal("a local source gave no result"));
        };
        let ignored = self.read_if_there(&reference, IGNORE_FILE).await?.unwrap_or_default();
        let shared_key = self.config().shared_keys.get(key).map_or("", String::as_str);
        let local = LocalContext {
            key: key.clone(),
            name: name.to_owned(),
            session,
            hint: format!("context:{key}-{shared_key}"),
            exclude: dockerfile::ignore::parse(&ignored),
        };
        Ok(Loaded { tree: Tree::Local(local), image: None })
    }

    fn load_input(&self, context: &NamedContext, name: &str) -> Result<Loaded> {
        let key = &context.key;
        let output =
            self.input(name)?.ok_or_else(|| Error::user(format!("invalid input {name} for {key}")))?;
        let image = match self.config().input_metadata.get(name) {
            Some(metadata) => config_of_input(metadata, key)?,
            None => None,
        };
        Ok(Loaded { tree: Tree::Input(output), image })
    }

    /// Puts a loaded context into a draft. A local one stays open, noted in `locals` for the stage `at`.
    pub(crate) fn place(
        &self,
        loaded: Loaded,
        draft: &mut Draft,
        locals: &mut Vec<(usize, Port, LocalContext)>,
        at: usize,
    ) -> (State, Option<ImageConfig>) {
        let Loaded { tree, image } = loaded;
        let mut platform = None;
        let port = match tree {
            Tree::Scratch => None,
            Tree::Source(source) => {
                let (op, own, about) = *source;
                platform.clone_from(&own);
                Some(draft.source(op, own, about))
            }
            Tree::Local(local) => {
                let port = draft.open();
                locals.push((at, port, local));
                Some(port)
            }
            Tree::Input(output) => Some(draft.finished(output)),
        };
        let mut state = State::new(port);
        if let Some(platform) = platform {
            state = state.on(&platform);
        }
        if let Some(image) = &image {
            state = with_config(state, image);
        }
        (state, image)
    }
}

/// Settings that an image brings along.
fn with_config(mut state: State, image: &ImageConfig) -> State {
    for line in &image.config.env {
        let (name, value) = split_line(line);
        if !name.is_empty() {
            state.env.set(name, value);
        }
    }
    if !image.config.working_dir.is_empty() {
        state.dir = crate::path::normalize(&state.dir, &image.config.working_dir, false);
    }
    match image.architecture.is_empty() || image.os.is_empty() {
        true => state,
        false => state.on(&image.platform()),
    }
}

/// The image config among the metadata of an input: a JSON map whose values are base64.
fn config_of_input(metadata: &str, key: &str) -> Result<Option<ImageConfig>> {
    use base64::Engine as _;
    let invalid = |e: String| Error::user(format!("failed to parse input metadata for {key}: {e}"));
    let map: std::collections::BTreeMap<String, String> =
        serde_json::from_str(metadata).map_err(|e| invalid(e.to_string()))?;
    let Some(text) = map.get("containerimage.config") else { return Ok(None) };
    let json = base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| invalid(e.to_string()))?;
    image::read(&json).map(Some)
}
