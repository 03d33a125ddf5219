//! Looks for damage, and drops the records of what is damaged, so that it is made again.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use errdefs::Result;
use oci::Digest;
use snapshot::{CheckedObjects, LayerId};

use crate::blobs::Trees;
use crate::node::Node;
use crate::record::{Kind, RefId};
use crate::refs::{Inner, Refs, blocking};

/// What a check found. All that was damaged is in the folder `damaged` of the store.
#[derive(Debug, Default)]
pub struct Found {
    /// One line each: what is damaged and why.
    pub faults: Vec<String>,
    /// What was dropped for it: states and names of images.
    pub dropped: Vec<String>,
    pub blobs: usize,
    pub layers: usize,
}

impl Refs {
    /// Verifies blobs, objects and layers, sets aside what is damaged and drops what is made of it. Nobody else may use
    /// the store meanwhile.
    pub async fn check(&self) -> Result<Found> {
        let inner = self.0.clone();
        let handle = tokio::runtime::Handle::current();
        blocking(move || inner.check(&handle)).await
    }
}

impl Inner {
    fn check(self: &Arc<Self>, runtime: &tokio::runtime::Handle) -> Result<Found> {
        let lost = std::mem::take(&mut *self.lost_at_start.lock().unwrap_or_else(PoisonError::into_inner));
        let mut found = Found { faults: lost, ..Found::default() };
        self.content.walk(|_, _| {
            found.blobs += 1;
            Ok(())
        })?;
        let blobs: HashSet<Digest> = self.content.check()?.into_iter().collect();
        for digest in &blobs {
            found.faults.push(format!("blob {digest}"));
            self.content.set_aside(digest)?;
        }
        let objects = self.snapshots.check_objects()?;
        found.faults.extend(objects.damaged.iter().map(|name| format!("object {name}")));
        for node in self.nodes()? {
            let trees = node.record().kind.own_trees();
            for tree in trees {
                found.layers += 1;
                if let Some(fault) = self.layer_fault(runtime, &node, &tree, &objects)? {
                    found.faults.push(format!("layer {tree} of `{}`: {fault}", node.record().description));
                    self.snapshots.set_aside(&tree)?;
                }
            }
        }
        self.drop_images(&mut found)?;
        let lost: Vec<Arc<Node>> = self.nodes()?.iter().filter_map(|node| self.lost_part(node)).collect();
        for node in lost {
            found.dropped.extend(self.drop_lost(&node).into_iter().map(|text| format!("`{text}`")));
        }
        self.table.flush()?;
        Ok(found)
    }

    fn layer_fault(
        self: &Arc<Self>,
        runtime: &tokio::runtime::Handle,
        node: &Arc<Node>,
        tree: &LayerId,
        objects: &CheckedObjects,
    ) -> Result<Option<String>> {
        let record = node.record().clone();
        // What is in a cache mount is nobody's but the steps'.
        if matches!(record.kind, Kind::Scratch { .. }) {
            return Ok((!self.snapshots.is_on_disk(tree)?).then(|| "it is gone".into()));
        }
        if let Some(fault) = self.snapshots.check_layer(tree, objects)? {
            return Ok(Some(fault));
        }
        match &record.kind {
            Kind::Layer { blob: Some(blob), .. } => {
                let digest = &blob.descriptor.digest;
                if self.content.contains(digest)
                    && !self.snapshots.holds_archive(tree, self.content.open_verified(digest)?)?
                {
                    return Ok(Some(format!("it is not what blob {digest} unpacks to")));
                }
            }
            Kind::Layer { blob: None, .. } | Kind::Revision { .. } => {
                let Some(packed) = record.blobs.values().next() else { return Ok(None) };
                let Ok(Trees { layers, base }) = runtime.block_on(self.trees_and_base(node)) else {
                    // Below is something damaged, which takes this one with it.
                    return Ok(None);
                };
                let base = self.snapshots.view(&base);
                let diff_id = base.and_then(|base| self.snapshots.diff_id(&base, &layers));
                if diff_id.is_ok_and(|diff_id| diff_id != packed.diff_id) {
                    return Ok(Some(format!("it does not pack to {} any more", packed.diff_id)));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Takes the names of images away whose blobs are not all there.
    fn drop_images(&self, found: &mut Found) -> Result<()> {
        for image in self.images.list()? {
            let mut todo = vec![image.target.digest.clone()];
            let mut whole = true;
            while let Some(digest) = todo.pop() {
                whole &= self.content.contains(&digest) || self.can_be_had(&digest);
                todo.extend(self.named_by(&digest));
            }
            if !whole {
                self.images.remove(&image.name)?;
                found.dropped.push(format!("the image `{}`", image.name));
            }
        }
        Ok(())
    }

    /// Whether some state has this blob as its own, and can make its files without it.
    fn can_be_had(&self, digest: &Digest) -> bool {
        self.all_nodes().iter().any(|node| match &node.record().kind {
            Kind::Layer { tree, blob: Some(blob), twin, .. } => {
                (tree.is_some() || twin.is_some()) && blob.descriptor.digest == *digest
            }
            _ => false,
        })
    }

    /// All states that can be woken.
    fn all_nodes(&self) -> Vec<Arc<Node>> {
        if let Err(e) = self.wake_all() {
            tracing::error!("not all states can be looked up: {e}");
        }
        self.state().nodes.values().cloned().collect()
    }

    /// The state itself or one that it is made of whose layer is not on the disk.
    pub fn lost_part(&self, node: &Arc<Node>) -> Option<Arc<Node>> {
        let (mut todo, mut seen) = (vec![node.clone()], HashSet::<RefId>::new());
        while let Some(node) = todo.pop() {
            if !seen.insert(node.id.clone()) {
                continue;
            }
            let trees = node.record().kind.trees();
            if trees.iter().any(|tree| matches!(self.snapshots.is_on_disk(tree), Ok(false))) {
                return Some(node);
            }
            todo.extend(node.made_of().into_iter().map(|parent| parent.node().clone()));
        }
        None
    }

    /// Makes a state that has lost a layer unknown, with all that are made of it. Those who hold it find out by
    /// themselves. Gives what they were.
    pub fn drop_lost(&self, lost: &Arc<Node>) -> Vec<String> {
        let mut gone: Vec<Arc<Node>> = vec![lost.clone()];
        let mut at = 0;
        while at < gone.len() {
            let id = gone[at].id.clone();
            at += 1;
            for node in self.all_nodes() {
                let is_made_of = node.made_of().iter().any(|parent| parent.node().id == id);
                if is_made_of && !gone.iter().any(|there| there.id == node.id) {
                    gone.push(node);
                }
            }
        }
        let mut told = Vec::new();
        for node in gone.iter().rev() {
            let description = node.record().description.clone();
            if self.forget_node(node) {
                tracing::error!(id = %node.id, "`{description}` lost a layer in the store and is made anew");
                told.push(description);
            }
        }
        told
    }
}
