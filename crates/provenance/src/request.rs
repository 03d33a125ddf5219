//! What was asked for, and from where.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::address::without_login;
use crate::capture::Capture;
use crate::material::{self, DigestSet};

/// Options that tell of the machine, not of the build.
const OF_THE_HOST: [&str; 4] = ["cgroup-parent", "image-resolve-mode", "platform", "cache-imports"];

/// What a frontend was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Request {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub frontend: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) secrets: Vec<Wanted>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ssh: Vec<Wanted>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) locals: Vec<Local>,
    /// Who made the graphs that were given along.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, NamedRequest>,
    /// What the client had asked, where it is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Box<NamedRequest>>,
    #[serde(rename = "compatibilityVersion", skip_serializing_if = "Option::is_none")]
    pub(crate) compatibility: Option<i64>,
}

/// A request, and the build file that it names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NamedRequest {
    #[serde(rename = "configSource")]
    pub config_source: ConfigSource,
    pub request: Request,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigSource {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uri: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: DigestSet,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// A secret or an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Wanted {
    id: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Local {
    name: String,
}

impl NamedRequest {
    /// A request to a frontend. `used` says what its context stood for.
    pub fn new(
        frontend: &str,
        opts: &BTreeMap<String, String>,
        inputs: BTreeMap<String, NamedRequest>,
        used: &Capture,
    ) -> Self {
        let mut args = shown(opts);
        let mut config_source = ConfigSource::default();
        let context = match (args.get("contextkey"), args.get("input:context")) {
            (Some(key), _) if !key.is_empty() => key.clone(),
            (_, Some(input)) if !input.is_empty() => "input:context".to_owned(),
            _ => "context".to_owned(),
        };
        if let Some(address) = args.remove(&context).filter(|address| !address.is_empty()) {
            let (uri, digest) = match material::of_address(used, &address) {
                Some(known) => known,
                None => (address, DigestSet::new()),
            };
            config_source.uri = without_login(&uri);
            config_source.digest = digest;
        }
        if let Some(path) = args.remove("filename") {
            config_source.path = path;
        }
        let request = Request { frontend: frontend.to_owned(), args, inputs, ..Request::default() };
        NamedRequest { config_source, request }
    }

    /// Nothing was asked: the client made its graphs itself.
    pub fn is_empty(&self) -> bool {
        let Request { frontend, args, inputs, .. } = &self.request;
        frontend.is_empty() && args.is_empty() && inputs.is_empty()
    }
}

impl Request {
    /// Adds what the capture knows.
    pub(crate) fn with_used(mut self, used: &Capture) -> Self {
        let wanted = |all: &BTreeMap<String, bool>| {
            all.iter().map(|(id, optional)| Wanted { id: id.clone(), optional: *optional }).collect()
        };
        self.secrets = wanted(&used.secrets);
        self.ssh = wanted(&used.ssh);
        self.locals = used.locals.iter().map(|name| Local { name: name.clone() }).collect();
        self
    }

    /// Takes out what is told of the repository that the build belongs to.
    pub(crate) fn take_vcs(&mut self) -> BTreeMap<String, String> {
        let vcs = self.args.extract_if(.., |key, _| key.starts_with("vcs:"));
        vcs.filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key["vcs:".len()..].to_owned(), value))
            .collect()
    }

    /// Takes out what people hand in: arguments, labels, the names of secrets. Says whether an argument or a label went.
    pub(crate) fn reduce(&mut self) -> bool {
        let before = self.args.len();
        self.args.retain(|key, _| !key.starts_with("build-arg:") && !key.starts_with("label:"));
        self.secrets.clear();
        self.ssh.clear();
        let mut reduced = self.args.len() < before;
        for named in self.inputs.values_mut().chain(self.root.as_deref_mut()) {
            reduced |= named.request.reduce();
        }
        reduced
    }
}

/// Options without those that are nobody's business.
fn shown(opts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let context = opts.get("contextkey").filter(|key| !key.is_empty()).map_or("context", String::as_str);
    // Ids of sessions differ each time, and mean nothing once those are over.
    let passes = |key: &str| key.starts_with("attest:") || key.starts_with("local-sessionid:");
    let has_address = |key: &str| key == context || key == "vcs:source" || key.starts_with("context:");
    opts.iter()
        .filter(|(key, _)| !OF_THE_HOST.contains(&key.as_str()) && !passes(key))
        .map(|(key, value)| {
            (key.clone(), if has_address(key) { without_login(value) } else { value.clone() })
        })
        .collect()
}
