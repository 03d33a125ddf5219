//! Source policies that people keep in files.

use std::path::Path;

use client::SourcePolicy;
use errdefs::{Result, ResultExt as _};

use crate::environment::Environment;

/// Names the file, as for buildx.
const VARIABLE: &str = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";

pub(crate) fn read(path: &Path) -> Result<SourcePolicy> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("failed to read the source policy `{}`", path.display()))?;
    SourcePolicy::parse(&bytes).with_context(|| format!("`{}`", path.display()))
}

/// The policy that the environment names.
pub(crate) fn of(env: &Environment) -> Result<Option<SourcePolicy>> {
    env.filled(VARIABLE).map(|path| read(&env.cwd.join(path))).transpose()
}
