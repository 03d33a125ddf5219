//! Reading the attributes of an exporter.

use std::collections::BTreeMap;

use bytes::Bytes;
use errdefs::{Error, Result};

/// Attributes of which each reader takes its own. What is left in the end is not known.
pub struct Attrs {
    kind: &'static str,
    left: BTreeMap<String, String>,
}

impl Attrs {
    pub fn new(kind: &'static str, attrs: &BTreeMap<String, String>) -> Self {
        Attrs { kind, left: attrs.clone() }
    }

    pub fn take(&mut self, key: &str) -> Option<String> {
        self.left.remove(key)
    }

    /// Those whose key `pick` chooses.
    pub fn take_all(&mut self, mut pick: impl FnMut(&str) -> bool) -> BTreeMap<String, String> {
        self.left.extract_if(.., |key, _| pick(key)).collect()
    }

    /// A truth value; a key without a value is no truth value.
    pub fn bool(&mut self, key: &str) -> Result<Option<bool>> {
        self.take(key).map(|value| parse_bool(key, &value)).transpose()
    }

    /// A truth value; a key without a value means yes.
    pub fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        match self.take(key) {
            Some(value) if value.is_empty() => Ok(Some(true)),
            Some(value) => parse_bool(key, &value).map(Some),
            None => Ok(None),
        }
    }

    /// Says no to an attribute that asks for what is not there.
    pub fn refuse(&mut self, key: &str) -> Result<()> {
        match self.flag(key)? {
            Some(true) => Err(self.unimplemented(key)),
            _ => Ok(()),
        }
    }

    pub fn unimplemented(&self, key: &str) -> Error {
        Error::unimplemented(format!("attribute `{key}` of exporter `{}` is not implemented yet", self.kind))
    }

    /// What is left is metadata for the result when it looks so, as `containerimage.config`; else it is not known.
    pub fn finish(mut self) -> Result<BTreeMap<String, Bytes>> {
        // The first did something once; the others are for the client itself. Stock clients send them all.
        for idle in ["buildinfo", "buildinfo-attrs", "context", "prefer-image-digest"] {
            self.left.remove(idle);
        }
        // Attestations are for the build, not for its exporters, and of no use here.
        self.left.retain(|key, _| !key.starts_with("attest:"));
        if let Some(key) = self.left.keys().find(|key| !key.contains('.')) {
            return Err(Error::user(format!("unknown attribute `{key}` of exporter `{}`", self.kind)));
        }
        Ok(self.left.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect())
    }
}

/// # Errors
/// For what is no truth value, in Go's words.
pub fn parse_bool(key: &str, value: &str) -> Result<bool> {
    oci::parse_bool(value).ok_or_else(|| {
        Error::user(format!(
            "non-bool value specified for {key}: strconv.ParseBool: parsing {value:?}: invalid syntax"
        ))
    })
}
