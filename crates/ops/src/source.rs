//! Fetches bytes from somewhere.

use std::any::Any;

use async_trait::async_trait;
use errdefs::Result;
use oci::Platform;
use solver::{CacheMap, CacheMapPart, Op, OpContext};
use source::{Context, Source};

use crate::domain::{BuildDomain, Value};
use crate::key;
use crate::vertex::Ops;

pub struct SourceOp {
    source: Box<dyn Source>,
}

impl SourceOp {
    pub fn new(ops: &Ops, op: &llb::SourceOp, platform: &Platform) -> Result<Self> {
        Ok(SourceOp { source: ops.parts().sources.identify(op, platform)? })
    }
}

#[async_trait]
impl Op<BuildDomain> for SourceOp {
    async fn cache_map(
        &self,
        cx: &OpContext<BuildDomain>,
        index: usize,
    ) -> Result<CacheMapPart<BuildDomain>> {
        let found = self.source.key(&context(cx), index).await?;
        let key = key::source(&found.text);
        let mut map = CacheMap::new(key.digest);
        map.transient = found.transient;
        map.ingredients = key.ingredients;
        Ok(CacheMapPart { map, done: found.done })
    }

    async fn exec(&self, cx: &OpContext<BuildDomain>, _: Vec<Value>) -> Result<Vec<Option<Value>>> {
        Ok(vec![Some(cx.while_wanted(self.source.snapshot(&context(cx))).await?)])
    }
}

/// What the source of an op stands for, as far as it was asked; nothing for other ops.
pub fn pin(op: &dyn Op<BuildDomain>) -> Option<String> {
    (op as &dyn Any).downcast_ref::<SourceOp>()?.source.pin()
}

/// What a source may use, from what an op may.
fn context(cx: &OpContext<BuildDomain>) -> Context {
    let builds = cx.job_contexts();
    Context {
        sessions: builds.first().map(|b| b.sessions.clone()).unwrap_or_default(),
        session_ids: builds.iter().map(|b| b.session.clone()).collect(),
        step: cx.step.clone(),
        cancel: cx.cancel.clone(),
        meanings: builds.first().map(|b| b.meanings.clone()).unwrap_or_default(),
    }
}
