//! An image as an archive for the client: an OCI image layout, or what `docker load` takes.

use std::collections::BTreeMap;

use archive::{Named, Variant};
use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Code, Error, Result, ResultExt};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use oci::{Descriptor, Reference, media};
use refs::Refs;
use registry::BlobSource;

use crate::attrs::Attrs;
use crate::commit::{Image, commit};
use crate::context::{ExportContext, Exported, Exporter};
use crate::epoch::Epoch;
use crate::exportable::IMAGE_NAME;
use crate::options::ImageOptions;
use crate::time::Time;
use crate::{Exportable, Response};

/// Annotation with the time of an export.
const CREATED: &str = "org.opencontainers.image.created";

/// An image in one archive.
pub struct Layout {
    refs: Refs,
    variant: Variant,
    options: ImageOptions,
    /// As one archive, or else as blobs for a store of the client.
    tar: bool,
    metadata: BTreeMap<String, Bytes>,
}

/// The store of the client that takes blobs.
const STORE: &str = "export";
/// Blobs on their way at once.
const PARALLEL: usize = 4;

impl Layout {
    pub fn resolve(refs: &Refs, variant: Variant, given: &BTreeMap<String, String>) -> Result<Self> {
        let mut attrs = Attrs::new(if variant == Variant::Oci { "oci" } else { "docker" }, given);
        let options = ImageOptions::take(&mut attrs, false)?;
        let tar = attrs.flag("tar")?.unwrap_or(true);
        Ok(Layout { refs: refs.clone(), variant, options, tar, metadata: attrs.finish()? })
    }

    /// The time that stands in the index: now, unless there is one that nothing may be later than.
    fn created(&self, result: &Exportable) -> Result<String> {
        let platforms = result.platforms()?;
        let epoch = match (self.options.epoch, platforms.first()) {
            (Epoch::At(seconds), _) => Some(seconds),
            (epoch, Some(platform)) => epoch.of(result, platform)?,
            (_, None) => None,
        };
        let seconds = epoch.unwrap_or_else(|| Timestamp::now().as_second());
        Ok(Time::from_seconds(seconds)?.as_str().to_owned())
    }

    async fn send(
        &self,
        image: &Image,
        names: Vec<Reference>,
        response: &Response,
        cx: &ExportContext,
    ) -> Result<()> {
        let session = cx.session().await?;
        let mut out = session.send_file(cx.index, response).await?.into_blocking();
        let (content, root, variant) = (self.refs.content().clone(), image.descriptor.clone(), self.variant);
        let sent = cx.blocking(move |cancel| {
            archive::write(&content, &[Named { root, names }], variant, &mut out, cancel)?;
            out.finish()
        });
        match sent.await {
            // The client has the image, and told us so by its digest.
            Err(e) if e.code() == Code::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Gives the client the blobs that its store lacks, what names others after those. The client itself writes an index.
    async fn store(&self, image: &Image, cx: &ExportContext) -> Result<()> {
        let session = cx.session().await?;
        if !session.takes_blobs() {
            let e = Error::user(format!("the client has no store `{STORE}` for the blobs of an image"));
            return Err(e.hint("without `tar=false` the image goes to a file"));
        }
        let store = session.content(STORE)?;
        let (content, root) = (self.refs.content().clone(), image.descriptor.clone());
        let blobs = cx.blocking(move |_| archive::reachable(&content, &[root])).await?;
        let names_others =
            |d: &Descriptor| media::is_manifest(&d.media_type) || media::is_index(&d.media_type);
        let (manifests, blobs): (Vec<_>, Vec<_>) = blobs.into_iter().partition(names_others);
        let write = |blob: Descriptor| {
            let (store, content) = (store.clone(), self.refs.content().clone());
            async move {
                let bytes = BlobSource::open(&content, &blob, 0).await?;
                store.write(&blob.digest, blob.size, bytes).await
            }
        };
        stream::iter(blobs.into_iter().map(write)).buffer_unordered(PARALLEL).try_collect::<()>().await?;
        for manifest in manifests.into_iter().rev() {
            write(manifest).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Exporter for Layout {
    fn name(&self) -> &'static str {
        match self.variant {
            Variant::Oci => "exporting to oci image format",
            Variant::Docker => "exporting to docker image format",
        }
    }

    async fn export(&self, result: &Exportable, cx: &ExportContext) -> Result<Exported> {
        if self.variant == Variant::Docker && result.is_map() {
            return Err(Error::user("docker exporter does not currently support exporting manifest lists"));
        }
        let result = &result.with_metadata(&self.metadata);
        let names = names(&self.options.name_for(result))?;
        let mut image = commit(&self.refs, result, &self.options, cx).await?;
        image.descriptor.annotations.entry(CREATED.into()).or_insert(self.created(result)?);
        let mut response = image.response();
        if !names.is_empty() {
            let joined = names.iter().map(Reference::to_string).collect::<Vec<_>>().join(",");
            response.insert(IMAGE_NAME.into(), joined);
        }
        image.fetch().await?;
        match self.tar {
            true => cx.step.part("sending tarball", self.send(&image, names, &response, cx)).await?,
            false => cx.step.part("sending blobs", self.store(&image, cx)).await?,
        }
        let Image { descriptor, attestations, .. } = image;
        Ok(Exported { response, descriptor: Some(descriptor), attestations, finalize: None })
    }
}

/// Complete names, from a list with commas.
fn names(list: &str) -> Result<Vec<Reference>> {
    let given = list.split(',').filter(|_| !list.is_empty());
    given.map(|name| parse(name).map(Reference::with_default_tag)).collect()
}

pub fn parse(name: &str) -> Result<Reference> {
    let parsed = name.parse::<Reference>().map_err(|e| Error::user(e.to_string()));
    parsed.with_context(|| format!("failed to parse {name}"))
}
