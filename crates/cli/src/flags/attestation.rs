//! `--attest type=provenance,mode=max`, and the short forms of it.

use std::collections::BTreeMap;

use errdefs::{Error, Result};

use crate::flags::{fields, parse_bool};

/// One attestation that is wanted, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttestationFlag {
    pub kind: String,
    pub disabled: bool,
    pub attrs: BTreeMap<String, String>,
}

impl AttestationFlag {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut flag = AttestationFlag { kind: String::new(), disabled: false, attrs: BTreeMap::new() };
        for field in fields(text)? {
            let (key, value) =
                field.split_once('=').ok_or_else(|| Error::user(format!("invalid value {field}")))?;
            match key.trim().to_lowercase().as_str() {
                "type" => value.clone_into(&mut flag.kind),
                "disabled" => {
                    flag.disabled = parse_bool(value).ok_or_else(|| {
                        let why = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
                        Error::user(format!("invalid value {field}: {why}"))
                    })?;
                }
                _ => drop(flag.attrs.insert(key.to_owned(), value.to_owned())),
            }
        }
        match flag.kind.as_str() {
            "" => Err(Error::user("attestation type not specified")),
            _ => Ok(flag),
        }
    }

    /// The value of `--provenance` or `--sbom`: a truth, or attributes.
    pub(crate) fn short(kind: &str, text: &str) -> Result<Self> {
        match parse_bool(text) {
            Some(wanted) => {
                let kind = kind.to_owned();
                Ok(AttestationFlag { kind, disabled: !wanted, attrs: BTreeMap::new() })
            }
            None => Self::parse(&format!("type={kind},{text}")),
        }
    }

    /// As the engine is told of it.
    pub(crate) fn value(&self) -> String {
        let attrs = self.attrs.iter().map(|(key, value)| format!("{key}={value}"));
        let quoted = [format!("type={}", self.kind)].into_iter().chain(attrs).map(|field| {
            match field.contains(['"', ',', '\n', '\r']) {
                true => format!("\"{}\"", field.replace('"', "\"\"")),
                false => field,
            }
        });
        quoted.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attestations() {
        let check = |flag: Result<AttestationFlag>, expect: &str| {
            let told = match flag {
                Ok(flag) if flag.disabled => format!("no {}", flag.kind),
                Ok(flag) => flag.value(),
                Err(e) => format!("ERROR: {e}"),
            };
            assert_eq!(told, expect);
        };
        let parse = AttestationFlag::parse;
        check(parse("type=sbom,generator=a/b"), "type=sbom,generator=a/b");
        check(
            parse("Type=provenance,\"filename=a,b\",mode=max"),
            "type=provenance,\"filename=a,b\",mode=max",
        );
        check(parse("type=provenance,disabled=true"), "no provenance");
        check(parse("type=provenance,disabled=false"), "type=provenance");
        check(parse("mode=max"), "ERROR: attestation type not specified");
        check(parse("type=sbom,x"), "ERROR: invalid value x");
        check(
            parse("type=sbom,disabled=x"),
            "ERROR: invalid value disabled=x: strconv.ParseBool: parsing \"x\": invalid syntax",
        );
        let short = |text| AttestationFlag::short("provenance", text);
        check(short("true"), "type=provenance");
        check(short("0"), "no provenance");
        check(short("mode=max"), "type=provenance,mode=max");
        check(short("max"), "ERROR: invalid value max");
    }
}
