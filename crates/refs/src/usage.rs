//! Who takes how much room.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use errdefs::Result;
use jiff::Timestamp;

use crate::filter::Filter;
use crate::node::Node;
use crate::record::{Kind, RecordType, RefId};
use crate::refs::{Inner, Refs, blocking};

/// One state, as `du` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    pub id: String,
    pub mutable: bool,
    pub in_use: bool,
    /// Bytes.
    pub size: u64,
    pub parents: Vec<String>,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub usage_count: u64,
    pub description: String,
    pub record_type: RecordType,
    /// Needed by something else than builds.
    pub shared: bool,
}

impl Refs {
    /// All states that a filter matches, smallest first.
    pub async fn usage(&self, filter: &Filter) -> Result<Vec<UsageRecord>> {
        let (refs, filter) = (self.0.clone(), filter.clone());
        blocking(move || {
            let nodes = refs.nodes();
            let in_use = in_use(&nodes);
            let mut records = Vec::new();
            for node in &nodes {
                let mut record = describe(node, in_use.contains(&node.id));
                if filter.matches(&record) {
                    record.size = refs.size(node)?;
                    records.push(record);
                }
            }
            records.sort_by(|a, b| (a.size, &a.id).cmp(&(b.size, &b.id)));
            Ok(records)
        })
        .await
    }
}

impl Inner {
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.state().nodes.values().cloned().collect()
    }

    /// Bytes of the trees and blobs of a state alone.
    pub fn size(&self, node: &Node) -> Result<u64> {
        let (known, kind, blobs) = {
            let record = node.record();
            (record.size, record.kind.clone(), record.blobs.clone())
        };
        let changes = matches!(kind, Kind::Scratch { .. });
        if let Some(size) = known.filter(|_| !changes) {
            return Ok(size);
        }
        let mut size = 0;
        for tree in kind.own_trees() {
            // One that is being removed takes no room.
            size += self.snapshots.usage(&tree).unwrap_or(0);
        }
        let came = match &kind {
            Kind::Layer { blob, .. } => blob.as_deref(),
            _ => None,
        };
        let digests: HashSet<_> = blobs.values().chain(came).map(|blob| &blob.descriptor.digest).collect();
        for digest in digests {
            size += self.content.size(digest).unwrap_or(0);
        }
        node.record().size = Some(size);
        self.save(node);
        Ok(size)
    }
}

/// A record without its size.
pub fn describe(node: &Node, in_use: bool) -> UsageRecord {
    let record = node.record();
    UsageRecord {
        id: node.id.to_string(),
        mutable: matches!(record.kind, Kind::Scratch { .. }),
        in_use,
        size: 0,
        parents: record.kind.parents().into_iter().map(str::to_owned).collect(),
        created_at: record.created_at,
        last_used_at: record.last_used_at,
        usage_count: record.usage_count,
        description: record.description.clone(),
        record_type: record.record_type,
        shared: false,
    }
}

/// The states that somebody holds, or that one of those is made of. That a state is made of another does not by itself
/// make that one used.
fn in_use(nodes: &[Arc<Node>]) -> HashSet<RefId> {
    let mut made_of: HashMap<&RefId, usize> = HashMap::new();
    for node in nodes {
        for parent in node.parents.all() {
            *made_of.entry(&parent.node().id).or_default() += 1;
        }
    }
    let mut used = HashSet::new();
    let mut todo: Vec<&Arc<Node>> =
        nodes.iter().filter(|node| node.holders() > made_of.get(&node.id).copied().unwrap_or(0)).collect();
    while let Some(node) = todo.pop() {
        if used.insert(node.id.clone()) {
            todo.extend(node.parents.all().into_iter().map(|parent| parent.node()));
        }
    }
    used
}
