//! The keys of an image, in BuildKit's form.
//!
//! | ingredient | in the key of the manifest | in the key of the layers |
//! |---|---|---|
//! | digest of index or manifest | yes | no: other names of the same layers are to match |
//! | platform, with version and features | yes: an index is for several | no |
//! | number of layers to take | yes | by the layers themselves |
//! | reference, resolve mode, checksum | no: they lead to the digest | no |

use errdefs::{Error, Result};
use oci::{ChainId, Digest, ImageConfig, Platform};
use serde::Serialize;

/// Under what an image is found by its manifest.
pub fn of_manifest(digest: &Digest, platform: &Platform, limit: Option<usize>) -> Digest {
    #[derive(Serialize)]
    struct Ingredients<'a> {
        #[serde(rename = "Digest")]
        digest: &'a Digest,
        #[serde(rename = "OS")]
        os: &'a str,
        #[serde(rename = "Arch")]
        architecture: &'a str,
        #[serde(rename = "Variant", skip_serializing_if = "str::is_empty")]
        variant: &'a str,
        #[serde(rename = "OSVersion", skip_serializing_if = "str::is_empty")]
        os_version: &'a str,
        #[serde(rename = "OSFeatures", skip_serializing_if = "<[String]>::is_empty")]
        os_features: &'a [String],
        #[serde(rename = "Limit", skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
    }
    Digest::of(oci::json::to_vec(&Ingredients {
        digest,
        os: &platform.os,
        architecture: &platform.architecture,
        variant: &platform.variant,
        os_version: &platform.os_version,
        os_features: &platform.os_features,
        limit,
    }))
}

/// Under what an image is found by its layers: their chain. A config that is none of an image stands for itself; one
/// without layers has no such key.
pub fn of_config(config: &[u8], limit: Option<usize>) -> Result<Option<Digest>> {
    let parsed: ImageConfig = match serde_json::from_slice(config) {
        Ok(parsed) => parsed,
        Err(e) if limit.is_some() => return Err(Error::user(format!("failed to parse image config: {e}"))),
        Err(_) => return Ok(Some(Digest::of(config))),
    };
    let diff_ids = &parsed.rootfs.diff_ids;
    let kept = limit.unwrap_or(diff_ids.len());
    if kept > diff_ids.len() {
        return Err(Error::user(format!("image has {} layers, limit is {kept}", diff_ids.len())));
    }
    match parsed.rootfs.kind.as_str() {
        "layers" => Ok(ChainId::of(&diff_ids[..kept]).map(|chain| chain.0)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ingredient_of_a_manifest_key_counts() {
        let platform = Platform::new("linux", "amd64", "");
        let digest = Digest::of("x");
        let key = of_manifest(&digest, &platform, None);
        let json = format!(r#"{{"Digest":"{digest}","OS":"linux","Arch":"amd64"}}"#);
        assert_eq!(key, Digest::of(json));
        let limited = format!(r#"{{"Digest":"{digest}","OS":"linux","Arch":"amd64","Limit":2}}"#);
        assert_eq!(of_manifest(&digest, &platform, Some(2)), Digest::of(limited));
        for other in ["linux/arm64", "windows/amd64", "linux/amd64/v2", "linux(1)/amd64", "linux(+f)/amd64"] {
            assert_ne!(of_manifest(&digest, &other.parse().expect("valid"), None), key, "{other}");
        }
        assert_ne!(of_manifest(&Digest::of("y"), &platform, None), key);
    }

    #[test]
    fn layers_are_a_key_of_their_own() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{a}","{b}"]}}}}"#);
        let check = |config: &str, limit, expected: Option<Digest>| {
            assert_eq!(of_config(config.as_bytes(), limit).ok().flatten(), expected, "{config}");
        };
        check(&config, None, Some(Digest::of(format!("{a} {b}"))));
        check(&config, Some(1), Some(a.clone()));
        check(&config, Some(3), None);
        check("[]", None, Some(Digest::of("[]")));
        check("{}", None, None);
        check(&format!(r#"{{"rootfs":{{"type":"other","diff_ids":["{a}"]}}}}"#), None, None);
    }
}
