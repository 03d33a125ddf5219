//! Images (`docker-image://`, `oci-layout://`).

use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result};
use frontend::{ResolveOptions, ResolvedImage};
use jiff::Timestamp;
use oci::{ChainId, Descriptor, Digest, Platform, Reference};
use refs::{BlobProvider, BlobStream, ImmutableRef, LayerBlob, NewRef, RecordType};
use serde::Serialize;
use tokio::sync::OnceCell;

use crate::context::Context;
use crate::manifest::{Resolved, resolve};
use crate::origin::{Layout, Origin, SharedOrigin};
use crate::remote::Remote;
use crate::sources::{Parts, Sources};
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
    Layout { session: String, store: String },
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
    pub record_type: String,
}

pub struct ImageSource {
    parts: Arc<Parts>,
    options: ImageOptions,
    found: OnceCell<(SharedOrigin, Resolved)>,
}

impl ImageSource {
    pub fn new(parts: Arc<Parts>, options: ImageOptions) -> Self {
        ImageSource { parts, options, found: OnceCell::new() }
    }

    async fn found(&self, cx: &Context) -> Result<&(SharedOrigin, Resolved)> {
        self.found
            .get_or_try_init(|| async {
                let reference = self.options.reference.to_string();
                let origin = origin(&self.parts, cx, &self.options).await?;
                let work = async {
                    let root = root(&self.parts, &*origin, &self.options).await?;
                    self.check(&root)?;
                    let resolved =
                        resolve(&self.parts.content, &origin, root, &self.options.platform, &reference)
                            .await?;
                    if let Some(limit) = self.options.layer_limit
                        && limit > resolved.manifest.layers.len()
                    {
                        let layers = resolved.manifest.layers.len();
                        return Err(Error::user(format!(
                            "layer limit {limit} is greater than the number of layers in the image {layers}"
                        )));
                    }
                    Ok(resolved)
                };
                let resolved = cx.step.part(&format!("resolve {reference}"), work).await?;
                Ok((origin, resolved))
            })
            .await
    }

    fn check(&self, root: &Descriptor) -> Result<()> {
        match &self.options.checksum {
            Some(expected) if root.digest != *expected => Err(Error::user(format!(
                "image digest {} for {} does not match expected checksum {expected}",
                root.digest, self.options.reference
            ))),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Source for ImageSource {
    /// The manifest first, then what the layers are, so that two names of the same layers are the same.
    async fn key(&self, cx: &Context, index: usize) -> Result<Key> {
        let (_, resolved) = self.found(cx).await?;
        if index > 0 {
            let diff_ids = resolved.parse_config()?.rootfs.diff_ids;
            let kept = self.options.layer_limit.unwrap_or(diff_ids.len()).min(diff_ids.len());
            if let Some(chain) = ChainId::of(&diff_ids[..kept]) {
                return Ok(Key { text: chain.to_string(), transient: false, done: true });
            }
        }
        let text = manifest_key(&resolved.root.digest, &self.options).to_string();
        Ok(Key { text, transient: false, done: index > 0 })
    }

    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        let (origin, resolved) = self.found(cx).await?;
        let config = resolved.parse_config()?;
        let (layers, diff_ids) = (&resolved.manifest.layers, &config.rootfs.diff_ids);
        if layers.len() != diff_ids.len() {
            return Err(Error::user(format!(
                "{}: the manifest has {} layers, the config {}",
                self.options.reference,
                layers.len(),
                diff_ids.len()
            )));
        }
        let provider: Arc<dyn BlobProvider> =
            Arc::new(Watched { origin: Arc::clone(origin), step: cx.step.clone() });
        let kept = self.options.layer_limit.unwrap_or(layers.len());
        let mut top: Option<ImmutableRef> = None;
        for (descriptor, diff_id) in layers.iter().zip(diff_ids).take(kept) {
            let new = NewRef {
                description: format!("pulled from {}", self.options.reference),
                record_type: RecordType::from_name(&self.options.record_type),
                created_at: None,
            };
            let blob = LayerBlob { descriptor: descriptor.clone(), diff_id: diff_id.0.clone() };
            top = Some(self.parts.refs.lazy_layer(top.as_ref(), blob, Arc::clone(&provider), new));
        }
        Ok(top)
    }
}

fn manifest_key(digest: &Digest, options: &ImageOptions) -> Digest {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Ingredients<'a> {
        digest: &'a Digest,
        #[serde(rename = "OS")]
        os: &'a str,
        arch: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        variant: &'a str,
        #[serde(rename = "OSVersion", skip_serializing_if = "str::is_empty")]
        os_version: &'a str,
        #[serde(rename = "OSFeatures", skip_serializing_if = "<[String]>::is_empty")]
        os_features: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
    }
    let p = &options.platform;
    Digest::of(oci::json::to_vec(&Ingredients {
        digest,
        os: &p.os,
        arch: &p.architecture,
        variant: &p.variant,
        os_version: &p.os_version,
        os_features: &p.os_features,
        limit: options.layer_limit,
    }))
}

async fn origin(parts: &Arc<Parts>, cx: &Context, options: &ImageOptions) -> Result<SharedOrigin> {
    let reference = options.reference.clone().with_default_tag();
    Ok(match &options.place {
        Place::Registry => Arc::new(Remote::new(parts, cx, reference)),
        Place::Layout { session, store } => {
            let session = cx.session_or_any(session).await?;
            Arc::new(Layout { session, store: store.clone(), reference })
        }
    })
}

/// What the name stands for, from the places that the mode allows.
async fn root(parts: &Parts, origin: &dyn Origin, options: &ImageOptions) -> Result<Descriptor> {
    if options.place != Place::Registry {
        return origin.resolve().await;
    }
    let stored = || stored(parts, &options.reference);
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
fn stored(parts: &Parts, reference: &Reference) -> Result<Option<Descriptor>> {
    let name = reference.clone().with_default_tag().without_digest().to_string();
    let image = parts.refs.images().get(&name)?;
    let wanted = reference.digest();
    Ok(image.map(|i| i.target).filter(|d| wanted.is_none_or(|w| *w == d.digest)))
}

/// Tells how far each blob has come.
struct Watched {
    origin: SharedOrigin,
    step: progress::Step,
}

#[async_trait]
impl BlobProvider for Watched {
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        use futures_util::StreamExt;
        let stream = self.origin.open(blob).await?;
        let (step, id, total) = (self.step.clone(), blob.digest.to_string(), blob.size as i64);
        let started = Timestamp::now();
        let (mut current, mut told) = (0, started);
        step.status(&id, 0, total, started, false);
        Ok(Box::pin(stream.inspect(move |chunk| {
            current += chunk.as_ref().map_or(0, bytes::Bytes::len) as i64;
            let now = Timestamp::now();
            if current >= total || now.duration_since(told).as_millis() > 100 {
                told = now;
                step.status(&id, current, total, started, current >= total);
            }
        })))
    }
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
            record_type: String::new(),
        };
        let origin = origin(&self.parts, cx, &image).await?;
        let root = root(&self.parts, &*origin, &image).await?;
        let digest = root.digest.clone();
        let resolved = resolve(&self.parts.content, &origin, root, &image.platform, name).await?;
        Ok(ResolvedImage { reference: reference.to_owned(), digest, config: resolved.config.into() })
    }
}
