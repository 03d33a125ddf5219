//! Copies of a source that has changed a little since it was copied last.
//!
//! A context of which few files changed comes as the one before with a small tree on top. Where the earlier copy of it
//! is still there, only that tree is copied: the result is a revision of the earlier one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use errdefs::{Error, Result};
use llb::{Copy, FileActionKind};
use refs::{ImmutableRef, Refs};
use snapshot::{CopyOptions, Earlier, LayerId, View};

use crate::domain::Value;

/// Copies that are remembered.
const MOST: usize = 64;

/// The last copies.
#[derive(Default)]
pub struct Copies(Mutex<VecDeque<Done>>);

/// A copy that was made.
struct Done {
    what: What,
    /// The layers that were copied from.
    source: Vec<LayerId>,
    /// The state that came of it.
    result: String,
}

/// What a copy is, but for the source.
#[derive(Debug, Clone, PartialEq, Eq)]
struct What {
    op: Arc<llb::FileOp>,
    /// The states that it works with; the source's place is empty.
    inputs: Vec<Option<String>>,
}

/// A copy that is the whole of an op.
pub struct Task {
    what: What,
    copy: Copy,
    base: Option<ImmutableRef>,
    source: ImmutableRef,
}

impl Task {
    /// `None` where an op does something else beside, or needs its source for something else too.
    pub fn of(op: &Arc<llb::FileOp>, inputs: &[Value], users: &[i64]) -> Option<Self> {
        let [action] = &op.actions[..] else { return None };
        let (FileActionKind::Copy(copy), 0) = (&action.kind, action.output) else { return None };
        if action.input == action.secondary_input || users.contains(&action.secondary_input) {
            return None;
        }
        let input = |number: i64| inputs.get(usize::try_from(number).ok()?)?.clone();
        let (base, source) = (input(action.input), input(action.secondary_input)?);
        let mut inputs: Vec<_> = inputs.iter().map(|i| i.as_ref().map(|r| r.id().to_owned())).collect();
        inputs[usize::try_from(action.secondary_input).ok()?] = None;
        Some(Task { what: What { op: op.clone(), inputs }, copy: copy.clone(), base, source })
    }
}

impl Copies {
    /// Notes what came of a task.
    pub async fn remember(&self, task: &Task, result: &ImmutableRef) -> Result<()> {
        let source = task.source.chain().await?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|done| done.what != task.what);
        if all.len() == MOST {
            all.pop_front();
        }
        all.push_back(Done { what: task.what.clone(), source, result: result.id().to_owned() });
        Ok(())
    }

    /// Does a task by what was done before; `None` where that does not help.
    pub async fn redo(
        &self,
        refs: &Refs,
        task: &Task,
        options: CopyOptions,
        name: &str,
    ) -> Result<Option<ImmutableRef>> {
        let from = task.source.view().await?;
        let Some((before, result)) = self.find(task, from.chain()) else { return Ok(None) };
        let Some(result) = refs.get(&result) else { return Ok(None) };
        let base = match &task.base {
            Some(base) => base.view().await?,
            None => View::empty(),
        };
        let (on, snapshots) = (result.view().await?, refs.snapshots().clone());
        let (tree, copy) = (refs.new_tree()?, task.copy.clone());
        let done = tokio::task::spawn_blocking(move || {
            let earlier = Earlier { base: &base, from: &snapshots.view(&before)? };
            let mut builder = tree.builder(on);
            let (src, dest) = (copy.src.as_bytes(), copy.dest.as_bytes());
            Ok::<_, Error>(match builder.recopy(earlier, &from, src, dest, &options)? {
                true => Some(builder.finish()?),
                false => None,
            })
        });
        match done.await.map_err(|e| Error::internal(format!("file action: {e}")))?? {
            Some(tree) => refs.revise(&result, tree, name).await.map(Some),
            None => Ok(None),
        }
    }

    /// The layers and the result of an earlier copy of which the source has more layers now.
    fn find(&self, task: &Task, chain: &[LayerId]) -> Option<(Vec<LayerId>, String)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = all.iter().find(|done| done.what == task.what)?;
        let is_more =
            !done.source.is_empty() && done.source.len() < chain.len() && chain.starts_with(&done.source);
        is_more.then(|| (done.source.clone(), done.result.clone()))
    }
}
