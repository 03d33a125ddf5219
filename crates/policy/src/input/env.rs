use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_false;

/// The build for which a source is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Env {
    /// Build arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Option<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Of the Dockerfile, without its folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filename: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The policy is asked for its caps; there is no source.
    #[serde(skip_serializing_if = "is_false")]
    pub caps_request: bool,
    /// 0 for a source of the build, 1 for what that was made from, and so on.
    pub depth: usize,
}

impl Env {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Env::default()
    }

    /// Whether somebody has said something of the build.
    pub(crate) fn is_told(&self) -> bool {
        let texts = [&self.filename, &self.target];
        texts.iter().any(|text| !text.is_empty()) || !self.args.is_empty() || !self.labels.is_empty()
    }
}
