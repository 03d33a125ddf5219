//! An image in Kiln's own store, and in a registry.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use oci::{Digest, Platform};
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

    /// Gives the image its names in the store.
    async fn name(
        &self,
        image: &Image,
        names: &Names,
        result: &Exportable,
        cx: &ExportContext,
    ) -> Result<()> {
        for name in &names.given {
            let mut full = vec![parse(name)?.with_default_tag()];
            if names.name_canonical && !name.contains('@') {
                full.push(parse(name)?.with_digest(image.descriptor.digest.clone()));
            }
            let (refs, target) = (self.refs.clone(), image.descriptor.clone());
            let named = cx.blocking(move |_| {
                full.iter().try_for_each(|name| refs.images().tag(&name.to_string(), &target).map(drop))
            });
            cx.step.part(&format!("naming to {name}"), named).await?;
            if self.unpack {
                cx.step.part(&format!("unpacking to {name}"), unpack(result)).await?;
            }
        }
        Ok(())
    }

    /// Pushes what was made, later.
    fn finalize(&self, image: Image, names: Vec<String>) -> Finalize {
        let (registry, refs) = (self.registry.clone(), self.refs.clone());
        let (insecure, by_digest) = (self.insecure, self.push_by_digest);
        Finalize::new(move |cx| async move {
            let push = Push::new(&refs, &registry, insecure, image, &cx).await?;
            for name in &names {
                push.image(name, by_digest).await?;
            }
            Ok(())
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
        if !names.given.is_empty() {
            if self.store.unwrap_or(!self.push || image.is_whole(&self.refs)) {
                // An image that is in the store is there as a whole.
                image.fetch().await?;
                self.name(&image, &names, result, cx).await?;
            }
            response.insert(IMAGE_NAME.into(), names.given.join(","));
        }
        let descriptor = Some(image.descriptor.clone());
        let attestations = std::mem::take(&mut image.attestations);
        let finalize = (self.push && !names.given.is_empty()).then(|| self.finalize(image, names.given));
        Ok(Exported { response, descriptor, attestations, finalize })
    }
}
