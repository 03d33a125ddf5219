//! Who takes how much room.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::Digest;

use crate::filter::Filter;
use crate::ledger::blobs_of;
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
    /// All states that a filter matches, smallest first. Looks at every file: what is shared is counted in shares, and
    /// those change with each state that comes or goes.
    pub async fn usage(&self, filter: &Filter) -> Result<Vec<UsageRecord>> {
        let (refs, filter) = (self.0.clone(), filter.clone());
        blocking(move || {
            let nodes = refs.nodes()?;
            let in_use = in_use(&nodes);
            let mut seen = HashSet::new();
            let mut records = Vec::new();
            for node in &nodes {
                let mut record = describe(node, in_use.contains(&node.id));
                // The first that has a blob is said to take its room, also where that one is not asked for.
                let blobs = refs.blob_size(node, &mut seen);
                if filter.matches(&record) {
                    record.size = refs.tree_size(node) + blobs;
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
    pub fn nodes(&self) -> Result<Vec<Arc<Node>>> {
        self.wake_all()?;
        let mut nodes = Vec::new();
        while self.more_nodes(&mut nodes) {}
        Ok(nodes)
    }

    /// Visits all states. Nobody waits for longer than some hundred of them take to be copied.
    pub fn for_each_node(&self, visit: impl FnMut(&Arc<Node>) -> Result<()>) -> Result<()> {
        self.wake_all()?;
        self.for_each_awake(visit)
    }

    /// As [`Inner::for_each_node`], without those that sleep.
    pub fn for_each_awake(&self, mut visit: impl FnMut(&Arc<Node>) -> Result<()>) -> Result<()> {
        let mut some: Vec<Arc<Node>> = Vec::new();
        while self.more_nodes(&mut some) {
            if self.is_closing() {
                return Err(Error::canceled());
            }
            some.iter().try_for_each(&mut visit)?;
            // The last one tells where to go on.
            some.drain(..some.len() - 1);
        }
        Ok(())
    }

    /// Adds some of the states that come after the last one; `false` where there are none.
    fn more_nodes(&self, nodes: &mut Vec<Arc<Node>>) -> bool {
        const AT_ONCE: usize = 512;
        let from = nodes.last().map_or(Bound::Unbounded, |last| Bound::Excluded(last.id.clone()));
        let before = nodes.len();
        nodes.extend(
            self.state().nodes.range((from, Bound::Unbounded)).take(AT_ONCE).map(|(_, node)| node.clone()),
        );
        nodes.len() > before
    }

    /// Bytes of the blobs of a state that were not seen before.
    pub fn blob_size(&self, node: &Node, seen: &mut HashSet<Digest>) -> u64 {
        let new = blobs_of(node).into_iter().filter(|digest| seen.insert(digest.clone()));
        new.map(|digest| self.content.disk_size(&digest).unwrap_or(0)).sum()
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

/// The states that somebody uses, or that one of those is made of. That a state is made of another does not by itself
/// make that one used.
fn in_use(nodes: &[Arc<Node>]) -> HashSet<RefId> {
    let mut used = HashSet::new();
    let mut todo: Vec<&Arc<Node>> = nodes.iter().filter(|node| node.is_used()).collect();
    while let Some(node) = todo.pop() {
        if used.insert(node.id.clone()) {
            todo.extend(node.made_of().into_iter().map(|parent| parent.node()));
        }
    }
    used
}
