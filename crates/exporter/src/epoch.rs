//! SOURCE_DATE_EPOCH: the time that nothing in an image may be later than.

use errdefs::{Error, Result};

use crate::Exportable;
use crate::attrs::Attrs;
use crate::exportable::ResultPlatform;

const ATTRIBUTE: &str = "source-date-epoch";
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

fn parse(text: &str, context: &str) -> Result<i64> {
    text.parse().map_err(|e| Error::user(format!("{context}: {e}")))
}
