//! Which state is missed least.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::node::Node;

/// States in the order in which they are to go: long unused and rarely used first, both counted by rank among all
/// states, as BuildKit counts them among those that may go. A state may be added while others are taken out.
#[derive(Default)]
pub struct Queue {
    used: Ranks<Option<Timestamp>>,
    counts: Ranks<u64>,
    /// Put in before all ranks were known.
    early: Vec<Arc<Node>>,
    heap: BinaryHeap<Weighed>,
}

impl Queue {
    /// Makes the use of a state count.
    pub fn learn(&mut self, node: &Node) {
        let record = node.record();
        self.used.learn(record.last_used_at);
        self.counts.learn(record.usage_count);
    }

    pub fn push(&mut self, node: Arc<Node>) {
        self.early.push(node);
    }

    /// The one that is missed least of those in the queue.
    pub fn pop(&mut self) -> Option<Arc<Node>> {
        for node in self.early.drain(..) {
            let (used, count) = {
                let record = node.record();
                (record.last_used_at, record.usage_count)
            };
            self.heap.push(Weighed { weight: self.used.rank(used) + self.counts.rank(count), node });
        }
        self.heap.pop().map(|weighed| weighed.node)
    }
}

struct Weighed {
    weight: f64,
    node: Arc<Node>,
}

impl Ord for Weighed {
    /// The heap gives the greatest first, and the lightest is to go.
    fn cmp(&self, other: &Self) -> Ordering {
        other.weight.total_cmp(&self.weight).then_with(|| other.node.id.cmp(&self.node.id))
    }
}

impl PartialOrd for Weighed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Weighed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Weighed {}

/// The place of a value among all different ones, from 0 to 1.
struct Ranks<T> {
    values: Vec<T>,
    is_sorted: bool,
}

impl<T> Default for Ranks<T> {
    fn default() -> Self {
        Ranks { values: Vec::new(), is_sorted: true }
    }
}

impl<T: Ord> Ranks<T> {
    fn learn(&mut self, value: T) {
        self.values.push(value);
        self.is_sorted = false;
    }

    fn rank(&mut self, value: T) -> f64 {
        if !self.is_sorted {
            self.values.sort_unstable();
            self.values.dedup();
            self.is_sorted = true;
        }
        let place = self.values.partition_point(|known| *known < value) + 1;
        place as f64 / self.values.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_places_among_different_values() {
        let mut ranks = Ranks::default();
        for value in [5, 1, 5, 9, 1] {
            ranks.learn(value);
        }
        let told = [1, 5, 7, 9].map(|value| (ranks.rank(value) * 3.0).round() as u32);
        assert_eq!(told, [1, 2, 3, 3]);
    }
}
