//! From what is known to what is said.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use frontend::{Attestation, AttestationBody, AttestationKind, BuildResult, LateBody};
use jiff::Timestamp;
use oci::Digest;
use ops::Value;
use provenance::{Layers, Mode, Options, Predicate, Run};
use refs::ImmutableRef;
use solver::{KeyStore as _, Lineage, ResultStore as _};

use super::capture::{Captured, OneResult};
use crate::COMPATIBILITY;
use crate::bridge::BuildBridge;

/// Layers that are looked at for one statement, at most: in a long chain, each step has all of those below it too.
const LAYERS: usize = 4096;
/// Outputs that are looked at for them.
const OUTPUTS: usize = 1024;

impl Captured {
    /// Adds what the client asks for to a result.
    pub fn attest(
        self: &Arc<Self>,
        bridge: &BuildBridge,
        result: &mut BuildResult,
        options: &Options,
    ) -> Result<()> {
        for platform in &self.platforms {
            let Some(index) = self.of_platform(&platform.id, result)? else { continue };
            if options.complete_materials {
                self.results[index].used.check_complete()?;
            }
            let metadata = [
                ("reason", "provenance"),
                ("inline-only", if options.inline_only { "true" } else { "false" }),
                ("filename", options.filename.as_str()),
            ];
            let text =
                |(key, value): (&str, &str)| (key.to_owned(), Bytes::copy_from_slice(value.as_bytes()));
            let predicate_type = options.version.predicate_type().to_owned();
            let (captured, bridge, options) = (Arc::clone(self), bridge.clone(), options.clone());
            let attestation = Attestation {
                kind: AttestationKind::InToto { predicate_type, subjects: Vec::new() },
                metadata: metadata.into_iter().map(text).collect(),
                body: AttestationBody::Late(Arc::new(Late { captured, index, bridge, options })),
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
        let options = Options { builder: asked.builder, usage: asked.usage, ..Options::default() };
        let mut recorded = BTreeMap::new();
        for one in &self.results {
            let statement = self.statement(bridge, one, &options, Outputs::AtHand).await?;
            recorded.insert(one.id.clone(), statement);
        }
        Ok(recorded)
    }

    async fn statement(
        &self,
        bridge: &BuildBridge,
        one: &OneResult,
        options: &Options,
        outputs: Outputs,
    ) -> Result<Vec<u8>> {
        let layers = match options.mode {
            Mode::Max => layers(bridge, one, outputs).await,
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
            usage: self.machine.as_ref().map(|machine| machine.told()).unwrap_or_default(),
        };
        let (used, asked, options) = (one.used.clone(), one.asked.clone(), options.clone());
        let (graph, definition) = (Arc::clone(&one.graph), Arc::clone(&one.reference.definition));
        let make = move || {
            let predicate = Predicate::new(&used, asked, (&graph, &definition), run, &options)?;
            Ok(predicate.with_layers(layers).to_json(options.version))
        };
        let made = tokio::task::spawn_blocking(make).await;
        made.unwrap_or_else(|e| Err(Error::internal(format!("making a statement ended: {e}"))))
    }
}

/// What is said of one platform.
struct Late {
    captured: Arc<Captured>,
    index: usize,
    bridge: BuildBridge,
    options: Options,
}

#[async_trait]
impl LateBody for Late {
    async fn make(&self) -> Result<Bytes> {
        let one = &self.captured.results[self.index];
        let made = self.captured.statement(&self.bridge, one, &self.options, Outputs::Known);
        Ok(made.await?.into())
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").field("index", &self.index).field("options", &self.options).finish()
    }
}

/// Which outputs a statement tells the layers of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outputs {
    /// Those that the build holds: to look for the others takes time that a build which nobody asked about has not.
    AtHand,
    /// Also those that it found for the steps above them.
    Known,
}

/// The layers of outputs, where they are there as blobs.
async fn layers(bridge: &BuildBridge, one: &OneResult, outputs: Outputs) -> Layers {
    let mut layers = Layers::new();
    let mut looked_at = 0;
    for output in bridge.lineage(&one.reference).await.unwrap_or_default().into_iter().take(OUTPUTS) {
        let value = match (&output.value, outputs) {
            (Some(value), _) => value.clone(),
            (None, Outputs::Known) => known(bridge, &output).await,
            (None, Outputs::AtHand) => None,
        };
        let Some(value) = value else { continue };
        let blobs = value.known_blobs(refs::Compression::default());
        looked_at += blobs.len();
        if looked_at > LAYERS {
            break;
        }
        let Some(blobs) = blobs.into_iter().collect::<Option<Vec<_>>>().filter(|b| !b.is_empty()) else {
            continue;
        };
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

/// What the build found for an output, without having to make it.
async fn known(bridge: &BuildBridge, output: &Lineage<Value>) -> Option<ImmutableRef> {
    let records = &bridge.parts().records;
    for key in output.keys.iter().filter(|key| !key.is_foreign()) {
        for record in records.keys.records(key).unwrap_or_default() {
            if let Ok(Some(value)) = records.results.load(&record.result).await {
                return value;
            }
        }
    }
    None
}
