//! Lists of what results hold, where the client asks for them and the frontend made none.

use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::{Error, Result};
use frontend::sbom::{Scan, ScanOptions, Scanner};
use frontend::{Bridge as _, BuildResult, Ref, Refs};
use llb::{Definition, Graph};
use oci::Platform;

use crate::bridge::BuildBridge;

/// A scan of whatever a build makes.
pub struct Scanning {
    options: ScanOptions,
    resolve_mode: String,
    ignore_cache: bool,
    epoch: Option<i64>,
}

impl Scanning {
    /// What the options of a request ask for.
    pub fn of(attrs: &BTreeMap<String, String>) -> Result<Option<Self>> {
        let Some(options) = provenance::attestations(attrs)?.remove("sbom") else { return Ok(None) };
        Ok(Some(Scanning {
            options: ScanOptions::new(options)?,
            resolve_mode: attrs.get("image-resolve-mode").cloned().unwrap_or_default(),
            ignore_cache: attrs.get("no-cache").is_some_and(String::is_empty),
            epoch: exporter::epoch_of_build_args(attrs).and_then(|(_, value)| value.parse().ok()),
        }))
    }

    /// Adds what is found, in graphs that run when they are exported. Scratch holds nothing, and is left out.
    pub async fn add(&self, bridge: &BuildBridge, result: &mut BuildResult) -> Result<()> {
        if result.has_sbom() {
            return Ok(());
        }
        let own = bridge.platforms().into_iter().next().unwrap_or_else(Platform::host);
        let scanner = Scanner::find(bridge, &self.options, own, &self.resolve_mode).await?;
        for platform in exporter::platforms(&result.metadata)? {
            let id = platform.id;
            let Some(reference) = find(result, &id)? else { continue };
            let core = Some(Graph::load(&definition(bridge, reference))?.rebuild(|_, _| ())?.0);
            let scan = Scan { core, ignore_cache: self.ignore_cache, epoch: self.epoch, ..Scan::default() };
            let made = scanner.scan(bridge, &id, scan).await?;
            result.attestations.entry(id).or_default().extend(made);
        }
        Ok(())
    }
}

/// The ref of a platform; nothing for scratch.
fn find<'a>(result: &'a BuildResult, id: &str) -> Result<Option<&'a Ref>> {
    let found = match &result.refs {
        Refs::None => None,
        Refs::Single(one) => Some(one),
        Refs::Map(map) => Some(map.get(id).ok_or_else(|| Error::user(format!("could not find ref {id}")))?),
    };
    Ok(found.filter(|reference| !reference.id.is_empty()))
}

/// The graph of a ref: clients may give back nothing but its id.
pub(crate) fn definition(bridge: &BuildBridge, reference: &Ref) -> Arc<Definition> {
    let made = bridge.root_frame().find(&reference.id).map(|frame| frame.refs()).unwrap_or_default();
    let made = made.into_iter().find(|known| known.id == reference.id);
    made.map_or_else(|| Arc::clone(&reference.definition), |known| known.definition)
}
