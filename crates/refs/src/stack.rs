//! Merges and differences: states that are made of the layers of others.

use std::sync::Arc;

use errdefs::{Error, Result};
use snapshot::{LayerId, Part};

use crate::blobs::Trees;
use crate::node::{ImmutableRef, Node, Parents};
use crate::record::{Kind, Stack, Tree};
use crate::refs::{Inner, blocking};

impl Inner {
    /// The trees of a merge or a difference, made where they are not there.
    pub async fn stack(self: &Arc<Self>, node: &Arc<Node>) -> Result<Vec<LayerId>> {
        if let Some(chain) = stacked(node) {
            // What it is made of must be there too.
            for parent in node.made_of() {
                self.chain(parent.node()).await?;
            }
            return Ok(chain);
        }
        let _one_at_a_time = node.making.lock().await;
        if let Some(chain) = stacked(node) {
            return Ok(chain);
        }
        let made = match &node.parents {
            Parents::Merge(parents) => self.merge(parents).await?,
            Parents::Diff { lower, upper } => self.difference(lower.as_ref(), upper.as_ref()).await?,
            Parents::None | Parents::Layer(_) | Parents::Revision(_) => {
                return Err(Error::internal(format!("`{}` is no stack", node.id)));
            }
        };
        let chain = made.chain.iter().map(|tree| tree.0.clone()).collect::<Vec<_>>();
        if let Kind::Merge { stack, .. } | Kind::Diff { stack, .. } = &mut node.record().kind {
            *stack = Some(made);
        }
        node.recount();
        let _ = node.chain.set(chain.clone());
        self.save(node);
        Ok(chain)
    }

    async fn merge(self: &Arc<Self>, parents: &[ImmutableRef]) -> Result<Stack> {
        let mut below = Vec::new();
        let mut parts = Vec::new();
        for (i, parent) in parents.iter().enumerate() {
            let chain = self.chain(parent.node()).await?;
            if i == 0 {
                // The lowest is a good chain already.
                below = chain;
            } else {
                self.make_whole(parent).await?;
                parts.extend(parts_of(parent));
            }
        }
        self.put_on(below, parts, Vec::new()).await
    }

    /// Sees to it that each layer of the state is one tree.
    async fn make_whole(self: &Arc<Self>, state: &ImmutableRef) -> Result<()> {
        let mut next = Some(state.clone());
        while let Some(state) = next.take() {
            next = match &state.node().parents {
                Parents::Layer(parent) => Some(parent.clone()),
                // The others are layers of the merge.
                Parents::Merge(parents) => parents.first().cloned(),
                Parents::Revision(_) => {
                    self.whole(state.node()).await?;
                    state.below_layer()
                }
                Parents::None | Parents::Diff { .. } => None,
            };
        }
        Ok(())
    }

    async fn whole(self: &Arc<Self>, node: &Arc<Node>) -> Result<()> {
        let _one_at_a_time = node.making.lock().await;
        if whole(node).is_some() {
            return Ok(());
        }
        let (snapshots, Trees { layers, .. }) = (self.snapshots.clone(), self.trees_and_base(node).await?);
        let made = blocking(move || snapshots.flatten(&layers)).await?;
        if let Kind::Revision { whole, .. } = &mut node.record().kind {
            *whole = Some(Tree(made));
        }
        node.recount();
        self.save(node);
        Ok(())
    }

    async fn difference(
        self: &Arc<Self>,
        lower: Option<&ImmutableRef>,
        upper: Option<&ImmutableRef>,
    ) -> Result<Stack> {
        let mut chains = Vec::with_capacity(2);
        for side in [lower, upper] {
            chains.push(match side {
                Some(side) => self.chain(side.node()).await?,
                None => Vec::new(),
            });
        }
        let [lower_chain, upper_chain] = chains.try_into().map_err(|_| Error::internal("two sides"))?;
        if let Some(upper) = upper
            && upper.is_one_layer_on(lower)
        {
            let layer =
                upper_chain.last().cloned().ok_or_else(|| Error::internal("a layer without a tree"))?;
            return self.put_on(Vec::new(), vec![Part { layer, base: lower_chain }], Vec::new()).await;
        }
        let (snapshots, base) = (self.snapshots.clone(), lower_chain.clone());
        let layer = blocking(move || {
            snapshots.diff(&snapshots.view(&base)?, &snapshots.view(&upper_chain)?)?.commit()
        })
        .await?;
        self.put_on(Vec::new(), vec![Part { layer: layer.clone(), base: lower_chain }], vec![layer]).await
    }

    /// Puts parts on a chain; `own` are layers that were made for it already.
    async fn put_on(
        self: &Arc<Self>,
        below: Vec<LayerId>,
        parts: Vec<Part>,
        mut own: Vec<LayerId>,
    ) -> Result<Stack> {
        let snapshots = self.snapshots.clone();
        blocking(move || {
            let chain = snapshots.stack(&below, &parts)?;
            own.extend(
                chain[below.len()..]
                    .iter()
                    .zip(&parts)
                    .filter(|(layer, part)| **layer != part.layer)
                    .map(|(layer, _)| layer.clone()),
            );
            let trees = |layers: Vec<LayerId>| layers.into_iter().map(Tree).collect();
            Ok(Stack { chain: trees(chain), own: trees(own) })
        })
        .await
    }
}

/// A layer of several trees as one tree.
fn whole(node: &Node) -> Option<LayerId> {
    match &node.record().kind {
        Kind::Revision { whole, .. } => whole.as_ref().map(|tree| tree.0.clone()),
        _ => None,
    }
}

fn stacked(node: &Node) -> Option<Vec<LayerId>> {
    match &node.record().kind {
        Kind::Merge { stack, .. } | Kind::Diff { stack, .. } => {
            stack.as_ref().map(|stack| stack.chain.iter().map(|tree| tree.0.clone()).collect())
        }
        _ => None,
    }
}

/// The layers of a state whose trees are there, each with the chain that it was made on.
fn parts_of(state: &ImmutableRef) -> Vec<Part> {
    let mut parts = Vec::new();
    // Topmost first; a state stands for the layers that it adds to what is below it.
    let mut next = Some(state.clone());
    while let Some(state) = next.take() {
        let node = state.node();
        let chain = node.chain.get().cloned().or_else(|| stacked(node)).unwrap_or_default();
        match &node.parents {
            Parents::None => parts.extend(chain.into_iter().map(|layer| Part { layer, base: Vec::new() })),
            Parents::Layer(parent) => {
                if let Some((layer, base)) = chain.split_last() {
                    parts.push(Part { layer: layer.clone(), base: base.to_vec() });
                }
                next = Some(parent.clone());
            }
            Parents::Revision(_) => {
                let below = state.below_layer();
                let base = below.and_then(|below| below.node().chain.get().cloned()).unwrap_or_default();
                let layer = whole(node).or_else(|| chain.last().cloned());
                parts.extend(layer.map(|layer| Part { layer, base }));
                next = state.below_layer();
            }
            Parents::Merge(parents) => {
                // On the lowest lies one tree for each layer of the others.
                let bases: Vec<_> = parents.iter().skip(1).flat_map(parts_of).map(|part| part.base).collect();
                let own = &chain[chain.len().saturating_sub(bases.len())..];
                let stack = own.iter().zip(bases).map(|(layer, base)| Part { layer: layer.clone(), base });
                parts.extend(stack.collect::<Vec<_>>().into_iter().rev());
                next = parents.first().cloned();
            }
            Parents::Diff { lower, .. } => {
                let base =
                    lower.as_ref().and_then(|lower| lower.node().chain.get().cloned()).unwrap_or_default();
                parts.extend(chain.into_iter().rev().map(|layer| Part { layer, base: base.clone() }));
            }
        }
    }
    parts.reverse();
    parts
}
