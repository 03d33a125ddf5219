//! Lists of what results hold, where the client asks for them and the frontend made none.

use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::{Error, Result};
use frontend::sbom::{CORE, Scan, ScanOptions, Scanner, ToList};
use frontend::{Bridge as _, BuildResult, Ref, Refs};
use llb::{Definition, Graph};
use oci::Platform;

use crate::bridge::BuildBridge;
use crate::software::{self, Wanted};

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
        if self.options == ScanOptions::BuiltIn {
            return self.list(bridge, result);
        }
        let own = bridge.platforms().into_iter().next().unwrap_or_else(Platform::host);
        let scanner = Scanner::find(bridge, &self.options, own, &self.resolve_mode).await?;
        for platform in exporter::platforms(&result.metadata)? {
            let id = platform.id;
            let Some(reference) = find(result, &id)? else { continue };
            let core = Some(Graph::load(&definition(bridge, reference))?.rebuild(|_, _| ())?.0);
            let scan = Scan { core, ignore_cache: self.ignore_cache, ..Scan::default() };
            scanner.scan(bridge, &id, scan, result).await?;
        }
        Ok(())
    }

    /// Lists of the engine's own, also of what the frontend said that the result was made with.
    fn list(&self, bridge: &BuildBridge, result: &mut BuildResult) -> Result<()> {
        for platform in exporter::platforms(&result.metadata)? {
            let id = platform.id;
            let ToList { extras, epoch } = ToList::take(result, &id).unwrap_or_default();
            let core = find(result, &id)?.map(|reference| (CORE.to_owned(), reference.clone()));
            let extras = extras.into_iter().map(|(name, id)| (name, Ref { id, ..Ref::default() }));
            let wanted = core.into_iter().chain(extras).map(|(name, reference)| {
                let epoch = epoch.or(self.epoch);
                software::list(bridge.clone(), Wanted { reference, name, platform: id.clone(), epoch })
            });
            let lists: Vec<_> = wanted.collect();
            result.attestations.entry(id).or_default().extend(lists);
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
