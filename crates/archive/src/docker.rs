//! Images of an archive that Docker wrote before it wrote layouts, or that another program wrote like it. It has no
//! manifests, so that they are made here.

use std::io::{Read as _, Write as _};

use content::Lease;
use errdefs::{Error, Result};
use oci::media::LayerCompression;
use oci::{Descriptor, Digest, ImageConfig, Manifest, Platform, Reference, media};
use serde::Deserialize;
use snapshot::Compression;

use crate::layout::parse;
use crate::members::Members;
use crate::read::{Image, whole_name};

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
    content: &content::Store,
    lease: &Lease,
    members: &Members,
    manifest: &[u8],
    platform: Option<&Platform>,
    came: &mut Vec<Digest>,
) -> Result<Vec<Image>> {
    let entries: Vec<Entry> = parse(manifest)?;
    let mut images = Vec::new();
    for entry in &entries {
        let manifest = entry.manifest(content, members, platform)?;
        let bytes = oci::json::to_vec(&manifest);
        let mut blob = lease.ingest(None)?;
        blob.write_all(&bytes)?;
        came.push(blob.commit()?);
        let target = Descriptor::of(media::OCI_MANIFEST, &bytes);
        images.push(Image { target, names: entry.names()? });
    }
    Ok(images)
}

impl Entry {
    fn names(&self) -> Result<Vec<Reference>> {
        self.repo_tags.iter().flatten().map(|text| whole_name(text)).collect()
    }

    fn manifest(
        &self,
        content: &content::Store,
        members: &Members,
        platform: Option<&Platform>,
    ) -> Result<Manifest> {
        let bytes = members.small(&self.config, content)?.ok_or_else(|| missing(&self.config))?;
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
        let layers = paths.iter().zip(diff_ids).map(|(path, id)| layer(content, members, path, &id.0));
        let layers = layers.collect::<Result<_>>()?;
        Ok(Manifest::new(media::OCI_MANIFEST, Descriptor::of(media::OCI_CONFIG, &bytes), layers))
    }
}

/// The layer at a path. What is packed is checked when it is unpacked.
fn layer(content: &content::Store, members: &Members, path: &str, diff_id: &Digest) -> Result<Descriptor> {
    let (digest, size) = members.find(path).ok_or_else(|| missing(path))?;
    let mut head = Vec::new();
    content.open_blob(digest)?.take(16).read_to_end(&mut head)?;
    let compression = match Compression::detect(&head) {
        Compression::None if digest != diff_id => {
            return Err(damaged(path, &format!("its digest is {digest}, not {diff_id}")));
        }
        Compression::None => LayerCompression::Uncompressed,
        Compression::Gzip => LayerCompression::Gzip,
        Compression::Zstd => LayerCompression::Zstd,
        Compression::Bzip2 | Compression::Xz => {
            return Err(Error::unimplemented(format!("layer `{path}` is packed by neither gzip nor zstd")));
        }
    };
    Ok(Descriptor::new(media::layer(compression, true), digest.clone(), size))
}

fn missing(path: &str) -> Error {
    Error::user(format!("the archive is not whole: `{path}` is missing")).hint("save it again")
}

fn damaged(path: &str, why: &str) -> Error {
    Error::user(format!("the archive is damaged: `{path}`: {why}")).hint("save it again")
}
