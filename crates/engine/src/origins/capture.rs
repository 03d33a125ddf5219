//! What the results of a build were made from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use errdefs::{Error, Result};
use exporter::ResultPlatform;
use frontend::{BuildResult, Ref, Refs};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use llb::Graph;
use oci::{Digest, Platform};
use provenance::{Capture, ImageSource, NamedRequest};

use super::frame::{Frame, each_ref};
use super::machine::Machine;
use crate::bridge::BuildBridge;

/// What is known of the refs of a result.
pub struct Captured {
    pub(super) results: Vec<OneResult>,
    pub(super) platforms: Vec<ResultPlatform>,
    pub(super) started: Timestamp,
    /// When the first statement was made.
    pub(super) finished: OnceLock<Timestamp>,
    /// What the machine did, where somebody wants to know.
    pub(super) machine: Option<Arc<Machine>>,
}

pub struct OneResult {
    /// The platform; empty where there is but one ref.
    pub id: String,
    pub reference: Ref,
    pub graph: Arc<Graph>,
    pub used: Capture,
    pub asked: NamedRequest,
}

impl Captured {
    /// Computes the refs of a result, and asks what they were made from. Scratch was made from nothing, and is left out.
    pub async fn of(
        bridge: &BuildBridge,
        result: &BuildResult,
        started: Timestamp,
        machine: Option<Arc<Machine>>,
    ) -> Result<Self> {
        try_join_all(each_ref(result).map(|reference| bridge.value(reference))).await?;
        let platforms = exporter::platforms(&result.metadata)?;
        let shown: HashSet<&str> = result.all_refs().into_iter().map(|r| r.id.as_str()).collect();
        let mut known = Uses { bridge, known: HashMap::new() };
        let mut results = Vec::new();
        for (id, reference) in by_platform(result) {
            let Some(frame) = bridge.root_frame().find(&reference.id) else { continue };
            let refs = frame.refs();
            // Clients give back nothing but the id.
            let Some(reference) = refs.iter().find(|r| r.id == reference.id).cloned() else { continue };
            let Some(graph) = bridge.graph(&reference)? else { continue };
            let mut used = bridge.used(&graph).await;
            for other in refs.iter().filter(|r| !shown.contains(r.id.as_str())) {
                used.merge(known.of(other).await?);
            }
            for (image, digest) in images(&frame, &id, &platforms) {
                used.add_image(image, Some(digest));
            }
            used.without_doubles();
            let asked = frame.named(&used, bridge.producers());
            results.push(OneResult { id, reference, graph: Arc::new(graph), used, asked });
        }
        Ok(Captured { results, platforms, started, finished: OnceLock::new(), machine })
    }

    /// The place of a platform among the results. Nothing where it is scratch.
    ///
    /// # Errors
    /// When the result has no such platform.
    pub(super) fn of_platform(&self, id: &str, result: &BuildResult) -> Result<Option<usize>> {
        let key = match &result.refs {
            Refs::None | Refs::Single(_) => "",
            Refs::Map(map) if map.contains_key(id) => id,
            Refs::Map(map) => match map.keys().next() {
                Some(only) if map.len() == 1 => only,
                _ => return Err(Error::user(format!("no build info found for provenance {id}"))),
            },
        };
        Ok(self.results.iter().position(|one| one.id == key))
    }
}

/// What refs use, each asked once.
struct Uses<'a> {
    bridge: &'a BuildBridge,
    known: HashMap<String, Capture>,
}

impl Uses<'_> {
    /// Nothing is used by what was never computed.
    async fn of(&mut self, reference: &Ref) -> Result<Capture> {
        if let Some(known) = self.known.get(&reference.id) {
            return Ok(known.clone());
        }
        let used = match self.bridge.graph(reference)? {
            Some(graph) => self.bridge.used(&graph).await,
            None => Capture::default(),
        };
        self.known.insert(reference.id.clone(), used.clone());
        Ok(used)
    }
}

fn by_platform(result: &BuildResult) -> Vec<(String, Ref)> {
    match &result.refs {
        Refs::None => Vec::new(),
        Refs::Single(one) => vec![(String::new(), one.clone())],
        Refs::Map(map) => map.iter().map(|(id, one)| (id.clone(), one.clone())).collect(),
    }
}

/// The images that a frontend looked at. Those that it looked at for all platforms of the result count for their own
/// only.
fn images(frame: &Arc<Frame>, id: &str, platforms: &[ResultPlatform]) -> Vec<(ImageSource, Digest)> {
    let all = frame.images();
    let Some(current) = platforms.iter().find(|p| p.id == id).map(|p| &p.platform) else { return all };
    let mut looked_at: BTreeMap<&str, HashSet<Platform>> = BTreeMap::new();
    for (image, _) in &all {
        let platforms = looked_at.entry(&image.reference).or_default();
        platforms.extend(image.platform.as_ref().map(Platform::normalize));
    }
    let for_each: HashSet<String> = looked_at
        .into_iter()
        .filter(|(_, found)| platforms.iter().all(|p| found.contains(&p.platform)))
        .map(|(reference, _)| reference.to_owned())
        .collect();
    let counts = |image: &ImageSource| match &image.platform {
        Some(p) if for_each.contains(&image.reference) => {
            (&p.os, &p.architecture) == (&current.os, &current.architecture)
        }
        _ => true,
    };
    all.into_iter().filter(|(image, _)| counts(image)).collect()
}
