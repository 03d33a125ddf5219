//! `--output`.

use std::collections::BTreeMap;

use errdefs::{Error, Result};

use crate::flags::fields;

/// One `--output` as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputFlag {
    pub kind: String,
    pub dest: Option<String>,
    pub attrs: BTreeMap<String, String>,
}

impl OutputFlag {
    /// Reads `PATH`, `-` or `type=…,dest=…,key=value`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let fields = fields(text)?;
        if fields.len() == 1 && fields[0] == text && !text.starts_with("type=") {
            let kind = if text == "-" { "tar" } else { "local" };
            return Ok(OutputFlag { kind: kind.into(), dest: Some(text.into()), attrs: BTreeMap::new() });
        }
        let mut kind = String::new();
        let mut dest = None;
        let mut attrs = BTreeMap::new();
        for field in &fields {
            let (key, value) =
                field.split_once('=').ok_or_else(|| Error::user(format!("invalid value {field}")))?;
            let value = value.to_owned();
            match key.to_lowercase().trim() {
                "type" => kind = value,
                "dest" => dest = Some(value).filter(|d| !d.is_empty()),
                key => {
                    attrs.insert(key.to_owned(), value);
                }
            }
        }
        if kind.is_empty() {
            return Err(Error::user("type is required for output"));
        }
        Ok(OutputFlag { kind, dest, attrs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs() {
        let check = |text: &str, expect: &str| {
            let told = match OutputFlag::parse(text) {
                Ok(o) => format!("{} {} {:?}", o.kind, o.dest.as_deref().unwrap_or("?"), o.attrs),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{text}");
        };
        check("out", "local out {}");
        check("-", "tar - {}");
        check("./a=b/out", "local ./a=b/out {}");
        check("type=local,dest=out", "local out {}");
        check("type=tar", "tar ? {}");
        check("TYPE=image, Name=x,push=true", "image ? {\"name\": \"x\", \"push\": \"true\"}");
        check("type=image,\"name=a,b\"", "image ? {\"name\": \"a,b\"}");
        check("type=image,name", "invalid value name");
        check("dest=x,y=z", "type is required for output");
        check("type=", "type is required for output");
    }
}
