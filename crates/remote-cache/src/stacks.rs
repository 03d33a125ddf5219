//! The layers of many results: each stack of them once.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use oci::{Descriptor, Digest};

use crate::config::Layer;

/// Stacks that share what they have in common from the lowest layer on.
#[derive(Debug, Default)]
pub struct Stacks {
    nodes: Vec<Node>,
    known: HashMap<(Option<usize>, Digest), usize>,
    /// The blobs of all layers.
    pub blobs: BTreeMap<Digest, Descriptor>,
}

#[derive(Debug)]
struct Node {
    blob: Digest,
    parent: Option<usize>,
}

impl Stacks {
    /// Adds a stack that is not empty, lowest layer first; gives its top.
    pub fn add(&mut self, descriptors: &[Descriptor]) -> usize {
        let mut top = None;
        for descriptor in descriptors {
            let blob = descriptor.digest.clone();
            self.blobs.entry(blob.clone()).or_insert_with(|| descriptor.clone());
            let next = *self.known.entry((top, blob.clone())).or_insert_with(|| {
                self.nodes.push(Node { blob, parent: top });
                self.nodes.len() - 1
            });
            top = Some(next);
        }
        top.unwrap_or_default()
    }

    /// All layers, sorted by their blobs, and the place of each top in them.
    pub fn layers(&self) -> (Vec<Layer>, Vec<i64>) {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by(|&a, &b| self.compare(a, b));
        let mut places = vec![-1; self.nodes.len()];
        for (place, &node) in order.iter().enumerate() {
            places[node] = place as i64;
        }
        let layer = |&node: &usize| {
            let Node { blob, parent } = &self.nodes[node];
            Layer { blob: blob.clone(), parent: parent.map_or(-1, |parent| places[parent]) }
        };
        (order.iter().map(layer).collect(), places)
    }

    /// By the blob, then by what it lies on, from the top down.
    fn compare(&self, a: usize, b: usize) -> Ordering {
        let (mut left, mut right) = (Some(a), Some(b));
        loop {
            match (left, right) {
                _ if left == right => return Ordering::Equal,
                (Some(l), Some(r)) => match self.nodes[l].blob.cmp(&self.nodes[r].blob) {
                    Ordering::Equal => (left, right) = (self.nodes[l].parent, self.nodes[r].parent),
                    unequal => return unequal,
                },
                (one, other) => return one.is_some().cmp(&other.is_some()),
            }
        }
    }
}
