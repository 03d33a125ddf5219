//! Flags of `bake` that say the same as `--set`.

use crate::entries::parse_bool;

/// Flags that hold for all targets.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub set: Vec<String>,
    pub push: bool,
    pub load: bool,
    pub no_cache: Option<bool>,
    pub pull: Option<bool>,
    /// What to ask for in place of a build.
    pub call: Option<String>,
    pub sbom: Option<String>,
    pub provenance: Option<String>,
    /// Fields that are added to the policies of all targets.
    pub policy: Vec<String>,
}

impl Flags {
    /// All as `--set` has them; what the user set comes first.
    pub fn overrides(&self) -> Vec<String> {
        let mut out = self.set.clone();
        let mut add = |key: &str, value: Option<String>| out.extend(value.map(|v| format!("*.{key}={v}")));
        add("push", self.push.then(|| "true".into()));
        add("load", self.load.then(|| "true".into()));
        add("call", self.call.as_deref().and_then(question));
        add("no-cache", self.no_cache.map(|b| b.to_string()));
        add("pull", self.pull.map(|b| b.to_string()));
        add("attest", self.sbom.as_deref().and_then(|v| attestation("sbom", v)));
        add("attest", self.provenance.as_deref().and_then(|v| attestation("provenance", v)));
        out.extend(self.policy.iter().map(|fields| format!("*.policy+={fields}")));
        out
    }
}

/// The name of what is asked, without how the answer is shown. `None` for a build.
fn question(call: &str) -> Option<String> {
    match call.split(',').find(|field| !field.contains('='))? {
        "" | "build" => None,
        "check" => Some("lint".into()),
        other => Some(other.to_owned()),
    }
}

/// `--sbom=true` and `--provenance=mode=max` as entries of `attest`. `None` for an empty value.
pub(crate) fn attestation(kind: &str, value: &str) -> Option<String> {
    match (value, parse_bool(value)) {
        ("", _) => None,
        (_, Ok(on)) => Some(format!("type={kind},disabled={}", !on)),
        (other, Err(_)) => Some(format!("type={kind},{other}")),
    }
}
