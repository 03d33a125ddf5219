//! Images of an archive that Docker wrote before it wrote layouts, or that another program wrote like it. It has no
//! manifests, so that they are made here.

use std::io::Read as _;

use errdefs::{Error, Result, ResultExt as _};
use fsutil::{Compression, Decoder};
use oci::media::LayerCompression;
use oci::{Descriptor, Digest, ImageConfig, Manifest, Platform, Reference, media};
use serde::Deserialize;

use crate::layout::parse;
use crate::members::Members;
use crate::read::{Image, Reading, whole_name};

/// One entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    /// Paths in the archive.
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The images that `manifest.json` names.
pub(crate) fn images(
    reading: &mut Reading,
    members: &Members,
    manifest: &[u8],
    platform: Option<&Platform>,
) -> Result<Vec<Image>> {
    let entries: Vec<Entry> = parse(manifest)?;
    let mut images = Vec::new();
    for entry in &entries {
        let bytes = oci::json::to_vec(&entry.manifest(reading, members, platform)?);
        reading.take(&bytes[..], None)?;
        images.push(Image { target: Descriptor::of(media::OCI_MANIFEST, &bytes), names: entry.names()? });
    }
    Ok(images)
}

impl Entry {
    fn names(&self) -> Result<Vec<Reference>> {
        self.repo_tags.iter().flatten().map(|text| whole_name(text)).collect()
    }

    fn manifest(
        &self,
        reading: &mut Reading,
        members: &Members,
        platform: Option<&Platform>,
    ) -> Result<Manifest> {
        let bytes = members.small(&self.config, reading.content)?.ok_or_else(|| missing(&self.config))?;
        let config: ImageConfig = parse(&bytes)?;
        // The path names the digest; anything else is a name of the writer's own.
        let stem = self.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        let named = format!("sha256:{stem}").parse::<Digest>().ok();
        if named.is_some_and(|named| named != Digest::of(&bytes)) {
            return Err(damaged(&self.config, "its digest is another one"));
        }
        if platform.is_some_and(|wanted| !wanted.matches(&config.platform())) {
            let (wanted, there) = (platform.map(Platform::to_string).unwrap_or_default(), config.platform());
            return Err(Error::not_found(format!("the archive has an image for {there}, none for {wanted}")));
        }
        let (paths, diff_ids) = (self.layers.as_deref().unwrap_or_default(), &config.rootfs.diff_ids);
        if paths.len() != diff_ids.len() {
            let message = format!("it has {} layers, its config {}", paths.len(), diff_ids.len());
            return Err(damaged(&self.config, &message));
        }
        let mut layers = Vec::new();
        for (path, id) in paths.iter().zip(diff_ids) {
            layers.push(layer(reading, members, path, &id.0)?);
        }
        Ok(Manifest::new(media::OCI_MANIFEST, Descriptor::of(media::OCI_CONFIG, &bytes), layers))
    }
}

/// The layer at a path. What images may be packed by is kept as it came, and checked when it is unpacked.
fn layer(reading: &mut Reading, members: &Members, path: &str, diff_id: &Digest) -> Result<Descriptor> {
    let (digest, size) = members.find(path).ok_or_else(|| missing(path))?;
    let mut head = Vec::new();
    reading.content.open_blob(digest)?.take(16).read_to_end(&mut head)?;
    let packed = Compression::detect(&head);
    let compression = match packed {
        Compression::Gzip => LayerCompression::Gzip,
        Compression::Zstd => LayerCompression::Zstd,
        Compression::None | Compression::Bzip2 | Compression::Xz => LayerCompression::Uncompressed,
    };
    let (digest, size) = match packed {
        Compression::Bzip2 | Compression::Xz => unpack(reading, path, digest)?,
        _ => (digest.clone(), size),
    };
    if compression == LayerCompression::Uncompressed && digest != *diff_id {
        return Err(damaged(path, &format!("its digest is {digest}, not {diff_id}")));
    }
    Ok(Descriptor::new(media::layer(compression, true), digest, size))
}

/// Takes a layer as it is unpacked: images know neither bzip2 nor xz (OCI image-spec, layer.md).
fn unpack(reading: &mut Reading, path: &str, digest: &Digest) -> Result<(Digest, u64)> {
    let blob = reading.content.open_blob(digest)?;
    let taken = Decoder::detect(blob).map_err(Error::from).and_then(|layer| reading.take(layer, None));
    taken.with_context(|| format!("failed to unpack `{path}` of the archive"))
}

fn missing(path: &str) -> Error {
    Error::user(format!("the archive is not whole: `{path}` is missing")).hint("save it again")
}

fn damaged(path: &str, why: &str) -> Error {
    Error::user(format!("the archive is damaged: `{path}`: {why}")).hint("save it again")
}
