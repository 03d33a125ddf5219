//! Hands inputs on, so that they stand under one vertex.

use async_trait::async_trait;
use errdefs::{Error, Result};
use solver::{CacheMapPart, Op, OpContext};

use crate::domain::{BuildDomain, Value};
use crate::key;
use crate::merge::keyed;

pub struct PassthroughOp {
    op: llb::PassthroughOp,
    inputs: usize,
}

impl PassthroughOp {
    pub fn new(op: llb::PassthroughOp, inputs: usize) -> Self {
        PassthroughOp { op, inputs }
    }
}

#[async_trait]
impl Op<BuildDomain> for PassthroughOp {
    async fn cache_map(&self, _: &OpContext<BuildDomain>, _: usize) -> Result<CacheMapPart<BuildDomain>> {
        Ok(CacheMapPart::only(keyed(key::passthrough(&self.op), self.inputs)))
    }

    async fn exec(&self, _: &OpContext<BuildDomain>, inputs: Vec<Value>) -> Result<Vec<Option<Value>>> {
        let output = |&index: &i64| {
            let input = usize::try_from(index).ok().and_then(|i| inputs.get(i));
            let missing = || Error::user(format!("invalid passthrough output input index {index}"));
            input.cloned().map(Some).ok_or_else(missing)
        };
        self.op.outputs.iter().map(output).collect()
    }
}
