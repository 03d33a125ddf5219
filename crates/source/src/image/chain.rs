//! What is said of an image, and who signed that.

use std::collections::BTreeSet;

use bytes::Bytes;
use errdefs::{Error, Result};
use frontend::AttestationChain;
use oci::{Descriptor, Index, Manifest, Platform, media};

use crate::manifest::parse;
use crate::origin::{Origin, SMALL, read, small};

/// Most bytes of a statement: more does not fit into the answer.
const LIMIT: u64 = 16 << 20;

const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// Artifact types of signatures, the better one first.
const SIGNATURES: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.cosign.artifact.sig.v1+json"];

/// Artifact type of the attestations of an image, where they hang on it instead of standing in its index.
const ATTESTATIONS: &str = "application/vnd.docker.attestation.manifest.v1+json";
/// Begins the predicate types of provenance.
const PROVENANCE: &str = "https://slsa.dev/provenance/";

/// Follows the chain of an image for a platform, and reads it, with statements of `types`. What is said of it stands in
/// its index, where BuildKit looks for it, or else hangs on it (OCI distribution-spec, "Listing Referrers"). An image
/// that comes without an index and of which nothing is said has no chain.
pub async fn chain(
    content: &content::Store,
    origin: &dyn Origin,
    root: &Descriptor,
    platform: &Platform,
    types: &[String],
) -> Result<Option<AttestationChain>> {
    let mut reader = Reader { content, origin, blobs: Vec::new() };
    let is_index = root.media_type == media::OCI_INDEX;
    let (image, told) = match is_index {
        true => in_index(&reader.read(root, SMALL).await?, platform)?,
        false if media::is_index(&root.media_type) => return Ok(None),
        false => (root.clone(), None),
    };
    let mut chain = AttestationChain::of(root.digest.clone(), image.digest.clone());
    let told = match told {
        Some(told) => Some(told),
        None => attestations(origin.referrers(&image.digest).await?),
    };
    let Some(attestations) = &told else {
        chain.blobs = reader.blobs;
        return Ok(is_index.then_some(chain));
    };
    if !is_index {
        reader.read(root, SMALL).await?;
    }
    chain.attestation_manifest = Some(attestations.digest.clone());
    let manifest: Manifest = parse(&reader.read(attestations, SMALL).await?, "manifest")?;
    if let Some(signature) = signature(&origin.referrers(&attestations.digest).await?) {
        chain.signature_manifests = vec![signature.digest.clone()];
        let manifest: Manifest = parse(&reader.read(signature, SMALL).await?, "manifest")?;
        for layer in &manifest.layers {
            reader.read(layer, LIMIT).await?;
        }
    }
    let types: BTreeSet<&str> = types.iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
    let is_wanted = |layer: &&Descriptor| {
        layer.annotations.get(media::PREDICATE_TYPE).is_some_and(|t| types.contains(t.as_str()))
    };
    for statement in manifest.layers.iter().filter(is_wanted) {
        reader.read(statement, LIMIT).await?;
    }
    chain.blobs = reader.blobs;
    Ok(Some(chain))
}

/// Reads blobs, and keeps what was read.
struct Reader<'a> {
    content: &'a content::Store,
    origin: &'a dyn Origin,
    blobs: Vec<(Descriptor, Bytes)>,
}

impl Reader<'_> {
    async fn read(&mut self, blob: &Descriptor, limit: u64) -> Result<Bytes> {
        if let Some((_, bytes)) = self.blobs.iter().find(|(known, _)| known.digest == blob.digest) {
            return Ok(bytes.clone());
        }
        let bytes = match limit {
            SMALL => small(self.content, self.origin, blob).await,
            limit => read(self.content, self.origin, blob, limit).await,
        };
        let bytes = Bytes::from(bytes.map_err(|e| e.context(format_args!("reading blob {}", blob.digest)))?);
        self.blobs.push((blob.clone(), bytes.clone()));
        Ok(bytes)
    }
}

/// The image of an index for a platform, and what the index has about it.
fn in_index(index: &[u8], platform: &Platform) -> Result<(Descriptor, Option<Descriptor>)> {
    let index: Index = parse(index, "index")?;
    let image = index.select_image(platform).ok_or_else(|| {
        Error::not_found(format!("no manifest for platform {}: not found", platform.format_all()))
    })?;
    Ok((image.clone(), index.manifests.iter().find(|d| is_about(d, image)).cloned()))
}

/// Of what hangs on an image, the manifest of statements: one of BuildKit's kind, or else one with provenance in it, as
/// Docker's hardened images have it.
fn attestations(referrers: Vec<Descriptor>) -> Option<Descriptor> {
    let is_provenance = |d: &Descriptor| {
        let predicate = d.annotations.get(media::PREDICATE_TYPE);
        d.artifact_type == media::IN_TOTO && predicate.is_some_and(|kind| kind.starts_with(PROVENANCE))
    };
    let found = referrers.iter().position(|d| d.artifact_type == ATTESTATIONS);
    found.or_else(|| referrers.iter().position(is_provenance)).map(|at| referrers[at].clone())
}

fn is_about(entry: &Descriptor, image: &Descriptor) -> bool {
    let is = |key: &str, value: &str| entry.annotations.get(key).is_some_and(|v| v == value);
    is(REFERENCE_TYPE, "attestation-manifest") && is(REFERENCE_DIGEST, image.digest.as_str())
}

fn signature(referrers: &[Descriptor]) -> Option<&Descriptor> {
    SIGNATURES.iter().find_map(|kind| referrers.iter().find(|d| d.artifact_type == *kind))
}
