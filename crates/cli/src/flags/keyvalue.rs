//! `KEY=VALUE` lists: build arguments and labels.

use std::collections::BTreeMap;

use errdefs::{Error, Result};

/// Reads `KEY=VALUE` flags; later ones win. A bare `KEY` gets what `default` knows, or is dropped.
pub(crate) fn key_values(
    flags: &[String],
    default: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for flag in flags {
        let (key, value) = match flag.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (flag.as_str(), default(flag)),
        };
        if key.is_empty() {
            return Err(Error::user(format!("invalid key-value pair {flag:?}: empty key")));
        }
        if let Some(value) = value {
            out.insert(key.to_owned(), value);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let env = |key: &str| (key == "HOME").then(|| "/root".to_owned());
        let check = |flags: &[&str], expect: &str| {
            let flags: Vec<_> = flags.iter().map(|f| (*f).to_owned()).collect();
            let told = match key_values(&flags, env) {
                Ok(map) => map.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect, "{flags:?}");
        };
        check(&["A=1", "B=", "C=x=y"], "A=1 B= C=x=y");
        check(&["A=1", "A=2"], "A=2");
        check(&["HOME", "UNSET"], "HOME=/root");
        check(&["=V"], "invalid key-value pair \"=V\": empty key");
        check(&[""], "invalid key-value pair \"\": empty key");
    }
}
