//! An image in Kiln's own store, and in a registry.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use futures_util::future::try_join;
use oci::{Descriptor, Digest, Platform};
use refs::Refs;
use registry::Registry;

use crate::Exportable;
use crate::attrs::Attrs;
use crate::commit::{Image, commit};
use crate::context::{ExportContext, Exported, Exporter, Finalize};
use crate::exportable::IMAGE_NAME;
use crate::layout::parse;
use crate::options::ImageOptions;
use crate::push::Push;

/// An image by its names.
pub struct NamedImage {
    refs: Refs,
    registry: Registry,
    options: ImageOptions,
    push: bool,
    push_by_digest: bool,
    insecure: bool,
    unpack: bool,
    /// `None` is not said: what is pushed is not fetched for the store alone then.
    store: Option<bool>,
    /// Also `<name>@<digest>`.
    name_canonical: bool,
    /// Also `<prefix>@<digest>`.
    dangling_prefix: String,
    /// That only where there is no other name.
    dangling_empty_only: bool,
    metadata: BTreeMap<String, Bytes>,
}

/// What an image is called.
struct Names {
    /// As they were given.
    given: Vec<String>,
    name_canonical: bool,
}

impl Names {
    /// Gives an image in the store these names.
    async fn give(&self, refs: &Refs, image: &Descriptor, cx: &ExportContext) -> Result<()> {
        for name in &self.given {
            let mut full = vec![parse(name)?.with_default_tag()];
            if self.name_canonical && !name.contains('@') {
                full.push(parse(name)?.with_digest(image.digest.clone()));
            }
            let (refs, target) = (refs.clone(), image.clone());
            let named = cx.blocking(move |_| {
                full.iter().try_for_each(|name| refs.images().tag(&name.to_string(), &target).map(drop))
            });
            cx.step.part(&format!("naming to {name}"), named).await?;
        }
        Ok(())
    }
}

impl NamedImage {
    pub fn resolve(refs: &Refs, registry: &Registry, given: &BTreeMap<String, String>) -> Result<Self> {
        let mut attrs = Attrs::new("image", given);
        let options = ImageOptions::take(&mut attrs, true)?;
        // It stands for tests of BuildKit's own.
        attrs.refuse("unsafe-internal-store-allow-incomplete")?;
        let unpack = attrs.flag("unpack")?.unwrap_or(false);
        if unpack && options.rewrite_timestamp {
            return Err(Error::user("exporter option \"rewrite-timestamp\" conflicts with \"unpack\""));
        }
        Ok(NamedImage {
            refs: refs.clone(),
            registry: registry.clone(),
            options,
            push: attrs.flag("push")?.unwrap_or(false),
            push_by_digest: attrs.flag("push-by-digest")?.unwrap_or(false),
            insecure: attrs.flag("registry.insecure")?.unwrap_or(false),
            unpack,
            store: attrs.flag("store")?,
            name_canonical: attrs.flag("name-canonical")?.unwrap_or(false),
            dangling_prefix: attrs.take("dangling-name-prefix").unwrap_or_default(),
            // The misspelling is the name.
            dangling_empty_only: attrs.flag("danging-name-empty-only")?.unwrap_or(false),
            metadata: attrs.finish()?,
        })
    }

    fn names(&self, result: &Exportable, digest: &Digest) -> Names {
        let name = self.options.name_for(result);
        let mut names = Names {
            given: name.split(',').filter(|_| !name.is_empty()).map(str::to_owned).collect(),
            name_canonical: self.name_canonical,
        };
        let prefix = &self.dangling_prefix;
        if !prefix.is_empty() && (!self.dangling_empty_only || names.given.is_empty()) {
            names.name_canonical &= !names.given.is_empty();
            names.given.push(format!("{prefix}@{digest}"));
        }
        names
    }

    /// Pushes what was made, later. Meanwhile it gets its names in the store, if it belongs there.
    fn finalize(&self, image: Image, names: Names, in_store: bool) -> Finalize {
        let (registry, refs) = (self.registry.clone(), self.refs.clone());
        let (insecure, by_digest) = (self.insecure, self.push_by_digest);
        Finalize::new(move |cx| async move {
            let descriptor = image.descriptor.clone();
            let name = async {
                match in_store {
                    true => names.give(&refs, &descriptor, &cx).await,
                    false => Ok(()),
                }
            };
            let push = async {
                let push = Push::new(&refs, &registry, insecure, image, &cx).await?;
                for name in &names.given {
                    push.image(name, by_digest).await?;
                }
                Ok(())
            };
            try_join(name, push).await.map(drop)
        })
    }
}

/// Unpacks the layers that suit this machine.
async fn unpack(result: &Exportable) -> Result<()> {
    let host = Platform::host();
    let suiting = result.platforms()?.into_iter().filter_map(|p| Some((host.rank(&p.platform)?, p.id)));
    let Some((_, id)) = suiting.min_by_key(|(rank, _)| *rank) else { return Ok(()) };
    if let Some(reference) = result.find(&id)? {
        reference.chain().await?;
    }
    Ok(())
}

#[async_trait]
impl Exporter for NamedImage {
    fn name(&self) -> &'static str {
        "exporting to image"
    }

    async fn export(&self, result: &Exportable, cx: &ExportContext) -> Result<Exported> {
        let result = &result.with_metadata(&self.metadata);
        if self.push && self.push_by_digest {
            let name = self.options.name_for(result);
            for name in name.split(',').filter(|_| !name.is_empty()) {
                let parsed = parse(name)?;
                if parsed.tag().is_some() || parsed.digest().is_some() {
                    return Err(Error::user(format!("can't push tagged ref {parsed} by digest")));
                }
            }
        }
        let mut image = commit(&self.refs, result, &self.options, cx).await?;
        let names = self.names(result, &image.descriptor.digest);
        let mut response = image.response();
        let is_named = !names.given.is_empty();
        let in_store = is_named && self.store.unwrap_or(!self.push || image.is_whole(&self.refs));
        if in_store {
            // An image that is in the store is there as a whole.
            image.fetch().await?;
            if !self.push {
                names.give(&self.refs, &image.descriptor, cx).await?;
            }
            if self.unpack {
                for name in &names.given {
                    cx.step.part(&format!("unpacking to {name}"), unpack(result)).await?;
                }
            }
        }
        if is_named {
            response.insert(IMAGE_NAME.into(), names.given.join(","));
        }
        let descriptor = Some(image.descriptor.clone());
        let attestations = std::mem::take(&mut image.attestations);
        let finalize = (self.push && is_named).then(|| self.finalize(image, names, in_store));
        Ok(Exported { response, descriptor, attestations, finalize })
    }
}
