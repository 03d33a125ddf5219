use serde::{Deserialize, Serialize};

use super::form::{self, Base64};
use super::{Location, table};
use crate::instruction::Dockerfile;

/// The answer to `frontend.targets`: the stages of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Targets {
    #[serde(with = "form::null_list")]
    pub targets: Vec<Target>,
    /// The text of the file.
    #[serde(with = "form::null_list")]
    pub sources: Vec<Base64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Built when no target is asked for.
    #[serde(skip_serializing_if = "form::is_default")]
    pub default: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub base: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    pub location: Location,
}

impl Targets {
    /// The stages as they are written: variables are not expanded.
    pub fn of(file: &Dockerfile, text: &[u8]) -> Self {
        let count = file.stages.len();
        let targets = (1..).zip(&file.stages).map(|(number, stage)| Target {
            name: stage.name.clone(),
            default: number == count,
            description: stage.description.clone(),
            base: stage.base.clone(),
            platform: stage.platform.clone(),
            location: Location::new(&stage.place.ranges()),
        });
        Targets { targets: targets.collect(), sources: vec![Base64(text.to_vec())] }
    }

    pub fn text(&self) -> String {
        let names: Vec<String> = self
            .targets
            .iter()
            .map(|t| match (t.name.as_str(), t.default) {
                ("", true) => "(default)".to_owned(),
                (name, true) => format!("{name} (default)"),
                (name, false) => name.to_owned(),
            })
            .collect();
        let mut rows = vec![["TARGET", "DESCRIPTION"]];
        rows.extend(names.iter().zip(&self.targets).map(|(name, t)| [name.as_str(), &t.description]));
        table(1, &rows)
    }
}
