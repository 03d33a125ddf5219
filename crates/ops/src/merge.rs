//! Stacks its inputs.

use async_trait::async_trait;
use errdefs::Result;
use solver::{CacheMap, CacheMapPart, Dep, Op, OpContext};

use crate::domain::{BuildDomain, Value};
use crate::key;
use crate::vertex::Ops;

pub struct MergeOp {
    ops: Ops,
    op: llb::MergeOp,
    name: String,
}

impl MergeOp {
    pub fn new(ops: Ops, op: llb::MergeOp, name: String) -> Self {
        MergeOp { ops, op, name }
    }
}

#[async_trait]
impl Op<BuildDomain> for MergeOp {
    async fn cache_map(&self, _: &OpContext<BuildDomain>, _: usize) -> Result<CacheMapPart<BuildDomain>> {
        Ok(CacheMapPart::only(keyed(key::merge(&self.op), self.op.inputs.len())))
    }

    async fn exec(&self, _: &OpContext<BuildDomain>, inputs: Vec<Value>) -> Result<Vec<Option<Value>>> {
        let refs: Vec<_> = inputs.into_iter().flatten().collect();
        if refs.is_empty() {
            return Ok(vec![Some(None)]);
        }
        let merged = self.ops.parts().refs.merge(refs, self.name.as_str());
        Ok(vec![Some(Some(merged))])
    }
}

/// A cache map whose inputs count by their definitions.
pub fn keyed(key: key::Key, inputs: usize) -> CacheMap<BuildDomain> {
    CacheMap {
        deps: std::iter::repeat_with(Dep::plain).take(inputs).collect(),
        ingredients: key.ingredients,
        ..CacheMap::new(key.digest)
    }
}
