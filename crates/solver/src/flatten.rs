//! A graph of pointers as a list, inputs first.

use std::collections::HashMap;
use std::sync::Arc;

use oci::Digest;

use crate::core::Spec;
use crate::op::Domain;
use crate::vertex::Vertex;

/// All vertices below one, and it itself at the end. Position by position the same in both lists.
pub(crate) struct Graph<D: Domain> {
    pub specs: Vec<Spec>,
    pub vertices: Vec<Arc<Vertex<D>>>,
}

impl<D: Domain> Graph<D> {
    /// Vertices of one digest are one. Walks with a stack of its own: graphs may be deep.
    pub fn below(target: &Arc<Vertex<D>>) -> Self {
        let mut graph = Graph { specs: Vec::new(), vertices: Vec::new() };
        let mut positions: HashMap<Digest, usize> = HashMap::new();
        let mut stack = vec![(target, 0)];
        while let Some((vertex, next)) = stack.pop() {
            if positions.contains_key(&vertex.digest) {
                continue;
            }
            if let Some(edge) = vertex.inputs.get(next) {
                stack.push((vertex, next + 1));
                stack.push((&edge.vertex, 0));
                continue;
            }
            let inputs = vertex.inputs.iter().map(|e| (positions[&e.vertex.digest], e.index)).collect();
            positions.insert(vertex.digest.clone(), graph.specs.len());
            graph.specs.push(Spec {
                digest: vertex.digest.clone(),
                name: vertex.name.as_str().into(),
                inputs,
                ignore_cache: vertex.options.ignore_cache,
            });
            graph.vertices.push(vertex.clone());
        }
        graph
    }
}
