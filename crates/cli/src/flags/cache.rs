//! `--cache-from` and `--cache-to`.

use std::collections::BTreeMap;

use errdefs::{Error, Result};

use crate::flags::fields;

/// One cache as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheFlag {
    pub kind: String,
    pub attrs: BTreeMap<String, String>,
}

impl CacheFlag {
    /// Reads `REF`, `REF,REF` or `type=…,key=value`.
    pub(crate) fn parse(text: &str) -> Result<Vec<Self>> {
        let fields = fields(text)?;
        if !text.contains('=') {
            return Ok(fields.into_iter().map(Self::registry).collect());
        }
        let (mut kind, mut attrs) = (String::new(), BTreeMap::new());
        for field in &fields {
            let (key, value) =
                field.split_once('=').ok_or_else(|| Error::user(format!("invalid value {field}")))?;
            match key.to_lowercase().as_str() {
                "type" => kind = value.to_owned(),
                key => _ = attrs.insert(key.to_owned(), value.to_owned()),
            }
        }
        match kind.is_empty() {
            true => Err(Error::user(format!("type required for {text:?}"))),
            false => Ok(vec![CacheFlag { kind, attrs }]),
        }
    }

    /// The cache that goes into the image itself.
    pub(crate) fn inline() -> Self {
        CacheFlag { kind: "inline".into(), attrs: BTreeMap::new() }
    }

    fn registry(reference: String) -> Self {
        CacheFlag { kind: "registry".into(), attrs: BTreeMap::from([("ref".into(), reference)]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches() {
        let check = |text: &str, expect: &str| {
            let told = match CacheFlag::parse(text) {
                Ok(all) => {
                    all.iter().map(|c| format!("{} {:?}", c.kind, c.attrs)).collect::<Vec<_>>().join("; ")
                }
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{text}");
        };
        check("a/b:c", "registry {\"ref\": \"a/b:c\"}");
        check("a,b", "registry {\"ref\": \"a\"}; registry {\"ref\": \"b\"}");
        check("type=inline", "inline {}");
        check("type=local,Dest=a=b", "local {\"dest\": \"a=b\"}");
        check("type=registry,\"ref=a,b\"", "registry {\"ref\": \"a,b\"}");
        check("ref=a", "type required for \"ref=a\"");
        check("type=local,dest", "invalid value dest");
    }
}
