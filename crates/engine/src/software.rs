//! Lists of the software in refs, made by the engine itself.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result, ResultExt as _};
use frontend::sbom::listed;
use frontend::{Attestation, LateBody, Ref};
use jiff::Timestamp;
use progress::Step;
use sbom::{Document, Inventory};
use snapshot::View;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::bridge::BuildBridge;

/// As exporters name who supplements lists of others.
const TOOL: &str = concat!("kiln-v", env!("CARGO_PKG_VERSION"));

/// A file system that is to be listed.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Scratch where it has no id.
    pub reference: Ref,
    /// What the list is called: `sbom` for the result itself.
    pub name: String,
    /// The platform, for people.
    pub platform: String,
    /// When the list says that it was made, in seconds since 1970; `None` is now.
    pub epoch: Option<i64>,
}

/// What can be said of a ref. It is looked at when the first exporter asks.
pub fn list(bridge: BuildBridge, wanted: Wanted) -> Attestation {
    let name = wanted.name.clone();
    listed(&name, Arc::new(List { bridge, wanted, started: Timestamp::now(), made: OnceCell::new() }))
}

struct List {
    bridge: BuildBridge,
    wanted: Wanted,
    started: Timestamp,
    made: OnceCell<Bytes>,
}

#[async_trait]
impl LateBody for List {
    async fn make(&self) -> Result<Bytes> {
        self.made.get_or_try_init(|| self.look()).await.cloned()
    }
}

impl List {
    async fn look(&self) -> Result<Bytes> {
        let Wanted { reference, name, platform, epoch } = &self.wanted;
        let step = self.bridge.named_step(&format!("[{platform}] generating sbom `{name}`"));
        let work = async {
            let view = match self.bridge.value(reference).await? {
                Some(value) => value.view().await?,
                None => View::empty(),
            };
            let tree = Tree { view, cancel: self.bridge.cancel().clone() };
            let inventory =
                scan(tree).await.with_context(|| format!("failed to list what `{name}` holds"))?;
            tell(&step, &inventory);
            let created = epoch.and_then(|seconds| Timestamp::from_second(seconds).ok());
            let document = Document { name, tool: TOOL, created: created.unwrap_or(self.started) };
            Ok(Bytes::from(inventory.to_spdx(document)))
        };
        let made = work.await;
        step.finish(made)
    }
}

async fn scan(tree: Tree) -> Result<Inventory> {
    let done = tokio::task::spawn_blocking(move || sbom::scan(&tree)).await;
    done.unwrap_or_else(|e| Err(Error::internal(format!("a scan ended unexpectedly: {e}"))))
}

/// What was found, and what was not read.
fn tell(step: &Step, inventory: &Inventory) {
    step.status(&inventory.summary(), 0, 0, Timestamp::now(), true);
    for note in &inventory.notes {
        step.log(2, Bytes::from(format!("{note}\n")));
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// A file system for a scan.
struct Tree {
    view: View,
    /// Ends the scan.
    cancel: CancellationToken,
}

impl sbom::Root for Tree {
    fn walk(&self, each: &mut dyn FnMut(&[u8], u32) -> Result<()>) -> Result<()> {
        for entry in self.view.walk(b"")? {
            if self.cancel.is_cancelled() {
                return Err(Error::canceled());
            }
            let entry = entry?;
            if entry.meta.is_file() {
                each(&entry.path, entry.meta.mode)?;
            }
        }
        Ok(())
    }

    fn open(&self, path: &[u8]) -> Result<Option<File>> {
        match self.view.stat(path)? {
            Some(meta) if meta.is_file() => self.view.open(path).map(Some),
            _ => Ok(None),
        }
    }
}
