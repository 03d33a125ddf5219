//! An image as an archive for the client: an OCI image layout, or what `docker load` takes.

use std::collections::{BTreeMap, BTreeSet};

use archive::{Named, Variant};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use errdefs::{Code, Error, Result, ResultExt};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use oci::{Descriptor, Digest, Reference, media};
use refs::Refs;
use registry::BlobSource;
use session::{FileSender, RemoteContent};

use crate::attrs::Attrs;
use crate::commit::{Image, Layers, Referrer, commit};
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
    /// The client is asked which of the lowest layers it has, and gets an archive without them.
    skip_known: bool,
    metadata: BTreeMap<String, Bytes>,
}

/// What Kiln's own client asks for where the archive goes to an engine that may have some layers.
const SKIP_KNOWN: &str = "skip-known-layers";
/// What Kiln's own client says where it lists what hangs on an image in the index that it writes.
const LISTS_REFERRERS: &str = "lists-referrers";
/// Field of the answer with what it is to list: descriptors as JSON, in base64.
const REFERRERS: &str = "containerimage.referrers";
/// Annotation by which the index of a layout says what an entry hangs on, for buildx and containerd (containerd,
/// core/images/annotations.go).
const SUBJECT: &str = "io.containerd.manifest.subject";
/// The store of the client that takes blobs.
const STORE: &str = "export";
/// Blobs on their way at once.
const PARALLEL: usize = 4;

impl Layout {
    pub fn resolve(refs: &Refs, variant: Variant, given: &BTreeMap<String, String>) -> Result<Self> {
        let mut attrs = Attrs::new(if variant == Variant::Oci { "oci" } else { "docker" }, given);
        let options = ImageOptions::take(&mut attrs, false)?;
        let tar = attrs.flag("tar")?.unwrap_or(true);
        let lists_referrers = attrs.flag(LISTS_REFERRERS)?.unwrap_or(false);
        if !tar && options.storage.as_referrers() && !lists_referrers {
            // The client writes the index of the folder, and only Kiln's lists more than the image.
            return Err(Error::user(
                "this client lists no referrers: \"attestation-storage\" conflicts with \"tar=false\"",
            ));
        }
        let skip_known = attrs.flag(SKIP_KNOWN)?.unwrap_or(false);
        Ok(Layout { refs: refs.clone(), variant, options, tar, skip_known, metadata: attrs.finish()? })
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
        let sent = match self.open(image, response, cx).await {
            Ok((out, known)) => self.write(image, names, out, known, cx).await,
            Err(e) => Err(e),
        };
        match sent {
            // The client has the image, and told us so by its digest.
            Err(e) if e.code() == Code::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Opens the output of the client. Tells how many of the lowest layers it has.
    async fn open(
        &self,
        image: &Image,
        response: &Response,
        cx: &ExportContext,
    ) -> Result<(FileSender, usize)> {
        let session = cx.session().await?;
        match &image.layers[..] {
            [one] if self.skip_known => {
                let layers = Vec::from_iter(one.blobs.iter().map(|blob| blob.diff_id.to_string()));
                session.send_image(cx.index, response, &layers).await
            }
            _ => Ok((session.send_file(cx.index, response).await?, 0)),
        }
    }

    /// Sends the archive, without the blobs of the lowest layers that are known.
    async fn write(
        &self,
        image: &Image,
        names: Vec<Reference>,
        out: FileSender,
        known: usize,
        cx: &ExportContext,
    ) -> Result<()> {
        let known = known_blobs(&image.layers, known);
        image.fetch_but(&known).await?;
        let (content, root, variant) = (self.refs.content().clone(), image.descriptor.clone(), self.variant);
        let referrers = listed(image);
        let mut out = out.into_blocking();
        let sent = cx.blocking(move |cancel| {
            let images = [Named { root, referrers, names }];
            archive::write(&content, &images, variant, &known, &mut out, cancel)?;
            out.finish()
        });
        sent.await
    }

    /// Gives the client the blobs that its store lacks, what names others after those. The client itself writes an index.
    async fn store(&self, image: &Image, cx: &ExportContext) -> Result<()> {
        let session = cx.session().await?;
        if !session.takes_blobs() {
            let e = Error::user(format!("the client has no store `{STORE}` for the blobs of an image"));
            return Err(e.hint("without `tar=false` the image goes to a file"));
        }
        let store = session.content(STORE)?;
        let there = self.there(&store, image).await?;
        image.fetch_but(&there).await?;
        let content = self.refs.content().clone();
        let roots = Vec::from_iter([image.descriptor.clone()].into_iter().chain(listed(image)));
        let blobs = cx.blocking(move |_| archive::reachable(&content, &roots)).await?;
        let names_others =
            |d: &Descriptor| media::is_manifest(&d.media_type) || media::is_index(&d.media_type);
        let (manifests, blobs): (Vec<_>, Vec<_>) = blobs.into_iter().partition(names_others);
        let write = |blob: Descriptor| {
            let (store, content) = (store.clone(), self.refs.content().clone());
            let is_there = there.contains(&blob.digest);
            async move {
                // One that is there is told of all the same, so that its store does not collect it meanwhile.
                let bytes = match is_there {
                    true => stream::empty().boxed(),
                    false => BlobSource::open(&content, &blob, 0).await?.boxed(),
                };
                store.write(&blob.digest, blob.size, bytes).await
            }
        };
        stream::iter(blobs.into_iter().map(write)).buffer_unordered(PARALLEL).try_collect::<()>().await?;
        for manifest in manifests.into_iter().rev() {
            write(manifest).await?;
        }
        Ok(())
    }

    /// Layers that the store of the client has.
    async fn there(&self, store: &RemoteContent, image: &Image) -> Result<BTreeSet<Digest>> {
        let mut asked = Vec::new();
        for blob in image.layers.iter().flat_map(|layers| &layers.blobs) {
            let (store, digest, size) = (store.clone(), blob.descriptor.digest.clone(), blob.descriptor.size);
            asked.push(async move {
                Ok::<_, Error>((store.size(&digest).await? == Some(size)).then_some(digest))
            });
        }
        let answers: Vec<_> = stream::iter(asked).buffer_unordered(PARALLEL).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
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
        if !self.tar && !image.referrers.is_empty() {
            response.insert(REFERRERS.into(), STANDARD.encode(oci::json::to_vec(&listed(&image))));
        }
        if self.tar && !self.skip_known {
            image.fetch().await?;
        }
        match self.tar {
            true => cx.step.part("sending tarball", self.send(&image, names, &response, cx)).await?,
            false => cx.step.part("sending blobs", self.store(&image, cx)).await?,
        }
        let Image { descriptor, attestations, .. } = image;
        Ok(Exported { response, descriptor: Some(descriptor), attestations, finalize: None })
    }
}

/// What hangs on an image, as the index of a layout lists it.
fn listed(image: &Image) -> Vec<Descriptor> {
    let entry = |referrer: &Referrer| {
        let mut entry = referrer.manifest.clone();
        entry.annotations.insert(SUBJECT.into(), referrer.subject.to_string());
        entry
    };
    image.referrers.iter().map(entry).collect()
}

/// The blobs of the lowest layers, but for those that are layers further up, too.
fn known_blobs(layers: &[Layers], lowest: usize) -> BTreeSet<Digest> {
    let blobs = |from: usize, to: usize| {
        let of_one = move |l: &Layers| {
            Vec::from_iter(l.blobs.iter().take(to).skip(from).map(|b| b.descriptor.digest.clone()))
        };
        layers.iter().flat_map(of_one)
    };
    let mut known = BTreeSet::from_iter(blobs(0, lowest));
    blobs(lowest, usize::MAX).for_each(|above| _ = known.remove(&above));
    known
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
