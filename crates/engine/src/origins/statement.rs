//! From what is known to what is said.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use errdefs::{Error, Result};
use frontend::{Attestation, AttestationBody, AttestationKind, BuildResult};
use jiff::Timestamp;
use oci::Digest;
use provenance::{Layers, Mode, Options, Predicate, Run};

use super::capture::{Captured, OneResult};
use crate::COMPATIBILITY;
use crate::bridge::BuildBridge;

/// Layers that are told of in one statement, at most: in a long chain, each step has all of those below it too.
const LAYERS: usize = 4096;

impl Captured {
    /// Adds what the client asks for to a result.
    pub async fn attest(
        &self,
        bridge: &BuildBridge,
        result: &mut BuildResult,
        options: &Options,
    ) -> Result<()> {
        for platform in &self.platforms {
            let Some(one) = self.of_platform(&platform.id, result)? else { continue };
            if options.complete_materials {
                one.used.check_complete()?;
            }
            let json = self.statement(bridge, one, options).await?;
            let metadata = [
                ("reason", "provenance"),
                ("inline-only", if options.inline_only { "true" } else { "false" }),
                ("filename", &options.filename),
            ];
            let text =
                |(key, value): (&str, &str)| (key.to_owned(), Bytes::copy_from_slice(value.as_bytes()));
            let predicate_type = options.version.predicate_type().to_owned();
            let attestation = Attestation {
                kind: AttestationKind::InToto { predicate_type, subjects: Vec::new() },
                metadata: metadata.into_iter().map(text).collect(),
                body: AttestationBody::Inline(json.into()),
            };
            result.attestations.entry(platform.id.clone()).or_default().push(attestation);
        }
        Ok(())
    }

    /// What the history keeps: all, by platform; the empty name stands for the only one.
    pub async fn record(
        &self,
        bridge: &BuildBridge,
        attrs: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Vec<u8>>> {
        let asked = Options::of(attrs).ok().flatten().unwrap_or_default();
        let options = Options { builder: asked.builder, ..Options::default() };
        let mut recorded = BTreeMap::new();
        for one in &self.results {
            recorded.insert(one.id.clone(), self.statement(bridge, one, &options).await?);
        }
        Ok(recorded)
    }

    async fn statement(&self, bridge: &BuildBridge, one: &OneResult, options: &Options) -> Result<Vec<u8>> {
        let layers = match options.mode {
            Mode::Max => layers(bridge, one).await,
            Mode::Min => Layers::new(),
        };
        let told = &bridge.parts().told;
        // An id that no other run has: that of the build is the client's choice.
        let id = Digest::of(format!("{} {}", bridge.build_id(), self.started)).hex()[..25].to_owned();
        let run = Run {
            id,
            started: self.started,
            finished: *self.finished.get_or_init(Timestamp::now),
            compatibility: COMPATIBILITY,
            dockerfile_version: told.dockerfile_version.clone(),
            env: told.env.clone(),
        };
        let (used, asked, options) = (one.used.clone(), one.asked.clone(), options.clone());
        let definition = Arc::clone(&one.reference.definition);
        let make = move || {
            let predicate = Predicate::new(&used, asked, &definition, run, &options)?;
            Ok(predicate.with_layers(layers).to_json(options.version))
        };
        let made = tokio::task::spawn_blocking(make).await;
        made.unwrap_or_else(|e| Err(Error::internal(format!("making a statement ended: {e}"))))
    }
}

/// The layers of what was computed, where they are there as blobs.
async fn layers(bridge: &BuildBridge, one: &OneResult) -> Layers {
    let mut layers = Layers::new();
    let mut count = 0;
    for output in bridge.lineage(&one.reference).await.unwrap_or_default() {
        let Some(Some(value)) = &output.value else { continue };
        let blobs: Option<Vec<_>> = value.known_blobs(refs::Compression::default()).into_iter().collect();
        let Some(blobs) = blobs.filter(|blobs| !blobs.is_empty()) else { continue };
        count += blobs.len();
        if count > LAYERS {
            break;
        }
        let descriptors = blobs.into_iter().map(|blob| {
            let mut descriptor = blob.descriptor;
            // Where a layer came from, and what it is when unpacked, is the engine's own concern.
            descriptor.annotations.retain(|key, _| !key.starts_with("containerd.io/"));
            descriptor
        });
        layers.push((output.vertex.clone(), output.output, descriptors.collect()));
    }
    layers
}
