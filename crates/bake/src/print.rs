//! `--print`: targets and groups as a file that says the same.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json, json};

use crate::entries::Entry;
use crate::resolve::Resolved;
use crate::target::{Group, Target, TextMap};

impl Resolved {
    /// As a JSON file of bake, indented by two spaces, without a line end behind it.
    pub fn print(&self) -> String {
        let targets = self.targets.iter().map(|(name, t)| (name.as_str(), target(t)));
        self.around(Ordered(targets.collect()))
    }

    /// The same, with each target below `build`, and beside it what was answered for it, by the name of the question.
    pub fn print_answers(&self, answers: &BTreeMap<String, (String, Json)>) -> String {
        let targets = self.targets.iter().map(|(name, t)| {
            let answer = answers.get(name).map(|(question, answer)| (question.as_str(), answer));
            (name.as_str(), Answered { build: target(t), answer: answer.into_iter().collect() })
        });
        self.around(Ordered(targets.collect()))
    }

    fn around<T: Serialize>(&self, target: Ordered<'_, T>) -> String {
        let groups = || Ordered(self.groups.iter().map(|(name, g)| (name.as_str(), group(g))).collect());
        let file = Printed { group: (!self.groups.is_empty()).then(groups), target };
        // Only text, numbers and lists of them are in it, which can always be written.
        go_escaped(&serde_json::to_string_pretty(&file).unwrap_or_default())
    }
}

#[derive(Serialize)]
struct Printed<'p, T: Serialize> {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Ordered<'p, Ordered<'static, Json>>>,
    target: Ordered<'p, T>,
}

#[derive(Serialize)]
struct Answered<'a> {
    build: Ordered<'static, Json>,
    #[serde(flatten)]
    answer: BTreeMap<&'a str, &'a Json>,
}

/// An object whose members stay in their order.
pub(crate) struct Ordered<'k, V>(pub Vec<(&'k str, V)>);

impl<V: Serialize> Serialize for Ordered<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// Go escapes what would mean something in HTML.
fn go_escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn group(group: &Group) -> Ordered<'static, Json> {
    let mut out = Vec::new();
    if !group.description.is_empty() {
        out.push(("description", json!(group.description)));
    }
    out.push(("targets", json!(group.targets)));
    Ordered(out)
}

/// What would be a template becomes text that is none.
fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

pub(crate) fn target(target: &Target) -> Ordered<'static, Json> {
    let mut out = Writer(Vec::new());
    if !target.description.is_empty() {
        out.0.push(("description", json!(target.description)));
    }
    let annotations = target.annotations.as_ref().map(|all| all.iter().map(|a| escaped(a)).collect());
    out.texts("annotations", &annotations);
    out.entries("attest", &target.attest);
    out.text("context", target.context.clone());
    if let Some(contexts) = target.contexts.as_ref().filter(|c| !c.is_empty()) {
        out.0.push(("contexts", json!(contexts)));
    }
    out.text("dockerfile", target.dockerfile.clone());
    out.text("dockerfile-inline", target.dockerfile_inline.as_deref().map(escaped));
    out.map("args", &target.args);
    out.map("labels", &target.labels);
    out.texts("tags", &target.tags);
    out.entries("cache-from", &target.cache_from);
    out.entries("cache-to", &target.cache_to);
    out.text("target", target.target.clone());
    out.entries("secret", &target.secret);
    out.entries("ssh", &target.ssh);
    out.texts("platforms", &target.platforms);
    out.entries("output", &target.output);
    out.flag("pull", target.pull);
    out.flag("no-cache", target.no_cache);
    out.text("network", target.network.clone());
    out.texts("no-cache-filter", &target.no_cache_filter);
    out.text("shm-size", target.shm_size.clone());
    out.texts("ulimits", &target.ulimits);
    if let Some(resources) = &target.resources {
        out.0.push(("resources", resources.json()));
    }
    out.text("call", target.call.clone());
    out.texts("entitlements", &target.entitlements);
    out.map("extra-hosts", &target.extra_hosts);
    out.entries("policy", &target.policy);
    Ordered(out.0)
}

struct Writer(Vec<(&'static str, Json)>);

impl Writer {
    fn text(&mut self, key: &'static str, text: Option<String>) {
        self.0.extend(text.map(|t| (key, json!(t))));
    }

    fn flag(&mut self, key: &'static str, flag: Option<bool>) {
        self.0.extend(flag.map(|f| (key, json!(f))));
    }

    fn texts(&mut self, key: &'static str, texts: &Option<Vec<String>>) {
        if let Some(texts) = texts.as_ref().filter(|t| !t.is_empty()) {
            self.0.push((key, json!(texts)));
        }
    }

    fn map(&mut self, key: &'static str, map: &Option<TextMap>) {
        if let Some(map) = map.as_ref().filter(|m| !m.is_empty()) {
            let map: Map<String, Json> = map
                .iter()
                .map(|(k, v)| (k.clone(), v.as_deref().map_or(Json::Null, |v| json!(escaped(v)))))
                .collect();
            self.0.push((key, Json::Object(map)));
        }
    }

    fn entries<E: Entry>(&mut self, key: &'static str, entries: &Option<Vec<E>>) {
        if let Some(entries) = entries.as_ref().filter(|e| !e.is_empty()) {
            self.0.push((key, Json::Array(entries.iter().map(E::json).collect())));
        }
    }
}
