//! What is said of a vertex but does not enter its digest (`pb.OpMetadata`).

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A group that vertices are shown as. A weak group gives way when a member is also in a strong one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgressGroup {
    pub id: String,
    pub name: String,
    pub weak: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpMetadata {
    /// Run it even if its result is known.
    pub ignore_cache: bool,
    /// `llb.customname` is what the vertex is called.
    pub description: BTreeMap<String, String>,
    /// `Some(false)` keeps the result out of exported caches.
    pub export_cache: Option<bool>,
    /// Those known here are not copied.
    pub caps: BTreeMap<Cow<'static, str>, bool>,
    pub progress_group: Option<ProgressGroup>,
    pub linux_resources: Option<LinuxResources>,
}

/// Limits of a step's cgroup. 0 and "" leave a limit alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinuxResources {
    pub memory: i64,
    pub memory_swap: i64,
    pub cpu_shares: u64,
    pub cpu_period: u64,
    pub cpu_quota: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
}

impl OpMetadata {
    /// Metadata with the name that people see.
    pub fn named(name: impl Into<String>) -> Self {
        let mut metadata = OpMetadata::default();
        metadata.description.insert("llb.customname".into(), name.into());
        metadata
    }

    /// Takes in what is said of an equal vertex. Where both say something, `other` is heard.
    pub fn merge(&mut self, other: &OpMetadata) {
        self.ignore_cache |= other.ignore_cache;
        self.description.extend(other.description.clone());
        self.caps.extend(other.caps.clone());
        if other.export_cache.is_some() {
            self.export_cache = other.export_cache;
        }
        if other.progress_group.is_some() {
            self.progress_group.clone_from(&other.progress_group);
        }
        if other.linux_resources.is_some() {
            self.linux_resources.clone_from(&other.linux_resources);
        }
    }

    /// Notes that the op needs `cap`, an id of [`crate::caps`].
    pub fn need(&mut self, cap: &'static str) {
        self.caps.insert(Cow::Borrowed(cap), true);
    }
}
