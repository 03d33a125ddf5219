//! One image of several.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use errdefs::{Error, Result};
use futures_util::future::try_join_all;
use oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media};

use super::copy::{ATTESTATION, REFERENCE_DIGEST, REFERENCE_TYPE};
use super::load::parse;
use super::location::Location;
use super::tools::Tools;
use crate::flags::{Annotation, AnnotationKind};

/// An image that takes part.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub at: Location,
    pub descriptor: Descriptor,
}

/// What was made.
pub(super) struct Combined {
    pub bytes: Bytes,
    pub descriptor: Descriptor,
    /// The manifests that have to be there first, and where they are.
    pub manifests: Vec<Source>,
}

/// What is wished of the result.
pub(super) struct Wishes<'a> {
    pub annotations: &'a [Annotation],
    /// Also a single image becomes an index.
    pub prefer_index: bool,
    /// All, unless some are named.
    pub platforms: &'a [Platform],
}

pub(super) async fn combine(tools: &Tools, sources: Vec<Source>, wishes: &Wishes<'_>) -> Result<Combined> {
    let read = try_join_all(sources.into_iter().map(|source| read(tools, source))).await?;
    if let [(source, bytes)] = &read[..]
        && wishes.annotations.is_empty()
        && (media::is_index(&source.descriptor.media_type) || !wishes.prefer_index)
    {
        let (bytes, descriptor) = (bytes.clone(), source.descriptor.clone());
        return pick(tools, bytes, descriptor, &HashMap::new(), source, wishes.platforms).await;
    }
    let first = read.first().map(|(source, _)| source.clone());
    let first = first.ok_or_else(|| Error::user("no sources specified"))?;
    let (mut manifests, places) = gather(read)?;
    let is_docker = manifests.iter().all(|m| media::is_docker(&m.media_type));
    let media_type = if is_docker { media::DOCKER_LIST } else { media::OCI_INDEX };
    let mut annotations = BTreeMap::new();
    // Docker's list has no place for them.
    for annotation in wishes.annotations.iter().filter(|_| !is_docker) {
        annotate(annotation, &mut annotations, &mut manifests)?;
    }
    let mut index = Index::new(media_type, manifests);
    index.annotations = annotations;
    let bytes = oci::json::to_vec_indent(&index);
    let descriptor = Descriptor::of(media_type, &bytes);
    pick(tools, bytes.into(), descriptor, &places, &first, wishes.platforms).await
}

/// The manifest of a source. An image tells its platform then.
async fn read(tools: &Tools, mut source: Source) -> Result<(Source, Bytes)> {
    let bytes = tools.manifest(&source.at, &source.descriptor).await?;
    if source.descriptor.media_type.is_empty() {
        source.descriptor.media_type = media::detect(&bytes).map_err(|e| Error::user(e.to_string()))?;
    }
    if media::is_manifest(&source.descriptor.media_type) {
        let mut platform = source.descriptor.platform.take().unwrap_or_default();
        if platform.os.is_empty() || platform.architecture.is_empty() {
            let manifest: Manifest = parse(&bytes)?;
            let config: ImageConfig = parse(&tools.small_blob(&source.at, &manifest.config).await?)?;
            let told = config.platform().normalize();
            if platform.architecture.is_empty() {
                platform.architecture = told.architecture;
                if platform.variant.is_empty() {
                    platform.variant = told.variant;
                }
            }
            if platform.os.is_empty() {
                platform.os = told.os;
            }
        }
        source.descriptor.platform = Some(platform);
    }
    Ok((source, bytes))
}

/// All manifests in the order of their sources, each once, and where each is.
fn gather(read: Vec<(Source, Bytes)>) -> Result<(Vec<Descriptor>, HashMap<Digest, Source>)> {
    let mut all: Vec<Descriptor> = Vec::new();
    let mut places = HashMap::new();
    for (source, bytes) in read {
        let manifests = match media::is_index(&source.descriptor.media_type) {
            true => parse::<Index>(&bytes)?.manifests,
            false => vec![source.descriptor.clone()],
        };
        for manifest in manifests {
            places.insert(manifest.digest.clone(), source.clone());
            match all.iter_mut().find(|known| known.digest == manifest.digest) {
                Some(known) => {
                    known.platform = manifest.platform.or(known.platform.take());
                    known.annotations.extend(manifest.annotations);
                }
                None => all.push(manifest),
            }
        }
    }
    Ok((all, places))
}

fn annotate(
    annotation: &Annotation,
    index: &mut BTreeMap<String, String>,
    manifests: &mut [Descriptor],
) -> Result<()> {
    let Annotation { kind, platform, key, value } = annotation;
    match kind {
        AnnotationKind::Index => _ = index.insert(key.clone(), value.clone()),
        AnnotationKind::ManifestDescriptor => {
            let wanted = platform.as_ref().map(Platform::format_all);
            let is_meant = |m: &&mut Descriptor| {
                wanted.is_none() || wanted == m.platform.as_ref().map(Platform::to_string)
            };
            for manifest in manifests.iter_mut().filter(is_meant) {
                manifest.annotations.insert(key.clone(), value.clone());
            }
        }
        AnnotationKind::Default | AnnotationKind::Manifest => {
            return Err(Error::user(format!("{:?} annotations are not supported yet", kind.name())));
        }
        AnnotationKind::IndexDescriptor => {
            return Err(Error::user(format!(
                "{:?} annotations are invalid while creating an image",
                kind.name()
            )));
        }
    }
    Ok(())
}

/// Whether an image is for one of these platforms, to the letter.
fn suits(platform: &Platform, wanted: &[Platform]) -> bool {
    let parts = |p: &Platform| {
        let Platform { os, architecture, variant, .. } = p.normalize();
        (os, architecture, variant)
    };
    wanted.is_empty() || wanted.iter().any(|wanted| parts(wanted) == parts(platform))
}

/// Leaves the manifests for some platforms, and what is said of those: in the index, or beside it in the registry.
async fn pick(
    tools: &Tools,
    bytes: Bytes,
    descriptor: Descriptor,
    places: &HashMap<Digest, Source>,
    default: &Source,
    wanted: &[Platform],
) -> Result<Combined> {
    if !media::is_index(&descriptor.media_type) {
        let platform = descriptor.platform.clone().ok_or_else(|| {
            Error::user("cannot filter platforms from a manifest without platform information")
        })?;
        if !suits(&platform, wanted) {
            let message = format!("input platform {platform} does not match any of the provided platforms");
            return Err(Error::user(message));
        }
        let manifests = vec![Source { at: default.at.clone(), descriptor: descriptor.clone() }];
        return Ok(Combined { bytes, descriptor, manifests });
    }
    let mut index: Index = parse(&bytes)?;
    let is_image = |m: &Descriptor| m.platform.as_ref().is_none_or(|platform| suits(platform, wanted));
    // What is told, with what it tells about.
    let mut about: BTreeMap<Digest, Digest> = BTreeMap::new();
    for m in &index.manifests {
        if let Some(subject) = subject(m)
            && index.manifests.iter().any(|other| other.digest == subject && is_image(other))
        {
            about.insert(m.digest.clone(), subject);
        }
    }
    let all = std::mem::take(&mut index.manifests);
    let count = all.len();
    index.manifests = all.into_iter().filter(|m| is_image(m) || about.contains_key(&m.digest)).collect();
    if index.manifests.is_empty() {
        return Err(Error::user("none of the manifests match the provided platforms"));
    }
    let place = |digest: &Digest| places.get(digest).unwrap_or(default);
    let sources = index.manifests.iter();
    let manifests: Vec<Source> =
        sources.map(|m| Source { at: place(&m.digest).at.clone(), descriptor: m.clone() }).collect();
    let told: BTreeSet<&Digest> = about.values().collect();
    let silent = index.manifests.iter().filter(|m| is_image(m) && !about.contains_key(&m.digest));
    let mut beside = Vec::new();
    for manifest in silent.filter(|m| !told.contains(&m.digest)) {
        let referrers = tools.referrers(&place(&manifest.digest).at, &manifest.digest).await?;
        let found =
            referrers.into_iter().find(|r| r.artifact_type == ATTESTATION && !about.contains_key(&r.digest));
        beside.extend(found.map(|found| attached(found, &manifest.digest)));
    }
    if index.manifests.len() == count && beside.is_empty() {
        return Ok(Combined { bytes, descriptor, manifests });
    }
    index.manifests.extend(beside);
    let bytes = oci::json::to_vec_indent(&index);
    let annotations = descriptor.annotations;
    let descriptor = Descriptor { annotations, ..Descriptor::of(descriptor.media_type, &bytes) };
    Ok(Combined { bytes: bytes.into(), descriptor, manifests })
}

/// The manifest that another one tells about.
fn subject(manifest: &Descriptor) -> Option<Digest> {
    let is_told = manifest.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == "attestation-manifest");
    is_told.then(|| manifest.annotations.get(REFERENCE_DIGEST)?.parse().ok()).flatten()
}

/// What hangs on a manifest in a registry, as an index tells it.
fn attached(mut referrer: Descriptor, about: &Digest) -> Descriptor {
    referrer.platform =
        Some(Platform { os: "unknown".into(), architecture: "unknown".into(), ..Platform::default() });
    referrer.annotations.insert(REFERENCE_TYPE.into(), "attestation-manifest".into());
    referrer.annotations.insert(REFERENCE_DIGEST.into(), about.to_string());
    referrer.artifact_type.clear();
    referrer
}
