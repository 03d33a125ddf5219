//! `--list`: what a bake has to offer.

use errdefs::{Error, Result};
use serde_json::{Map, Value as Json, json};

use crate::definition::Definition;

/// What to list, and how: `targets`, `variables`, or `type=targets,format=json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    variables: bool,
    json: bool,
}

impl Wanted {
    fn parse(text: &str) -> Result<Self> {
        let mut wanted = Wanted { variables: false, json: false };
        let mut kind = None;
        for field in text.split(',') {
            match field.split_once('=').unwrap_or(("type", field)) {
                ("type", "targets") => kind = Some(false),
                ("type", "variables") => kind = Some(true),
                ("format", "json") => wanted.json = true,
                ("format", "table") => {}
                _ => {
                    return Err(Error::user(format!("invalid list type: {text}"))
                        .hint("write `targets`, `variables` or `type=targets,format=json`"));
                }
            }
        }
        wanted.variables = kind.ok_or_else(|| Error::user("list type is required"))?;
        Ok(wanted)
    }
}

impl Definition {
    /// The text that `--list` prints. Targets and groups whose names begin with `_` are not told.
    ///
    /// # Errors
    /// If `what` is nothing that can be listed.
    pub fn list(&self, what: &str) -> Result<String> {
        let wanted = Wanted::parse(what)?;
        Ok(match (wanted.variables, wanted.json) {
            (false, true) => pretty(self.offers().into_iter().map(Offer::json).collect()),
            (true, true) => pretty(self.variables.iter().map(variable_json).collect()),
            (false, false) => table(
                &["TARGET", "DESCRIPTION"],
                self.offers().into_iter().map(|o| vec![o.name, o.description]).collect(),
            ),
            (true, false) => table(
                &["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"],
                self.variables
                    .iter()
                    .map(|v| {
                        let value = v.value.clone().unwrap_or_else(|| "<null>".into());
                        vec![v.name.clone(), v.kind.clone(), value, v.description.clone()]
                    })
                    .collect(),
            ),
        })
    }

    /// Targets and groups by name.
    fn offers(&self) -> Vec<Offer> {
        let mut out: Vec<Offer> = Vec::new();
        for group in &self.groups {
            let mut names = group.targets.clone();
            names.sort();
            let description = match (group.description.as_str(), names.join(", ")) {
                ("", names) => names,
                (text, names) if names.is_empty() => text.to_owned(),
                (text, names) => format!("{text} ({names})"),
            };
            out.push(Offer { name: group.name.clone(), description, group: true });
        }
        for target in &self.targets {
            out.push(Offer {
                name: target.name.clone(),
                description: target.description.clone(),
                group: false,
            });
        }
        out.retain(|o| is_shown(&o.name));
        out.sort_by(|a, b| (&a.name, a.group).cmp(&(&b.name, b.group)));
        out
    }
}

struct Offer {
    name: String,
    description: String,
    group: bool,
}

impl Offer {
    fn json(self) -> Json {
        let mut out = Map::new();
        out.insert("name".into(), json!(self.name));
        if !self.description.is_empty() {
            out.insert("description".into(), json!(self.description));
        }
        if self.group {
            out.insert("group".into(), json!(true));
        }
        Json::Object(out)
    }
}

fn variable_json(v: &crate::module::VariableInfo) -> Json {
    let mut out = Map::new();
    out.insert("name".into(), json!(v.name));
    for (key, text) in [("description", &v.description), ("type", &v.kind)] {
        if !text.is_empty() {
            out.insert(key.into(), json!(text));
        }
    }
    if let Some(value) = &v.value {
        out.insert("value".into(), json!(value));
    }
    Json::Object(out)
}

fn is_shown(name: &str) -> bool {
    !name.starts_with('_')
}

fn pretty(items: Vec<Json>) -> String {
    format!("{:#}", Json::Array(items))
}

/// Columns with a tab between.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = head.iter().map(|h| (*h).to_owned()).collect();
    let lines: Vec<String> =
        std::iter::once(head).chain(rows).map(|row: Vec<String>| row.join("\t")).collect();
    lines.join("\n")
}
