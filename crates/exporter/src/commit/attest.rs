//! The manifests that attestations of an image are in.

use std::collections::BTreeMap;

use errdefs::Result;
use oci::{Descriptor, DiffId, Digest, Manifest, Platform, media};

use super::{Layers, Referrer, Writer, manifest_json};
use crate::Exportable;
use crate::attestation::{Artifact, LayerFinder, Predicate, predicates, statement, supplement};
use crate::config::rootfs;
use crate::exportable::ResultPlatform;
use crate::layout::parse;
use crate::options::ImageOptions;

/// The type of such a manifest where it is an OCI artifact.
const ARTIFACT: &str = "application/vnd.docker.attestation.manifest.v1+json";
/// Annotations by which an index tells what an entry is, and of which image.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const UNKNOWN: &str = "unknown";
/// What a config is that says nothing.
const EMPTY: &[u8] = b"{}";

/// What is said about an image.
pub struct Said {
    image: Digest,
    /// Of the manifest of the statements, as it stands in an index.
    pub entry: Descriptor,
}

/// The same as manifests that hang on their images.
pub fn referrers(said: &[Said]) -> Vec<Referrer> {
    let referrer = |said: &Said| {
        let Descriptor { media_type, digest, size, .. } = &said.entry;
        let mut manifest = Descriptor::new(media_type.clone(), digest.clone(), *size);
        manifest.artifact_type = ARTIFACT.into();
        Referrer { subject: said.image.clone(), manifest }
    };
    said.iter().map(referrer).collect()
}

/// Whether something is said about a result of one platform that goes along with it.
pub fn is_said(result: &Exportable, platforms: &[ResultPlatform], options: &ImageOptions) -> bool {
    let mut all = platforms.iter().flat_map(|platform| result.attestations_of(platform));
    all.any(|attestation| options.inline || !attestation.is_inline_only())
}

impl Writer<'_> {
    /// Writes what is said about each image; gives that, and the statements by platform.
    pub(super) async fn attest(
        &self,
        platforms: &[ResultPlatform],
        images: &[Descriptor],
        layers: &[Layers],
    ) -> Result<(Vec<Said>, BTreeMap<String, Vec<Descriptor>>)> {
        let (mut entries, mut by_platform) = (Vec::new(), BTreeMap::new());
        for ((platform, image), layers) in platforms.iter().zip(images).zip(layers) {
            let attestations = self.result.attestations_of(platform);
            if attestations.is_empty() {
                continue;
            }
            let predicates = predicates(attestations, self.cx).await?;
            let predicates = self.supplement(predicates, layers).await?;
            let statements = self.statements(&predicates, &self.artifacts(platform, image)?).await?;
            let entry = self.attestation_manifest(image, statements.clone()).await?;
            entries.push(Said { image: image.digest.clone(), entry });
            by_platform.insert(platform.id.clone(), statements);
        }
        Ok((entries, by_platform))
    }

    /// The image by its names.
    fn artifacts(&self, platform: &ResultPlatform, image: &Descriptor) -> Result<Vec<Artifact>> {
        let names = self.options.name_for(self.result);
        let names = names.split(',').filter(|name| !name.is_empty());
        let purl = |name: &str| parse(name).map(|name| name.to_purl(Some(&platform.platform)));
        names.map(|name| Ok(Artifact::new(purl(name)?, &image.digest))).collect()
    }

    /// Adds to SBOMs which layers files are in.
    async fn supplement(&self, predicates: Vec<Predicate>, layers: &Layers) -> Result<Vec<Predicate>> {
        let Some(reference) =
            layers.reference.as_ref().filter(|_| predicates.iter().any(Predicate::is_core_sbom))
        else {
            return Ok(predicates);
        };
        let mut finder = LayerFinder { layers: Vec::new() };
        for (layer, blob) in reference.layers().iter().zip(&layers.blobs) {
            finder.layers.push((blob.descriptor.digest.clone(), layer.view().await?));
        }
        let supplemented = self.cx.blocking(move |_| {
            let mut predicates = predicates;
            for predicate in &mut predicates {
                if let Some(content) = supplement(predicate, &finder)? {
                    predicate.content = content;
                }
            }
            Ok(predicates)
        });
        supplemented.await
    }

    /// Writes the statements.
    async fn statements(&self, predicates: &[Predicate], artifacts: &[Artifact]) -> Result<Vec<Descriptor>> {
        let mut statements = Vec::with_capacity(predicates.len());
        for predicate in predicates {
            let bytes = statement(predicate, artifacts)?.into_bytes();
            let mut descriptor = Descriptor::of(media::IN_TOTO, &bytes);
            descriptor.annotations.insert(media::PREDICATE_TYPE.into(), predicate.predicate_type.clone());
            self.store(bytes).await?;
            statements.push(descriptor);
        }
        Ok(statements)
    }

    /// Writes the manifest of statements about an image.
    async fn attestation_manifest(
        &self,
        image: &Descriptor,
        statements: Vec<Descriptor>,
    ) -> Result<Descriptor> {
        let manifest = match self.options.artifacts {
            true => self.artifact(image, statements).await?,
            false => self.image_of_statements(statements).await?,
        };
        let bytes = manifest_json(&manifest);
        let mut descriptor = Descriptor::of(media::OCI_MANIFEST, &bytes);
        self.write("exporting attestation manifest", bytes).await?;
        descriptor.platform = Some(Platform::new(UNKNOWN, UNKNOWN, ""));
        descriptor.annotations.insert(REFERENCE_TYPE.into(), "attestation-manifest".into());
        descriptor.annotations.insert(REFERENCE_DIGEST.into(), image.digest.to_string());
        Ok(descriptor)
    }

    async fn artifact(&self, image: &Descriptor, statements: Vec<Descriptor>) -> Result<Manifest> {
        use base64::Engine as _;
        let mut config = Descriptor::of(media::OCI_EMPTY, EMPTY);
        config.data = base64::engine::general_purpose::STANDARD.encode(EMPTY);
        self.store(EMPTY.to_vec()).await?;
        let mut manifest = Manifest::new(media::OCI_MANIFEST, config, statements);
        manifest.artifact_type = ARTIFACT.into();
        manifest.subject = Some(Descriptor::new(image.media_type.clone(), image.digest.clone(), image.size));
        Ok(manifest)
    }

    /// For those who know no artifacts.
    async fn image_of_statements(&self, statements: Vec<Descriptor>) -> Result<Manifest> {
        let config = config(statements.iter().map(|statement| statement.digest.clone()));
        let descriptor = Descriptor::of(media::OCI_CONFIG, &config);
        self.store(config).await?;
        Ok(Manifest::new(media::OCI_MANIFEST, descriptor, statements))
    }
}

/// The config of an image whose layers are statements.
fn config(statements: impl Iterator<Item = Digest>) -> Vec<u8> {
    let rootfs = rootfs(&statements.map(DiffId).collect::<Vec<_>>());
    format!(r#"{{"architecture":"{UNKNOWN}","os":"{UNKNOWN}","config":{{}},"rootfs":{rootfs}}}"#).into_bytes()
}
