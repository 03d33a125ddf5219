//! The `--flags` of an instruction.

use std::collections::BTreeMap;

use crate::{Error, Result, suggest};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// `--x`, `--x=true` or `--x=false`.
    Switch,
    One,
    Many,
}

/// Flags that were given.
#[derive(Debug, Default)]
pub(super) struct Flags(BTreeMap<&'static str, Vec<String>>);

impl Flags {
    /// # Errors
    /// For flags that are unknown, repeated, or lack their value.
    pub fn read(given: &[String], known: &[(&'static str, Takes)]) -> Result<Flags> {
        let mut values: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for flag in given {
            let (dashed, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag.as_str(), None),
            };
            let fault = |message: String| Error::new(message).about(dashed);
            let name = dashed.strip_prefix("--").unwrap_or(dashed);
            let Some(&(name, takes)) = known.iter().find(|(known, _)| *known == name) else {
                let message = format!("unknown flag: {dashed}");
                return Err(fault(suggest::append(message, name, known.iter().map(|(known, _)| *known))));
            };
            if takes != Takes::Many && values.contains_key(name) {
                return Err(fault(format!("duplicate flag specified: {dashed}")));
            }
            let missing = || fault(format!("missing a value on flag: {dashed}"));
            let value = match (takes, value) {
                (Takes::Switch, None) => "true".to_owned(),
                (Takes::Switch, Some("")) => return Err(missing()),
                (Takes::Switch, Some(value)) => match value.to_lowercase().as_str() {
                    lower @ ("true" | "false") => lower.to_owned(),
                    _ => {
                        return Err(fault(format!(
                            "expecting boolean value for flag {dashed}, not: {value}"
                        )));
                    }
                },
                (_, value) => value.ok_or_else(missing)?.to_owned(),
            };
            values.entry(name).or_default().push(value);
        }
        Ok(Flags(values))
    }

    /// The value, or nothing.
    pub fn one(&mut self, name: &str) -> String {
        self.0.remove(name).and_then(|v| v.into_iter().next()).unwrap_or_default()
    }

    pub fn many(&mut self, name: &str) -> Vec<String> {
        self.0.remove(name).unwrap_or_default()
    }

    pub fn switch(&mut self, name: &str) -> Option<bool> {
        self.0.remove(name).map(|v| v.first().is_some_and(|v| v == "true"))
    }
}
