//! Runs the graph that a file of an input holds.

use async_trait::async_trait;
use errdefs::{Error, Result, ResultExt};
use llb::{Definition, Graph};
use solver::{CacheMapPart, Op, OpContext};

use crate::domain::{BuildDomain, Value};
use crate::key;
use crate::merge::keyed;
use crate::vertex::Ops;

/// The only builder: the definition is LLB.
const LLB_BUILDER: i64 = -1;
/// The input that holds the definition.
const DEFINITION: &str = "buildkit.llb.definition";
/// Names the file of the definition, unless it is the usual one.
const FILENAME: &str = "llbbuild.filename";
const USUAL_FILE: &str = "/buildkit.llb.definition";
/// Bytes of a definition.
const LIMIT: u64 = 64 << 20;

pub struct BuildOp {
    ops: Ops,
    op: llb::BuildOp,
    inputs: usize,
}

impl BuildOp {
    pub fn new(ops: Ops, op: llb::BuildOp, inputs: usize) -> Self {
        BuildOp { ops, op, inputs }
    }

    async fn definition(&self, inputs: &[Value]) -> Result<Definition> {
        if self.op.builder != LLB_BUILDER {
            return Err(Error::user("only LLB builder is currently allowed"));
        }
        let index = self.op.inputs.get(DEFINITION).copied();
        let index =
            index.ok_or_else(|| Error::user(format!("no llb definition input {DEFINITION} found")))?;
        let input = usize::try_from(index).ok().and_then(|i| inputs.get(i));
        let input = input.ok_or_else(|| Error::user(format!("invalid index {index}")))?;
        let file = self.op.attrs.get(FILENAME).map_or(USUAL_FILE, String::as_str);
        let missing = || Error::not_found(format!("failed to open {file}: no such file or directory"));
        let view = input.as_ref().ok_or_else(missing)?.view().await?;
        let path = file.to_owned();
        let read = tokio::task::spawn_blocking(move || view.read(path.as_bytes(), LIMIT)).await;
        let read = read.map_err(|e| Error::internal(format!("a file task ended: {e}")))?;
        Definition::decode(&read?.ok_or_else(missing)?)
    }
}

#[async_trait]
impl Op<BuildDomain> for BuildOp {
    async fn cache_map(&self, _: &OpContext<BuildDomain>, _: usize) -> Result<CacheMapPart<BuildDomain>> {
        Ok(CacheMapPart::only(keyed(key::build(&self.op), self.inputs)))
    }

    async fn exec(&self, cx: &OpContext<BuildDomain>, inputs: Vec<Value>) -> Result<Vec<Option<Value>>> {
        let definition = cx.while_wanted(self.definition(&inputs)).await?;
        if definition.is_empty() {
            return Ok(vec![Some(None)]);
        }
        let is_proxied = cx.job_contexts().iter().any(|build| build.judge.get().is_some());
        let definition = if is_proxied { definition.proxied() } else { Ok(definition) };
        let graph = definition.and_then(|definition| Graph::load(&definition));
        let graph = graph.context("failed to load the definition of a build op")?;
        // It runs for all builds that want it, so each must allow it.
        let mut builds = cx.job_contexts().into_iter();
        let mut entitlements = builds.next().map(|b| b.entitlements.clone()).unwrap_or_default();
        builds.for_each(|b| entitlements.retain(|e| b.entitlements.contains(e)));
        let edge = self.ops.vertex(graph, &entitlements)?;
        Ok(vec![Some(cx.build(edge).await?)])
    }
}
