use serde::{Deserialize, Serialize};

use super::form::{self, Base64};
use super::{Location, table};

/// The answer to `frontend.outline`: what a target takes from its client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Outline {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "form::nullable")]
    pub args: Vec<Arg>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "form::nullable")]
    pub secrets: Vec<Requirement>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "form::nullable")]
    pub ssh: Vec<Requirement>,
    /// The text of the file.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "form::nullable")]
    pub sources: Vec<Base64>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Arg {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    pub location: Location,
}

/// A secret or an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Requirement {
    pub name: String,
    #[serde(skip_serializing_if = "form::is_default")]
    pub required: bool,
    pub location: Location,
}

impl Outline {
    pub fn text(&self) -> String {
        let mut out = String::new();
        if !self.name.is_empty() || !self.description.is_empty() {
            let name = if self.name.is_empty() { "(default)" } else { &self.name };
            let mut rows = vec![["TARGET:", name]];
            if !self.description.is_empty() {
                rows.push(["DESCRIPTION:", &self.description]);
            }
            out.push_str(&table(1, &rows));
            out.push('\n');
        }
        if !self.args.is_empty() {
            let mut rows = vec![["BUILD ARG", "VALUE", "DESCRIPTION"]];
            rows.extend(self.args.iter().map(|a| [a.name.as_str(), &a.value, &a.description]));
            out.push_str(&table(3, &rows));
            out.push('\n');
        }
        for (title, list) in [("SECRET", &self.secrets), ("SSH", &self.ssh)] {
            if !list.is_empty() {
                let mut rows = vec![[title, "REQUIRED"]];
                rows.extend(list.iter().map(|r| [r.name.as_str(), if r.required { "true" } else { "" }]));
                out.push_str(&table(3, &rows));
                out.push('\n');
            }
        }
        out
    }
}
