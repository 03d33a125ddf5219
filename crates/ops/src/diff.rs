//! What one input has beyond another.

use async_trait::async_trait;
use errdefs::Result;
use solver::{CacheMapPart, Op, OpContext};

use crate::domain::{BuildDomain, Value};
use crate::key;
use crate::merge::keyed;
use crate::vertex::Ops;

pub struct DiffOp {
    ops: Ops,
    op: llb::DiffOp,
    name: String,
}

impl DiffOp {
    pub fn new(ops: Ops, op: llb::DiffOp, name: String) -> Self {
        DiffOp { ops, op, name }
    }
}

#[async_trait]
impl Op<BuildDomain> for DiffOp {
    async fn cache_map(&self, _: &OpContext<BuildDomain>, _: usize) -> Result<CacheMapPart<BuildDomain>> {
        let inputs = [self.op.lower, self.op.upper].into_iter().filter(|&i| i != llb::NONE).count();
        Ok(CacheMapPart::only(keyed(key::diff(&self.op), inputs)))
    }

    async fn exec(&self, _: &OpContext<BuildDomain>, inputs: Vec<Value>) -> Result<Vec<Option<Value>>> {
        let side = |index: i64| usize::try_from(index).ok().and_then(|i| inputs.get(i).cloned().flatten());
        let result = match (side(self.op.lower), side(self.op.upper)) {
            (None, upper) => upper,
            (Some(lower), Some(upper)) if lower.id() == upper.id() => None,
            (lower, upper) => {
                Some(self.ops.parts().refs.diff(lower.as_ref(), upper.as_ref(), self.name.as_str()))
            }
        };
        Ok(vec![Some(result)])
    }
}
