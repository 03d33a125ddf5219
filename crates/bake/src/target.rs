//! Targets: what a build is asked for.

use std::collections::BTreeMap;

use crate::entries::{Attestation, Cache, Entry, Output, Policy, Resources, Secret, Ssh};
use crate::origin::{Origin, Origins};

/// Text by name, where null says that nothing is set.
pub type TextMap = BTreeMap<String, Option<String>>;

/// A target, as written, merged or resolved. `None` is what nobody set: it leaves room for what is inherited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    pub name: String,
    pub description: String,
    pub inherits: Vec<String>,
    pub annotations: Option<Vec<String>>,
    pub attest: Option<Vec<Attestation>>,
    pub context: Option<String>,
    pub contexts: Option<BTreeMap<String, String>>,
    pub dockerfile: Option<String>,
    pub dockerfile_inline: Option<String>,
    pub args: Option<TextMap>,
    pub labels: Option<TextMap>,
    pub tags: Option<Vec<String>>,
    pub cache_from: Option<Vec<Cache>>,
    pub cache_to: Option<Vec<Cache>>,
    /// The stage of the Dockerfile.
    pub target: Option<String>,
    pub secret: Option<Vec<Secret>>,
    pub ssh: Option<Vec<Ssh>>,
    pub platforms: Option<Vec<String>>,
    pub output: Option<Vec<Output>>,
    pub pull: Option<bool>,
    pub no_cache: Option<bool>,
    pub network: Option<String>,
    pub no_cache_filter: Option<Vec<String>>,
    pub shm_size: Option<String>,
    pub ulimits: Option<Vec<String>>,
    pub resources: Option<Resources>,
    pub call: Option<String>,
    pub entitlements: Option<Vec<String>>,
    pub extra_hosts: Option<TextMap>,
    pub policy: Option<Vec<Policy>>,
    /// Whether it is built only because another target has it as a context.
    pub linked: bool,
    /// Where each attribute came from.
    pub origins: Origins,
    /// The file of the block.
    pub(crate) defined_in: Option<u16>,
    pub(crate) bases: Bases,
}

/// Folders that relative contexts count from, where they count from the file and not from the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bases {
    /// The folder of the file that defined the target, for where nobody sets a context.
    pub default: Option<String>,
    pub context: Option<String>,
    /// The target whose context this one's was set to.
    pub context_of: Option<String>,
    pub contexts: BTreeMap<String, String>,
}

/// A group: names of targets and groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    pub name: String,
    pub description: String,
    pub targets: Vec<String>,
}

impl Target {
    /// Lays another over this one: what is set there replaces, joins or adds to what is here, by the attribute.
    pub fn merge(&mut self, over: &Target) {
        self.bases.merge(over);
        replace(&mut self.context, &over.context);
        replace(&mut self.dockerfile, &over.dockerfile);
        replace(&mut self.dockerfile_inline, &over.dockerfile_inline);
        replace(&mut self.tags, &over.tags);
        replace(&mut self.target, &over.target);
        replace(&mut self.call, &over.call);
        replace(&mut self.platforms, &over.platforms);
        replace(&mut self.cache_to, &over.cache_to);
        replace(&mut self.output, &over.output);
        replace(&mut self.pull, &over.pull);
        replace(&mut self.no_cache, &over.no_cache);
        replace(&mut self.network, &over.network);
        replace(&mut self.shm_size, &over.shm_size);
        if !over.description.is_empty() {
            self.description.clone_from(&over.description);
        }
        join_text(&mut self.args, &over.args);
        join_text(&mut self.labels, &over.labels);
        join_text(&mut self.extra_hosts, &over.extra_hosts);
        if let Some(over) = &over.contexts {
            self.contexts.get_or_insert_default().extend(over.clone());
        }
        if let Some(over) = &over.resources {
            self.resources.get_or_insert_default().0.extend(over.0.clone());
        }
        join(&mut self.attest, &over.attest);
        join(&mut self.secret, &over.secret);
        join(&mut self.ssh, &over.ssh);
        join(&mut self.cache_from, &over.cache_from);
        append(&mut self.annotations, &over.annotations);
        append(&mut self.policy, &over.policy);
        append(&mut self.no_cache_filter, &over.no_cache_filter);
        append(&mut self.ulimits, &over.ulimits);
        append(&mut self.entitlements, &over.entitlements);
        self.inherits.extend(over.inherits.iter().cloned());
        self.origins.merge(&over.origins);
    }

    /// Says of everything that is set where it came from.
    pub(crate) fn set_origin(&mut self, origin: &Origin) {
        let maps = [("args", &self.args), ("labels", &self.labels), ("extra-hosts", &self.extra_hosts)];
        let mut names: Vec<String> = maps
            .iter()
            .flat_map(|(name, map)| map.iter().flatten().map(move |(key, _)| format!("{name}.{key}")))
            .collect();
        names.extend(self.contexts.iter().flatten().map(|(key, _)| format!("contexts.{key}")));
        let set = [
            ("attest", self.attest.is_some()),
            ("cache-from", self.cache_from.is_some()),
            ("cache-to", self.cache_to.is_some()),
            ("context", self.context.is_some()),
            ("dockerfile", self.dockerfile.is_some()),
            ("dockerfile-inline", self.dockerfile_inline.is_some()),
            ("network", self.network.is_some()),
            ("no-cache", self.no_cache.is_some()),
            ("no-cache-filter", self.no_cache_filter.is_some()),
            ("output", self.output.is_some()),
            ("platforms", self.platforms.is_some()),
            ("pull", self.pull.is_some()),
            ("secret", self.secret.is_some()),
            ("shm-size", self.shm_size.is_some()),
            ("ssh", self.ssh.is_some()),
            ("tags", self.tags.is_some()),
            ("target", self.target.is_some()),
            ("ulimits", self.ulimits.is_some()),
        ];
        names.extend(set.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (*name).to_owned()));
        for name in names {
            self.origins.set(name, origin.clone());
        }
    }

    /// Drops doubles and what is empty.
    pub fn normalize(&mut self) {
        for texts in [
            &mut self.annotations,
            &mut self.tags,
            &mut self.platforms,
            &mut self.no_cache_filter,
            &mut self.ulimits,
        ] {
            distinct(texts);
        }
        normalize(&mut self.attest);
        normalize(&mut self.secret);
        normalize(&mut self.ssh);
        normalize(&mut self.cache_from);
        normalize(&mut self.cache_to);
        normalize(&mut self.output);
        if self.network.as_deref() == Some("host") {
            self.entitlements.get_or_insert_default().push("network.host".into());
            self.origins.add("entitlements", Origin::implied("network = \"host\""));
        }
        distinct(&mut self.entitlements);
        if let Some(contexts) = &mut self.contexts {
            contexts.retain(|_, v| !v.is_empty());
        }
        self.contexts.take_if(|c| c.is_empty());
    }
}

impl Bases {
    fn merge(&mut self, over: &Target) {
        replace(&mut self.default, &over.bases.default);
        if over.context.is_some() {
            self.context.clone_from(&over.bases.context);
            self.context_of.clone_from(&over.bases.context_of);
        }
        for name in over.contexts.iter().flat_map(BTreeMap::keys) {
            match over.bases.contexts.get(name) {
                Some(base) => _ = self.contexts.insert(name.clone(), base.clone()),
                None => _ = self.contexts.remove(name),
            }
        }
    }
}

fn replace<T: Clone>(own: &mut Option<T>, over: &Option<T>) {
    if over.is_some() {
        own.clone_from(over);
    }
}

fn append<T: Clone>(own: &mut Option<Vec<T>>, over: &Option<Vec<T>>) {
    if let Some(over) = over {
        own.get_or_insert_default().extend(over.iter().cloned());
    }
}

fn join<E: Entry>(own: &mut Option<Vec<E>>, over: &Option<Vec<E>>) {
    append(own, over);
    if over.is_some() {
        normalize(own);
    }
}

fn join_text(own: &mut Option<TextMap>, over: &Option<TextMap>) {
    for (key, value) in over.iter().flatten() {
        if value.is_some() {
            own.get_or_insert_default().insert(key.clone(), value.clone());
        }
    }
}

fn normalize<E: Entry>(entries: &mut Option<Vec<E>>) {
    *entries = entries.take().map(E::normalize).filter(|e| !e.is_empty());
}

fn distinct(texts: &mut Option<Vec<String>>) {
    if let Some(texts) = texts {
        let mut seen = std::collections::BTreeSet::new();
        texts.retain(|t| !t.is_empty() && seen.insert(t.clone()));
    }
}
