//! All that templates may ask for.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Error, Result};
use futures_util::future::BoxFuture;
use oci::{Descriptor, Digest, ImageConfig, Index, Manifest, media};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::copy::ATTESTATION;
use super::location::Location;
use super::tools::Tools;

/// Annotations with the digest of the manifest that another one tells about.
const ABOUT: [&str; 2] = ["com.docker.reference.digest", "vnd.docker.reference.digest"];
const SPDX: &str = "https://spdx.dev/Document";
const SLSA: &str = "https://slsa.dev/provenance/";

/// An image of all its platforms.
pub(super) struct Loaded<'a> {
    tools: &'a Tools,
    at: &'a Location,
    /// The manifests of images by platform.
    images: BTreeMap<String, (Digest, Manifest)>,
    /// What is told about each manifest, in the order of the index.
    about: BTreeMap<Digest, Vec<Manifest>>,
}

impl<'a> Loaded<'a> {
    /// Reads the manifests.
    pub(super) async fn read(tools: &'a Tools, at: &'a Location, root: &Descriptor) -> Result<Self> {
        let mut loaded = Loaded { tools, at, images: BTreeMap::new(), about: BTreeMap::new() };
        loaded.add(root).await?;
        Ok(loaded)
    }

    /// Reads what hangs on images of which the index has nothing to tell.
    pub(super) async fn follow(&mut self) -> Result<()> {
        let silent = self.images.values().map(|(digest, _)| digest.clone());
        for digest in silent.filter(|digest| !self.about.contains_key(digest)).collect::<Vec<_>>() {
            for referrer in self.tools.referrers(self.at, &digest).await? {
                if referrer.artifact_type == ATTESTATION {
                    let manifest = parse(&self.tools.manifest(self.at, &referrer).await?)?;
                    self.about.entry(digest.clone()).or_default().push(manifest);
                }
            }
        }
        Ok(())
    }

    fn add<'b>(&'b mut self, descriptor: &'b Descriptor) -> BoxFuture<'b, Result<()>> {
        Box::pin(async move {
            if media::is_index(&descriptor.media_type) {
                let index: Index = parse(&self.tools.manifest(self.at, descriptor).await?)?;
                for manifest in &index.manifests {
                    self.add(manifest).await?;
                }
            } else if media::is_manifest(&descriptor.media_type) {
                let manifest: Manifest = parse(&self.tools.manifest(self.at, descriptor).await?)?;
                self.add_manifest(descriptor, manifest).await?;
            }
            Ok(())
        })
    }

    async fn add_manifest(&mut self, descriptor: &Descriptor, manifest: Manifest) -> Result<()> {
        if let Some(about) = ABOUT.iter().find_map(|key| descriptor.annotations.get(*key)) {
            let about: Digest =
                about.parse().map_err(|_| Error::user(format!("invalid digest {about:?}")))?;
            self.about.entry(about).or_default().push(manifest);
            return Ok(());
        }
        let platform = match &descriptor.platform {
            Some(platform) => platform.clone(),
            None => self.config(&manifest).await?.platform(),
        };
        self.images.insert(platform.normalize().to_string(), (descriptor.digest.clone(), manifest));
        Ok(())
    }

    async fn config(&self, manifest: &Manifest) -> Result<ImageConfig> {
        parse(&self.tools.small_blob(self.at, &manifest.config).await?)
    }

    /// The configs by platform.
    pub(super) async fn configs(&self) -> Result<BTreeMap<String, ImageConfig>> {
        let mut configs = BTreeMap::new();
        for (platform, (_, manifest)) in &self.images {
            configs.insert(platform.clone(), self.config(manifest).await?);
        }
        Ok(configs)
    }

    /// The SBOMs by platform, for those that have some.
    pub(super) async fn sboms(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let mut all = self.predicates(|kind| kind == SPDX).await?;
        all.retain(|_, manifests| !manifests.is_empty());
        Ok(all.into_iter().map(|(platform, manifests)| (platform, manifests.concat())).collect())
    }

    /// The provenance by platform, for those that have one: of the last manifest the first.
    pub(super) async fn provenance(&self) -> Result<BTreeMap<String, Value>> {
        let all = self.predicates(|kind| kind.starts_with(SLSA)).await?;
        let last = |manifests: Vec<Vec<Value>>| manifests.into_iter().next_back()?.into_iter().next();
        Ok(all.into_iter().filter_map(|(platform, manifests)| Some((platform, last(manifests)?))).collect())
    }

    /// What is said of a kind: by platform, and for each manifest that says some.
    async fn predicates(
        &self,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Vec<Vec<Value>>>> {
        let mut all: BTreeMap<String, Vec<Vec<Value>>> = BTreeMap::new();
        for (platform, (digest, _)) in &self.images {
            let found = all.entry(platform.clone()).or_default();
            for manifest in self.about.get(digest).into_iter().flatten() {
                let mut said = Vec::new();
                for layer in &manifest.layers {
                    let kind = layer.annotations.get(media::PREDICATE_TYPE).map_or("", String::as_str);
                    if (layer.media_type == media::IN_TOTO || is_envelope(layer)) && is_wanted(kind) {
                        said.push(self.predicate(layer).await?);
                    }
                }
                if !said.is_empty() {
                    found.push(said);
                }
            }
        }
        Ok(all)
    }

    async fn predicate(&self, layer: &Descriptor) -> Result<Value> {
        let bytes = self.tools.small_blob(self.at, layer).await?;
        let statement: Value = match is_envelope(layer) {
            false => parse(&bytes)?,
            true => {
                let envelope: Value = parse(&bytes)?;
                let payload = STANDARD.decode(envelope["payload"].as_str().unwrap_or_default());
                parse(&payload.map_err(|e| Error::user(format!("the payload of {}: {e}", layer.digest)))?)?
            }
        };
        Ok(statement["predicate"].clone())
    }
}

/// Whether a statement is in an envelope of signatures (DSSE).
fn is_envelope(layer: &Descriptor) -> bool {
    layer.media_type.starts_with("application/vnd.in-toto.") && layer.media_type.ends_with("+dsse")
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::user(format!("invalid JSON: {e}")))
}
