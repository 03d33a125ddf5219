//! Makes an image of a result: layers as blobs, config, manifest, and an index for several platforms or attestations.

mod attest;

use std::collections::{BTreeMap, BTreeSet};

use errdefs::{Error, Result};
use futures_util::future::try_join_all;
use oci::json::to_vec_indent;
use oci::{Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, media};
use refs::{ImmutableRef, LayerBlob, Refs};

use crate::annotations::Group;
use crate::config::{self, Patch};
use crate::context::ExportContext;
use crate::exportable::{BASE_CONFIG, IMAGE_CONFIG, ResultPlatform};
use crate::history::{self, LayerInfo};
use crate::options::ImageOptions;
use crate::time::Time;
use crate::{Exportable, Response};

/// The annotation of a layer whose files were made no later than this time, in seconds since 1970.
const REWRITTEN: &str = "buildkit/rewritten-timestamp";

/// An image in the content store.
pub struct Image {
    /// Of the manifest, or of the index.
    pub descriptor: Descriptor,
    /// Where there is one manifest.
    pub config: Option<Digest>,
    /// The layers of each platform, with what can fetch them.
    pub layers: Vec<Layers>,
    /// What hangs on manifests of the image without being a part of it.
    pub referrers: Vec<Referrer>,
    /// Statements by platform id.
    pub attestations: BTreeMap<String, Vec<Descriptor>>,
    /// Keeps all blobs of the image.
    pub lease: content::Lease,
}

/// A manifest that hangs on another.
pub struct Referrer {
    pub subject: Digest,
    /// With its artifact type.
    pub manifest: Descriptor,
}

/// The layers of one platform.
pub struct Layers {
    /// `None` is scratch.
    pub reference: Option<ImmutableRef>,
    pub blobs: Vec<LayerBlob>,
}

impl Image {
    /// An image that the store has, whole, with what keeps it there.
    pub fn stored(descriptor: &Descriptor, lease: content::Lease) -> Self {
        let (layers, attestations) = (Vec::new(), BTreeMap::new());
        Image {
            descriptor: descriptor.clone(),
            config: None,
            layers,
            referrers: Vec::new(),
            attestations,
            lease,
        }
    }

    /// Brings the layers into the content store that are still to be fetched.
    pub async fn fetch(&self) -> Result<()> {
        self.fetch_but(&BTreeSet::new()).await
    }

    /// The same but for those that nobody needs.
    pub async fn fetch_but(&self, unneeded: &BTreeSet<Digest>) -> Result<()> {
        let fetched = self.layers.iter().filter_map(|layers| {
            let reference = layers.reference.as_ref()?;
            Some(reference.fetch_blobs(&layers.blobs, unneeded, &self.lease))
        });
        try_join_all(fetched).await.map(drop)
    }

    /// Whether no layer is still to be fetched.
    pub fn is_whole(&self, refs: &Refs) -> bool {
        let mut blobs = self.layers.iter().flat_map(|layers| &layers.blobs);
        blobs.all(|blob| refs.content().contains(&blob.descriptor.digest))
    }

    /// What the client is told of an image.
    pub fn response(&self) -> Response {
        use base64::Engine as _;
        let json = oci::json::to_vec(&self.descriptor);
        let descriptor = base64::engine::general_purpose::STANDARD.encode(json);
        let mut response = Response::from([
            ("containerimage.digest".to_owned(), self.descriptor.digest.to_string()),
            ("containerimage.descriptor".to_owned(), descriptor),
        ]);
        if let Some(config) = &self.config {
            response.insert("containerimage.config.digest".to_owned(), config.to_string());
        }
        response
    }
}

/// Makes the image. Its blobs are in the content store then, but for layers that can be fetched.
pub async fn commit(
    refs: &Refs,
    result: &Exportable,
    options: &ImageOptions,
    cx: &ExportContext,
) -> Result<Image> {
    let platforms = result.platforms()?;
    if !result.is_map() && platforms.len() > 1 {
        return Err(Error::user("cannot export multiple platforms without multi-platform enabled"));
    }
    let is_said = attest::is_said(result, &platforms, options);
    let is_index = result.is_map() || (is_said && options.storage.in_index());
    let annotations = annotations(result, &platforms, options, is_index)?;
    if is_index && !options.oci_types && !result.attestations.is_empty() {
        return Err(Error::user("cannot export attestations with \"oci-mediatypes=false\""));
    }
    let lease = refs.content().lease();
    let writer = Writer { result, options, annotations, is_index, cx, lease: lease.clone() };
    let references = platforms.iter().map(|p| Ok(result.find(&p.id)?.cloned())).collect::<Result<_>>()?;
    let mut layers = cx.step.part("exporting layers", writer.layers(references)).await?;
    let mut manifests = Vec::new();
    for (platform, layers) in platforms.iter().zip(&mut layers) {
        manifests.push(writer.manifest(platform, layers).await?);
    }
    let mut all: Vec<_> = manifests.iter().map(|(manifest, _)| manifest.clone()).collect();
    let (said, attestations) = match is_index || is_said {
        true => writer.attest(&platforms, &all, &layers).await?,
        false => Default::default(),
    };
    let referrers = if options.storage.as_referrers() { attest::referrers(&said) } else { Vec::new() };
    let (descriptor, config) = match manifests.pop() {
        Some((descriptor, config)) if !is_index => (descriptor, Some(config)),
        _ => {
            all.extend(said.into_iter().filter(|_| options.storage.in_index()).map(|said| said.entry));
            (writer.index(all).await?, None)
        }
    };
    Ok(Image { descriptor, config, layers, referrers, attestations, lease })
}

/// Annotations of the attributes and of the frontend, checked against the result.
fn annotations(
    result: &Exportable,
    platforms: &[ResultPlatform],
    options: &ImageOptions,
    is_index: bool,
) -> Result<Group> {
    let mut given = Group::default();
    for (key, value) in &result.metadata {
        given.add(key, &String::from_utf8_lossy(value))?;
    }
    let mut annotations = options.annotations.clone();
    annotations.merge(given);
    for named in annotations.platforms().filter(|_| result.is_map()) {
        if !platforms.iter().any(|p| p.id == named) {
            return Err(Error::user(format!("invalid annotation: no platform {named} found in source")));
        }
    }
    let of_all = annotations.of(None);
    if !is_index && (!of_all.index.is_empty() || !of_all.index_descriptor.is_empty()) {
        return Err(Error::user("index annotations not supported for single platform export"));
    }
    if !options.oci_types && annotations.need_oci() {
        return Err(Error::user("cannot export annotations with \"oci-mediatypes=false\""));
    }
    Ok(annotations)
}

struct Writer<'a> {
    result: &'a Exportable,
    options: &'a ImageOptions,
    annotations: Group,
    is_index: bool,
    cx: &'a ExportContext,
    lease: content::Lease,
}

impl Writer<'_> {
    async fn layers(&self, references: Vec<Option<ImmutableRef>>) -> Result<Vec<Layers>> {
        try_join_all(references.into_iter().map(|reference| async move {
            let blobs = match &reference {
                Some(reference) => reference.blobs(self.options.compression, &self.lease).await?,
                None => Vec::new(),
            };
            Ok(Layers { reference, blobs })
        }))
        .await
    }

    /// Writes config and manifest of a platform; gives the manifest and the digest of the config.
    async fn manifest(&self, platform: &ResultPlatform, layers: &mut Layers) -> Result<(Descriptor, Digest)> {
        // Those of one platform have no place where the image is not by platform.
        let annotations = self.annotations.of(self.is_index.then_some(&platform.platform));
        // The build cache knows the layers as they were.
        let inline_cache = self.inline_cache(platform, layers).await?;
        self.rewrite_timestamps(platform, layers).await?;
        let config = self.config(platform, layers, inline_cache)?;
        let oci = self.options.oci_types;
        let (manifest_type, config_type) = match oci {
            true => (media::OCI_MANIFEST, media::OCI_CONFIG),
            false => (media::DOCKER_MANIFEST, media::DOCKER_CONFIG),
        };
        let foreign = self.options.prefer_foreign;
        let blobs =
            layers.blobs.iter().map(|blob| layer_descriptor(&blob.descriptor, oci, foreign)).collect();
        let config_descriptor = Descriptor::of(config_type, &config);
        let mut manifest = Manifest::new(manifest_type, config_descriptor.clone(), blobs);
        manifest.annotations = annotations.manifest;
        let bytes = manifest_json(&manifest);
        let mut descriptor = Descriptor::of(manifest_type, &bytes);
        descriptor.platform = Some(platform.platform.clone());
        descriptor.annotations = annotations.manifest_descriptor;
        self.write("exporting manifest", bytes).await?;
        self.write("exporting config", config).await?;
        Ok((descriptor, config_descriptor.digest))
    }

    /// Makes no file of the layers later than the epoch, where that is asked for. Those of the base image stay.
    async fn rewrite_timestamps(&self, platform: &ResultPlatform, layers: &mut Layers) -> Result<()> {
        let Some(reference) = layers.reference.as_ref().filter(|_| self.options.rewrite_timestamp) else {
            return Ok(());
        };
        let Some(epoch) = self.options.epoch.of(self.result, platform)? else {
            tracing::warn!("rewrite-timestamp is specified, but no source-date-epoch was found");
            return Ok(());
        };
        let keep = layers.common_with(self.base_config(platform))?;
        let rewritten =
            reference.clamped_blobs(&layers.blobs, keep, epoch, self.options.compression, &self.lease);
        let time = Time::from_seconds(epoch)?;
        let shown = format!("rewriting layers with source-date-epoch {epoch} ({})", time.as_str());
        layers.blobs = self.cx.step.part(&shown, rewritten).await?;
        for blob in layers.blobs.iter_mut().skip(keep) {
            blob.descriptor.annotations.insert(REWRITTEN.into(), epoch.to_string());
        }
        Ok(())
    }

    /// The config of the image that a platform's is built on.
    fn base_config(&self, platform: &ResultPlatform) -> Option<&[u8]> {
        self.result.key(BASE_CONFIG, platform).map(|base| &base[..]).filter(|base| !base.is_empty())
    }

    /// What the config says of the build cache.
    async fn inline_cache(&self, platform: &ResultPlatform, layers: &Layers) -> Result<Option<Vec<u8>>> {
        let Some(cache) = &self.cx.inline_cache else { return Ok(None) };
        let records = cache.records(&platform.id, &layers.blobs, self.options.compression);
        self.cx.step.part("preparing layers for inline cache", records).await
    }

    fn config(
        &self,
        platform: &ResultPlatform,
        layers: &Layers,
        inline_cache: Option<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let given = self.result.key(IMAGE_CONFIG, platform).filter(|config| !config.is_empty());
        let config = given.map_or_else(config::default_config, |config| config.to_vec());
        let mut history = history::parse(&config)?;
        history::fit(&mut history, &layers.infos());
        let epoch = self.options.epoch.of(self.result, platform)?.map(Time::from_seconds).transpose()?;
        let base = self.base_config(platform);
        let diff_ids = layers.blobs.iter().map(|blob| DiffId(blob.diff_id.clone())).collect();
        config::patch(&config, Patch { diff_ids, history, epoch, base, inline_cache })
    }

    async fn index(&self, manifests: Vec<Descriptor>) -> Result<Descriptor> {
        let annotations = self.annotations.of(None);
        let index_type = if self.options.oci_types { media::OCI_INDEX } else { media::DOCKER_LIST };
        let mut index = Index::new(index_type, manifests);
        index.annotations = annotations.index;
        let bytes = to_vec_indent(&index);
        let mut descriptor = Descriptor::of(index_type, &bytes);
        self.write("exporting manifest list", bytes).await?;
        descriptor.annotations = annotations.index_descriptor;
        Ok(descriptor)
    }

    async fn write(&self, what: &str, bytes: Vec<u8>) -> Result<()> {
        let name = format!("{what} {}", Digest::of(&bytes));
        self.cx.step.part(&name, self.store(bytes)).await
    }

    async fn store(&self, bytes: Vec<u8>) -> Result<()> {
        let lease = self.lease.clone();
        let written = self.cx.blocking(move |_| {
            let mut ingest = lease.ingest(Some((Digest::of(&bytes), bytes.len() as u64)))?;
            std::io::Write::write_all(&mut ingest, &bytes)?;
            ingest.commit().map(drop)
        });
        written.await
    }
}

impl Layers {
    fn infos(&self) -> Vec<LayerInfo> {
        let layers = self.reference.iter().flat_map(ImmutableRef::layers);
        layers
            .map(|layer| LayerInfo { description: layer.description(), created: layer.created_at().into() })
            .collect()
    }

    /// How many of the lowest layers are those of the image with this config.
    fn common_with(&self, config: Option<&[u8]>) -> Result<usize> {
        let Some(config) = config else { return Ok(0) };
        let config: Option<ImageConfig> = serde_json::from_slice(config)
            .map_err(|e| Error::user(format!("failed to unmarshal base image config: {e}")))?;
        let base = config.unwrap_or_default().rootfs.diff_ids;
        Ok(self.blobs.iter().zip(base).take_while(|(blob, base)| blob.diff_id == base.0).count())
    }
}

/// A layer as a manifest names it, with a media type of its family. A layer whose place is elsewhere is named as any other
/// unless `foreign` ones are to stay so.
fn layer_descriptor(blob: &Descriptor, oci: bool, foreign: bool) -> Descriptor {
    let mut named = Descriptor::new(blob.media_type.clone(), blob.digest.clone(), blob.size);
    let foreign = foreign && media::is_foreign(&blob.media_type);
    if let Some(compression) = media::layer_compression(&blob.media_type) {
        let media_type = match foreign {
            true => media::foreign_layer(compression, oci),
            false => Some(media::layer(compression, oci)),
        };
        named.media_type = media_type.map_or(named.media_type, str::to_owned);
    }
    if foreign {
        named.urls = blob.urls.clone();
    }
    if oci {
        let internal = |key: &str| {
            matches!(key, "containerd.io/uncompressed" | "buildkit/createdat")
                || key.starts_with("containerd.io/distribution.source.")
        };
        named.annotations = blob.annotations.clone();
        named.annotations.retain(|key, _| !internal(key));
    }
    named
}

/// No layers are `null`, as in Go.
fn manifest_json(manifest: &Manifest) -> Vec<u8> {
    let json = to_vec_indent(manifest);
    if !manifest.layers.is_empty() {
        return json;
    }
    let text = String::from_utf8(json).expect("JSON is text");
    text.replacen("\n  \"layers\": []", "\n  \"layers\": null", 1).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manifest that BuildKit wrote.
    #[test]
    fn a_manifest_without_layers_is_buildkits_own() {
        let config = "sha256:9cbdcd15a305c7b92a8f9ba5c8e19b8a7be5e5fc81e31ff2d060300292f84354";
        let config = Descriptor::new(media::OCI_CONFIG, config.parse().expect("a digest"), 347);
        let json = manifest_json(&Manifest::new(media::OCI_MANIFEST, config, Vec::new()));
        let expected = "sha256:1acc0de94bcee00665a76569cb33ce14e078c7134cc94999de35a353ad8df547";
        assert_eq!(Digest::of(&json).to_string(), expected);
    }

    #[test]
    fn layers_take_the_media_types_of_their_image() {
        for (given, oci, expected) in [
            (media::OCI_LAYER_GZIP, true, media::OCI_LAYER_GZIP),
            (media::OCI_LAYER_GZIP, false, media::DOCKER_LAYER_GZIP),
            (media::DOCKER_LAYER_GZIP, true, media::OCI_LAYER_GZIP),
            (media::DOCKER_LAYER, true, media::OCI_LAYER),
            (media::OCI_LAYER_ZSTD, false, media::DOCKER_LAYER_ZSTD),
        ] {
            for foreign in [false, true] {
                let named = layer_descriptor(&Descriptor::of(given, b"x"), oci, foreign);
                assert_eq!(named.media_type, expected);
            }
        }
    }

    #[test]
    fn foreign_layers_stay_so_where_that_is_preferred() {
        for (given, oci, kept, taken) in [
            (
                media::DOCKER_FOREIGN_LAYER_GZIP,
                false,
                media::DOCKER_FOREIGN_LAYER_GZIP,
                media::DOCKER_LAYER_GZIP,
            ),
            (media::DOCKER_FOREIGN_LAYER, true, media::OCI_FOREIGN_LAYER, media::OCI_LAYER),
            (
                media::OCI_FOREIGN_LAYER_GZIP,
                false,
                media::DOCKER_FOREIGN_LAYER_GZIP,
                media::DOCKER_LAYER_GZIP,
            ),
            (media::OCI_FOREIGN_LAYER_ZSTD, false, media::OCI_FOREIGN_LAYER_ZSTD, media::DOCKER_LAYER_ZSTD),
        ] {
            let mut blob = Descriptor::of(given, b"x");
            blob.urls = vec!["https://host.example/x".into()];
            let of = |foreign| layer_descriptor(&blob, oci, foreign);
            assert_eq!((of(true).media_type.as_str(), of(true).urls), (kept, blob.urls.clone()));
            assert_eq!((of(false).media_type.as_str(), of(false).urls.len()), (taken, 0));
        }
    }

    #[test]
    fn internal_annotations_stay_inside() {
        let mut blob = Descriptor::of(media::OCI_LAYER_GZIP, b"x");
        for key in
            ["containerd.io/uncompressed", "buildkit/createdat", "containerd.io/distribution.source.x", "own"]
        {
            blob.annotations.insert(key.into(), "v".into());
        }
        let table = "containerd.io/snapshot/stargz/toc.digest";
        blob.annotations.insert(table.into(), "v".into());
        let kept = layer_descriptor(&blob, true, false).annotations.into_keys().collect::<Vec<_>>();
        assert_eq!(kept, [table, "own"]);
        assert!(layer_descriptor(&blob, false, false).annotations.is_empty());
    }
}
