//! Images (`docker-image://`, `oci-layout://`).

mod chain;
mod key;

use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result, ResultExt};
use frontend::{ResolveOptions, ResolvedImage};
use oci::{Descriptor, Digest, Platform, Reference};
use refs::{BlobProvider, ImmutableRef, LayerBlob, NewRef, RecordType, Watched};
use tokio::sync::OnceCell;

use crate::context::Context;
use crate::manifest::{Resolved, resolve};
use crate::origin::{Layout, Origin, SharedOrigin, fetched, source_label};
use crate::remote::Remote;
use crate::sources::{Shared, Sources};
use crate::{Key, Source};

/// Which place is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResolveMode {
    /// The registry; Kiln's own image store where the registry cannot be reached.
    #[default]
    Default,
    /// The registry and nothing else.
    Pull,
    /// The image store, then the registry.
    Local,
}

impl FromStr for ResolveMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" | "default" => Ok(ResolveMode::Default),
            "pull" => Ok(ResolveMode::Pull),
            "local" => Ok(ResolveMode::Local),
            other => Err(Error::user(format!("invalid resolvemode: {other}"))),
        }
    }
}

/// Where an image lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Registry,
    /// A session's id, empty for any of the build's, and the id of a store in it.
    Layout {
        session: String,
        store: String,
    },
}

/// What is asked of an image source.
#[derive(Debug, Clone)]
pub struct ImageOptions {
    pub reference: Reference,
    pub platform: Platform,
    pub place: Place,
    pub resolve_mode: ResolveMode,
    /// Only so many layers, from the lowest.
    pub layer_limit: Option<usize>,
    pub checksum: Option<Digest>,
    pub record_type: RecordType,
}

pub struct ImageSource {
    shared: Arc<Shared>,
    options: ImageOptions,
    found: OnceCell<(SharedOrigin, Resolved)>,
    layers: OnceCell<Option<ImmutableRef>>,
}

impl ImageSource {
    pub fn new(shared: Arc<Shared>, options: ImageOptions) -> Self {
        ImageSource { shared, options, found: OnceCell::new(), layers: OnceCell::new() }
    }

    async fn found(&self, cx: &Context) -> Result<&(SharedOrigin, Resolved)> {
        let options = &self.options;
        self.found
            .get_or_try_init(|| async {
                let origin = origin(&self.shared, cx, options).await?;
                let work = async {
                    let root = root(&self.shared, &*origin, options).await?;
                    options.check(&root)?;
                    let resolved = resolve(&self.shared.content, &origin, root, &options.platform).await?;
                    options.check_limit(resolved.manifest.layers.len())?;
                    Ok(resolved)
                };
                let resolved = cx.step.part(&format!("resolve {}", options.reference), work).await;
                Ok((origin, resolved?))
            })
            .await
    }

    /// The lazy layers of the image. Those that an earlier build left learn where to fetch from now: the client that they
    /// came from then may be gone.
    async fn layers(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        self.layers.get_or_try_init(|| self.make_layers(cx)).await.cloned()
    }

    async fn make_layers(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        let (origin, resolved) = self.found(cx).await?;
        let config = resolved.parse_config()?;
        let (layers, diff_ids) = (&resolved.manifest.layers, &config.rootfs.diff_ids);
        if layers.len() != diff_ids.len() {
            return Err(Error::user(format!(
                "mismatched image rootfs and manifest layers: {} has {} layers, its config {}",
                self.options.reference,
                layers.len(),
                diff_ids.len()
            )));
        }
        let provider: Arc<dyn BlobProvider> =
            Arc::new(Watched { provider: Arc::clone(origin) as _, step: cx.step.clone() });
        let kept = self.options.layer_limit.unwrap_or(layers.len());
        let mut top: Option<ImmutableRef> = None;
        for (descriptor, diff_id) in layers.iter().zip(diff_ids).take(kept) {
            let new =
                NewRef::new(format!("pulled from {}", self.options.reference), self.options.record_type);
            let mut descriptor = descriptor.clone();
            // Who pushes the layer elsewhere on this host can have it mounted from here.
            if let Some(repository) = origin.repository() {
                descriptor.annotations.insert(source_label(repository), repository.path().to_owned());
            }
            let blob = LayerBlob { descriptor, diff_id: diff_id.0.clone() };
            top = Some(self.shared.refs.lazy_layer(top.as_ref(), blob, Arc::clone(&provider), new));
        }
        Ok(top)
    }
}

impl ImageOptions {
    fn check(&self, root: &Descriptor) -> Result<()> {
        match &self.checksum {
            Some(expected) if root.digest != *expected => {
                let (digest, reference) = (&root.digest, &self.reference);
                let message = format!(
                    "image digest {digest} for {reference} does not match expected checksum {expected}"
                );
                Err(Error::user(message))
            }
            _ => Ok(()),
        }
    }

    fn check_limit(&self, layers: usize) -> Result<()> {
        match self.layer_limit {
            Some(limit) if limit > layers => {
                let message =
                    format!("layer limit {limit} is greater than the number of layers in the image {layers}");
                Err(Error::user(message))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Source for ImageSource {
    /// The manifest first, then what the layers are, so that two names of the same layers are the same.
    async fn key(&self, cx: &Context, index: usize) -> Result<Key> {
        let (_, resolved) = self.found(cx).await?;
        if index == 0 {
            self.layers(cx).await?;
        }
        let by_layers = match index {
            0 => None,
            _ => key::of_config(&resolved.config, self.options.layer_limit)?,
        };
        let text = by_layers.unwrap_or_else(|| {
            key::of_manifest(&resolved.root.digest, &self.options.platform, self.options.layer_limit)
        });
        Ok(Key { text: text.to_string(), transient: false, done: index > 0 })
    }

    fn pin(&self) -> Option<String> {
        self.found.get().map(|(_, resolved)| resolved.root.digest.to_string())
    }

    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        self.layers(cx).await
    }
}

async fn origin(shared: &Shared, cx: &Context, options: &ImageOptions) -> Result<SharedOrigin> {
    let reference = options.reference.clone().with_default_tag();
    Ok(match &options.place {
        Place::Registry => {
            let registry = shared.logins.registry(&cx.sessions, &cx.session_ids).shown_in(&cx.step);
            Arc::new(Remote { registry, reference })
        }
        Place::Layout { session, store } => {
            let session = cx.session_or_any(session).await?;
            Arc::new(Layout { session, store: store.clone(), reference })
        }
    })
}

/// What the name stands for, from the places that the mode allows.
async fn root(shared: &Shared, origin: &dyn Origin, options: &ImageOptions) -> Result<Descriptor> {
    if options.place != Place::Registry {
        return origin.resolve().await;
    }
    // What a digest stands for does not change.
    if let Some(found) = fetched(&shared.content, &options.reference)? {
        return Ok(found);
    }
    let stored = || stored(shared, &options.reference);
    match options.resolve_mode {
        ResolveMode::Pull => origin.resolve().await,
        ResolveMode::Local => match stored()? {
            Some(found) => Ok(found),
            None => origin.resolve().await,
        },
        ResolveMode::Default => match origin.resolve().await {
            Ok(found) => Ok(found),
            Err(e) => stored()?.ok_or(e),
        },
    }
}

/// The image of this name in Kiln's own store.
fn stored(shared: &Shared, reference: &Reference) -> Result<Option<Descriptor>> {
    let name = reference.clone().with_default_tag().without_digest().to_string();
    let image = shared.refs.images().get(&name)?;
    let wanted = reference.digest();
    Ok(image.map(|i| i.target).filter(|d| wanted.is_none_or(|w| *w == d.digest)))
}

impl Sources {
    /// The digest and config of an image, for a frontend.
    pub async fn resolve_image_config(
        &self,
        reference: &str,
        options: &ResolveOptions,
        cx: &Context,
    ) -> Result<ResolvedImage> {
        let (scheme, name) = reference.split_once("://").unwrap_or(("docker-image", reference));
        let place = match scheme {
            "docker-image" => Place::Registry,
            "oci-layout" => {
                Place::Layout { session: options.session_id.clone(), store: options.store_id.clone() }
            }
            _ => return Err(Error::user(format!("`{scheme}` is no place for images"))),
        };
        let parsed: Reference = name
            .parse()
            .map_err(|e| Error::user(format!("failed to parse image reference `{name}`: {e}")))?;
        let image = ImageOptions {
            reference: parsed,
            platform: options.platform.clone().unwrap_or_else(Platform::host),
            place,
            resolve_mode: options.resolve_mode.parse()?,
            layer_limit: None,
            checksum: None,
            record_type: RecordType::Regular,
        };
        let work = async {
            let origin = origin(&self.0, cx, &image).await?;
            let root = root(&self.0, &*origin, &image).await?;
            let (content, platform) = (&self.0.content, &image.platform);
            let chain = match &options.attestations {
                Some(types) => chain::chain(content, &*origin, &root, platform, types).await?,
                None => None,
            };
            let (digest, config) = match options.no_config {
                true => (root.digest, Vec::new()),
                false => {
                    let resolved = resolve(content, &origin, root, platform).await?;
                    (resolved.root.digest, resolved.config)
                }
            };
            Ok(ResolvedImage { reference: reference.to_owned(), digest, config: config.into(), chain })
        };
        let resolved = tokio::select! {
            resolved = work => resolved,
            () = cx.cancel.cancelled() => Err(Error::canceled()),
        };
        resolved.with_context(|| format!("failed to resolve source metadata for {name}"))
    }
}
