//! The images of Kiln's own store: which are there, and which one is meant.

mod archives;
mod push;

use errdefs::{Class, Code, Error, Result, ResultExt};
use jiff::Timestamp;
use oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, Reference, media};
use refs::{Image, Refs};

pub use archives::{LoadOptions, SaveOptions};
pub use push::Push;
use tokio::task::spawn_blocking;

use crate::Engine;

/// Indexes within indexes that are followed.
const DEPTH: usize = 4;
/// Digits that are enough for the beginning of a digest.
const SHORTEST_ID: usize = 4;

/// A named image of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Complete: `docker.io/library/app:latest`.
    pub name: String,
    /// Of the manifest or index.
    pub digest: Digest,
    /// Of the config for this machine, or else of the only one.
    pub config_digest: Option<Digest>,
    /// When the name last changed its target.
    pub updated_at: Timestamp,
    /// Bytes of all blobs, as they are packed.
    pub size: u64,
    pub platforms: Vec<Platform>,
}

/// All that is said of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// All that it has, complete.
    pub names: Vec<String>,
    /// The manifest that suits the platform.
    pub manifest: Digest,
    /// When the name last changed its target.
    pub updated_at: Timestamp,
    /// The index or manifest that is named, then the indexes, manifests and configs below, with their media types.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
}

/// An image of one platform.
#[derive(Debug, Clone)]
pub struct Found {
    /// As people write it.
    pub name: String,
    pub manifest: Manifest,
    pub config: ImageConfig,
}

impl Engine {
    /// The images of the store, by name.
    pub async fn images(&self) -> Result<Vec<StoredImage>> {
        let refs = self.refs().clone();
        blocking(move || {
            let images = refs.images().list()?;
            images.into_iter().map(|image| describe(&refs, image)).collect()
        })
        .await
    }

    /// What is said of the image that `text` means, by its name or the beginning of its digest.
    pub async fn inspect_image(&self, text: &str, platform: Option<Platform>) -> Result<Inspected> {
        let (refs, text) = (self.refs().clone(), text.to_owned());
        blocking(move || {
            let images = refs.images().list()?;
            let image = one(&refs, &images, &text)?;
            let manifests = Manifests::read(&refs, &image.target)?;
            let manifest = manifests.select(platform.as_ref(), &image.name)?.descriptor.digest.clone();
            let mut blobs = Vec::new();
            for descriptor in manifests.parts {
                let bytes = refs.content().read(&descriptor.digest)?;
                blobs.push((descriptor, bytes));
            }
            let names = names(&images, &image.target.digest);
            Ok(Inspected { names, manifest, updated_at: image.updated_at, blobs })
        })
        .await
    }

    /// Gives an image one more name, away from another one if need be, and gives the complete form of it.
    pub async fn tag_image(&self, text: &str, name: &str) -> Result<String> {
        let (refs, text) = (self.refs().clone(), text.to_owned());
        let name = complete(name)?;
        if name.digest().is_some() {
            return Err(Error::user("refusing to create a tag with a digest reference"));
        }
        blocking(move || {
            let image = one(&refs, &refs.images().list()?, &text)?;
            Ok(refs.images().tag(&name.to_string(), &image.target)?.name)
        })
        .await
    }

    /// Takes a name away from an image, or with `force` all names of one that is meant by its digest. Gives the complete
    /// forms of those that went.
    pub async fn remove_image(&self, text: &str, force: bool) -> Result<Vec<String>> {
        let (refs, text) = (self.refs().clone(), text.to_owned());
        blocking(move || {
            let images = refs.images().list()?;
            let going = match by_name(&images, &text) {
                Some(image) => vec![image.name],
                None => names(&images, &one(&refs, &images, &text)?.target.digest),
            };
            if going.len() > 1 && !force {
                let shown = Vec::from_iter(going.iter().map(|name| oci::familiar(name))).join(", ");
                return Err(Error::user(format!("image `{text}` has several names: {shown}"))
                    .hint("say which one is to go, or `--force` for all"));
            }
            for name in &going {
                refs.images().remove(name)?;
            }
            Ok(going)
        })
        .await
    }
}

/// The image that `text` means, by its name or the beginning of its digest, for `platform`.
pub async fn find(refs: &Refs, text: &str, platform: Option<Platform>) -> Result<Found> {
    let (refs, text) = (refs.clone(), text.to_owned());
    blocking(move || {
        let image = one(&refs, &refs.images().list()?, &text)?;
        let name = oci::familiar(&image.name);
        let manifests = Manifests::read(&refs, &image.target)?;
        let manifest = manifests.select(platform.as_ref(), &name)?.manifest.clone();
        let config = refs.content().read(&manifest.config.digest)?;
        let config = serde_json::from_slice(&config)
            .map_err(|e| Error::user(format!("invalid config of image `{name}`: {e}")))?;
        Ok(Found { name, manifest, config })
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|e| Error::internal(format!("the image store failed: {e}")))?
}

/// The image that `text` means, by its name or the beginning of its digest.
fn one(refs: &Refs, images: &[Image], text: &str) -> Result<Image> {
    match by_name(images, text) {
        Some(image) => Ok(image),
        None => by_id(refs, images, text)?.ok_or_else(|| unknown(text)),
    }
}

/// All names of an image.
fn names(images: &[Image], digest: &Digest) -> Vec<String> {
    images.iter().filter(|image| image.target.digest == *digest).map(|image| image.name.clone()).collect()
}

/// A name as people write it, complete.
fn complete(name: &str) -> Result<Reference> {
    let parsed = name.parse::<Reference>();
    Ok(parsed.map_err(|e| Error::user(format!("invalid name {name:?}: {e}")))?.with_default_tag())
}

fn unknown(text: &str) -> Error {
    let error = Error::not_found(format!("no image `{text}` in Kiln's store"));
    match text.parse::<Reference>() {
        Ok(name) if name.digest().is_none() => {
            error.hint(format!("`kiln images` lists what is there; `kiln build -t {text} .` makes it"))
        }
        _ => error.hint("`kiln images` lists what is there"),
    }
}

/// An image by `name`, `name:tag`, `name@digest` or both.
fn by_name(images: &[Image], text: &str) -> Option<Image> {
    let wanted = text.parse::<Reference>().ok()?.with_default_tag();
    let full = wanted.to_string();
    let suits = |image: &&Image| match wanted.digest() {
        None => image.name == full,
        Some(digest) if image.target.digest != *digest => false,
        Some(_) if wanted.tag().is_some() => image.name == wanted.clone().without_digest().to_string(),
        Some(_) => image.name.parse().is_ok_and(|r: Reference| r.repository() == wanted.repository()),
    };
    images.iter().find(|image| image.name == full).or_else(|| images.iter().find(suits)).cloned()
}

/// An image by the beginning of the digest of its index, its manifest or its config.
fn by_id(refs: &Refs, images: &[Image], text: &str) -> Result<Option<Image>> {
    let id = text.strip_prefix("sha256:").unwrap_or(text);
    if id.len() < SHORTEST_ID || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let mut found: Option<&Image> = None;
    for image in images {
        let digests = Manifests::read(refs, &image.target).map(|m| m.digests).unwrap_or_default();
        if !digests.iter().any(|digest| digest.hex().starts_with(id)) {
            continue;
        }
        if found.is_some_and(|other| other.target.digest != image.target.digest) {
            return Err(Error::new(
                Class::User,
                Code::InvalidArgument,
                format!("several images begin with `{id}`"),
            )
            .hint("give more digits, or a name: see `kiln images`"));
        }
        found = found.or(Some(image));
    }
    Ok(found.cloned())
}

/// An image of one platform, as an index tells it.
struct PlatformImage {
    descriptor: Descriptor,
    platform: Option<Platform>,
    manifest: Manifest,
}

/// What a name stands for, read from the store.
#[derive(Default)]
struct Manifests {
    /// Attestations are left out.
    images: Vec<PlatformImage>,
    /// The root, then the indexes, manifests and configs below.
    parts: Vec<Descriptor>,
    /// Of indexes, manifests and configs.
    digests: Vec<Digest>,
    /// Bytes of all blobs.
    size: u64,
}

impl Manifests {
    fn read(refs: &Refs, target: &Descriptor) -> Result<Self> {
        let mut all = Manifests::default();
        all.add(refs, target, DEPTH).with_context(|| format!("failed to read image {}", target.digest))?;
        Ok(all)
    }

    fn add(&mut self, refs: &Refs, at: &Descriptor, depth: usize) -> Result<()> {
        let bytes = refs.content().read(&at.digest)?;
        let kind = match at.media_type.as_str() {
            "" => media::detect(&bytes).map_err(|e| Error::user(e.to_string()))?,
            named => named.to_owned(),
        };
        self.size += bytes.len() as u64;
        self.parts.push(Descriptor { media_type: kind.clone(), ..at.clone() });
        if media::is_index(&kind) && depth > 0 {
            self.digests.push(at.digest.clone());
            let index: Index = parse(&bytes)?;
            return index.manifests.iter().try_for_each(|inner| self.add(refs, inner, depth - 1));
        }
        if !media::is_manifest(&kind) {
            return Err(Error::user(format!("its media type is `{kind}`")));
        }
        let manifest: Manifest = parse(&bytes)?;
        self.size += manifest.config.size + manifest.layers.iter().map(|l| l.size).sum::<u64>();
        if at.platform.as_ref().is_some_and(|p| p.os == "unknown") {
            return Ok(());
        }
        self.digests.extend([at.digest.clone(), manifest.config.digest.clone()]);
        self.parts.push(manifest.config.clone());
        let platform = match &at.platform {
            Some(platform) => Some(platform.clone()),
            None => config(refs, &manifest).map(|config| config.platform()),
        };
        self.images.push(PlatformImage { descriptor: at.clone(), platform, manifest });
        Ok(())
    }

    /// The one that suits best. Without a wish an only one does, whatever it is for: there may be an emulator.
    fn select(&self, wanted: Option<&Platform>, name: &str) -> Result<&PlatformImage> {
        let host = Platform::host();
        let platform = wanted.unwrap_or(&host);
        let ranked = self.images.iter().filter_map(|image| match &image.platform {
            Some(offered) => platform.rank(offered).map(|rank| (rank, image)),
            None => Some((usize::MAX, image)),
        });
        if let Some((_, image)) = ranked.min_by_key(|(rank, _)| *rank) {
            return Ok(image);
        }
        match &self.images[..] {
            [only] if wanted.is_none() => Ok(only),
            images => {
                let offered = images.iter().filter_map(|i| i.platform.as_ref()).map(Platform::to_string);
                let offered = Vec::from_iter(offered).join(", ");
                Err(Error::not_found(format!("image `{name}` is not there for {platform}"))
                    .hint(format!("it is there for {offered}: choose with `--platform`")))
            }
        }
    }
}

fn describe(refs: &Refs, image: Image) -> Result<StoredImage> {
    // A name whose blobs are damaged is listed nevertheless, so that it can be removed.
    let manifests = Manifests::read(refs, &image.target)
        .inspect_err(|e| tracing::warn!(name = image.name, "an image cannot be read: {e}"))
        .unwrap_or_default();
    let chosen = manifests.select(None, &image.name).ok();
    let mut platforms = Vec::from_iter(manifests.images.iter().filter_map(|i| i.platform.clone()));
    platforms.dedup();
    Ok(StoredImage {
        digest: image.target.digest,
        config_digest: chosen.map(|image| image.manifest.config.digest.clone()),
        updated_at: image.updated_at,
        size: manifests.size,
        platforms,
        name: image.name,
    })
}

fn config(refs: &Refs, manifest: &Manifest) -> Option<ImageConfig> {
    serde_json::from_slice(&refs.content().read(&manifest.config.digest).ok()?).ok()
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::user(format!("invalid manifest: {e}")))
}
