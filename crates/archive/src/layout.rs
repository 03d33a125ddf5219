//! Images of an OCI image layout.

use content::Lease;
use errdefs::{Error, Result, ResultExt as _};
use oci::manifest::REF_NAME;
use oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, Reference, media};
use serde::de::DeserializeOwned;

use crate::read::{Image, whole_name};
use crate::{IMAGE_NAME, MANIFEST};

/// The images that the index of a layout names. Where it names none, the only one.
pub(crate) fn images(
    content: &content::Store,
    lease: &Lease,
    index: &[u8],
    platform: Option<&Platform>,
) -> Result<Vec<Image>> {
    let index: Index = parse(index).context("failed to read `index.json`")?;
    let mut images: Vec<Image> = Vec::new();
    for mut entry in index.manifests {
        let name = name(&entry)?;
        [IMAGE_NAME, REF_NAME].iter().for_each(|key| _ = entry.annotations.remove(*key));
        match images.iter_mut().find(|image| image.target.digest == entry.digest) {
            Some(known) => known.names.extend(name),
            None => images.push(Image { target: entry, names: Vec::from_iter(name) }),
        }
    }
    if images.iter().any(|image| !image.names.is_empty()) {
        images.retain(|image| !image.names.is_empty());
    }
    for image in &mut images {
        select(content, &mut image.target, platform)?;
        check(content, lease, &image.target)?;
    }
    Ok(images)
}

/// What an entry is called: by its whole name, or by one that only some programs give whole.
fn name(entry: &Descriptor) -> Result<Option<Reference>> {
    if let Some(text) = entry.annotations.get(IMAGE_NAME) {
        return whole_name(text).map(Some);
    }
    // A word alone is a tag.
    let short = entry.annotations.get(REF_NAME).filter(|text| text.contains(['/', ':']));
    Ok(short.and_then(|text| text.parse::<Reference>().ok()).map(Reference::with_default_tag))
}

/// Takes the manifest of a platform in the place of an index.
///
/// # Errors
/// The image is for other platforms.
fn select(content: &content::Store, target: &mut Descriptor, platform: Option<&Platform>) -> Result<()> {
    if target.media_type.is_empty() {
        target.media_type =
            media::detect(&manifest(content, target)?).map_err(|e| Error::user(e.to_string()))?;
    }
    let Some(platform) = platform else { return Ok(()) };
    let other = |digest: &Digest| {
        Error::not_found(format!("image {digest} of the archive is not there for {platform}"))
    };
    while media::is_index(&target.media_type) {
        let index: Index = parse(&manifest(content, target)?)?;
        let chosen = index.select(platform).cloned();
        *target = chosen.ok_or_else(|| other(&target.digest))?;
    }
    let image: Manifest = parse(&manifest(content, target)?)?;
    let config: ImageConfig = parse(&manifest(content, &image.config)?)?;
    if platform.matches(&config.platform()) { Ok(()) } else { Err(other(&target.digest)) }
}

/// Holds all blobs of an image.
///
/// # Errors
/// One is not there, or is not what it is said to be.
pub(crate) fn check(content: &content::Store, lease: &Lease, root: &Descriptor) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    let mut todo = vec![root.clone()];
    while let Some(next) = todo.pop() {
        // Blobs that are fetched from elsewhere are not part of the image.
        if media::is_foreign(&next.media_type) || !seen.insert(next.digest.clone()) {
            continue;
        }
        if !lease.hold(&next.digest) {
            let of = next.platform.as_ref().map(|p| format!(" for {p}")).unwrap_or_default();
            let message =
                format!("the archive is not whole: {} ({}{of}) is missing", next.digest, next.media_type);
            return Err(Error::user(message)
                .hint("save it again, or choose a platform that is there with `--platform`"));
        }
        let size = content.size(&next.digest)?;
        if size != next.size {
            let message =
                format!("the archive is damaged: {} has {size} bytes, not {}", next.digest, next.size);
            return Err(Error::user(message));
        }
        if media::is_index(&next.media_type) {
            todo.extend(parse::<Index>(&manifest(content, &next)?)?.manifests);
        } else if media::is_manifest(&next.media_type) {
            let manifest: Manifest = parse(&manifest(content, &next)?)?;
            if manifest.config.size > MANIFEST {
                return Err(Error::user(format!(
                    "config {} of the archive is too large",
                    manifest.config.digest
                )));
            }
            todo.extend(manifest.layers);
            todo.push(manifest.config);
        }
    }
    if !media::is_index(&root.media_type) && !media::is_manifest(&root.media_type) {
        let message = format!("the archive has no image: {} is of type `{}`", root.digest, root.media_type);
        return Err(Error::user(message));
    }
    Ok(())
}

/// The bytes of a manifest or config.
fn manifest(content: &content::Store, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let size = content.size(&descriptor.digest)?;
    if size > MANIFEST {
        return Err(Error::user(format!("manifest {} is too large: {size} bytes", descriptor.digest)));
    }
    content.read(&descriptor.digest)
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::user(format!("the archive is damaged: invalid JSON: {e}")))
}
