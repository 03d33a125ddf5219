//! SOURCE_DATE_EPOCH: the time that nothing in an image may be later than.

use std::collections::BTreeMap;

use errdefs::{Error, Result};

use crate::Exportable;
use crate::attrs::Attrs;
use crate::exportable::ResultPlatform;

const ATTRIBUTE: &str = "source-date-epoch";
const BUILD_ARG: &str = "build-arg:SOURCE_DATE_EPOCH";
const METADATA: &str = "source.date.epoch";

/// What the attributes say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Epoch {
    /// Nothing, so that the frontend may.
    #[default]
    Unset,
    /// There is none, whatever the frontend says.
    Never,
    /// Seconds since 1970.
    At(i64),
}

impl Epoch {
    pub fn take(attrs: &mut Attrs) -> Result<Self> {
        match attrs.take(ATTRIBUTE) {
            None => Ok(Epoch::Unset),
            Some(text) if text.is_empty() => Ok(Epoch::Never),
            Some(text) => Ok(Epoch::At(parse(&text, &format!("invalid {ATTRIBUTE}"))?)),
        }
    }

    /// The time that holds for a platform of a result, in seconds since 1970.
    pub fn of(self, result: &Exportable, platform: &ResultPlatform) -> Result<Option<i64>> {
        match self {
            Epoch::At(seconds) => Ok(Some(seconds)),
            Epoch::Never => Ok(None),
            Epoch::Unset => match result.metadata.get(METADATA).or_else(|| result.key(METADATA, platform)) {
                None => Ok(None),
                Some(value) if value.is_empty() => Ok(None),
                Some(value) => {
                    let text = String::from_utf8_lossy(value);
                    parse(&text, &format!("invalid SOURCE_DATE_EPOCH from frontend: {text:?}")).map(Some)
                }
            },
        }
    }
}

/// The attribute that the options of a build stand for, where an exporter has none of its own. What is no time is left to
/// the frontend, for which it may be the name of a stage.
pub fn of_build_args(opts: &BTreeMap<String, String>) -> Option<(&'static str, &str)> {
    let value = opts.get(BUILD_ARG)?;
    (value.is_empty() || value.parse::<i64>().is_ok()).then_some((ATTRIBUTE, value))
}

fn parse(text: &str, context: &str) -> Result<i64> {
    text.parse().map_err(|e| Error::user(format!("{context}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_of_build_args_go_to_exporters() {
        for (value, expected) in [
            (Some("5"), Some("5")),
            (Some("-5"), Some("-5")),
            (Some(""), Some("")),
            (Some("context"), None),
            (Some("5s"), None),
            (None, None),
        ] {
            let opts = value.map(|value| (BUILD_ARG.to_owned(), value.to_owned())).into_iter().collect();
            assert_eq!(of_build_args(&opts), expected.map(|value| (ATTRIBUTE, value)), "{value:?}");
        }
    }
}
