//! What is asked for in order not to have it.

use crate::flags::{fields, parse_bool};

/// Whether an `--attest`, `--provenance` or `--sbom` value turns its attestation off.
pub(crate) fn is_disabled_attestation(value: &str) -> bool {
    if parse_bool(value) == Some(false) {
        return true;
    }
    let disables = |field: &String| {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        key.eq_ignore_ascii_case("disabled") && parse_bool(value) == Some(true)
    };
    fields(value).is_ok_and(|f| f.iter().any(disables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attestations() {
        let check = |value, expect| assert_eq!(is_disabled_attestation(value), expect, "{value}");
        check("false", true);
        check("type=provenance,disabled=true", true);
        check("true", false);
        check("mode=max", false);
        check("type=sbom,disabled=false", false);
    }
}
