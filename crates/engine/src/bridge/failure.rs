//! What is left of a step that failed, for a frontend that wants to look into it.

use errdefs::{Detail, Error};
use llb::Definition;
use oci::Digest;
use ops::Value;

use super::{BuildBridge, Known};

impl BuildBridge {
    /// Adds the op that failed, and ids for its inputs and its mounts.
    pub(super) fn with_failure(&self, definition: &Definition, error: Error) -> Error {
        if error.details().iter().any(|d| matches!(d, Detail::Solve { .. })) {
            return error;
        }
        let failed = error.details().iter().rev().find_map(|d| match d {
            Detail::Vertex { digest } => digest.parse::<Digest>().ok(),
            _ => None,
        });
        let Some(failed) = failed else { return error };
        let op = definition.ops.iter().find(|op| Digest::of(op) == failed);
        let left = self.inner.context.failures.of(&failed).unwrap_or_default();
        error.with_detail(Detail::Solve {
            input_ids: self.name_all(left.inputs),
            mount_ids: self.name_all(left.mounts),
            op: op.map(|op| op.to_vec()).unwrap_or_default(),
            subject: left.subject,
        })
    }

    /// Empty ids stand for nothing.
    fn name_all(&self, values: Vec<Value>) -> Vec<String> {
        let name = |value: Value| match value {
            Some(value) => self.name(Known::Value(Some(value))),
            None => String::new(),
        };
        values.into_iter().map(name).collect()
    }
}
