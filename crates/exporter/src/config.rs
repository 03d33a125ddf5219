//! The image config: that of the frontend, with layers, history and time put in.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Error, Result};
use oci::json::{compact, to_vec};
use oci::{DiffId, History, ImageConfig, Platform, RootFs, RunConfig};
use serde_json::value::RawValue;

use crate::history::{self, Entry};
use crate::time::Time;

/// The field with the build cache of an image.
const INLINE_CACHE: &str = "moby.buildkit.cache.v0";

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is put into a config.
pub struct Patch<'a> {
    pub diff_ids: Vec<DiffId>,
    /// One entry per layer, and more.
    pub history: Vec<Entry>,
    /// Nothing is later than that.
    pub epoch: Option<Time>,
    /// The config of the image that this one is built on.
    pub base: Option<&'a [u8]>,
    /// Records of the build cache.
    pub inline_cache: Option<Vec<u8>>,
}

/// The config of an image for which the frontend gave none.
pub fn default_config() -> Vec<u8> {
    let platform = Platform::host();
    let run = RunConfig {
        env: vec![format!("PATH={DEFAULT_PATH}")],
        working_dir: "/".into(),
        ..RunConfig::default()
    };
    to_vec(&ImageConfig {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        config: run,
        ..ImageConfig::default()
    })
}

/// Puts a patch into a config. Fields that are not known stay as they stand; those of the outermost level are sorted.
pub fn patch(config: &[u8], mut patch: Patch<'_>) -> Result<Vec<u8>> {
    let mut fields = fields(config)?;
    if let Some(epoch) = &patch.epoch {
        let base = patch.base.map(history::parse).transpose()?.unwrap_or_default();
        history::clamp(&mut patch.history, &base, epoch);
    }
    if let Some(records) = &patch.inline_cache {
        fields.insert(INLINE_CACHE.into(), text(to_vec(&STANDARD.encode(records))));
    }
    let created = created(fields.get("created"), &patch)?;
    fields.insert("created".into(), created);
    fields.insert("rootfs".into(), rootfs(&patch.diff_ids));
    let history: Vec<History> = patch.history.into_iter().map(History::from).collect();
    let history = if history.is_empty() { "null".into() } else { text(to_vec(&history)) };
    fields.insert("history".into(), history);

    let mut out = String::from("{");
    for (name, value) in &fields {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&text(to_vec(name)));
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    Ok(out.into_bytes())
}

fn fields(config: &[u8]) -> Result<BTreeMap<String, String>> {
    let invalid = |e| Error::user(format!("invalid image config for export: {e}"));
    let raw: Option<BTreeMap<String, Box<RawValue>>> = serde_json::from_slice(config).map_err(invalid)?;
    let raw = raw.ok_or_else(|| Error::user("invalid null image config for export"))?;
    let known: ImageConfig = serde_json::from_slice(config).map_err(invalid)?;
    for (name, value) in [("os", &known.os), ("architecture", &known.architecture)] {
        if value.is_empty() {
            return Err(Error::user(format!("invalid image config for export: missing {name}")));
        }
    }
    Ok(raw.into_iter().map(|(name, value)| (name, compact(value.get()))).collect())
}

/// That of the config, or else of the last entry that has one.
fn created(given: Option<&String>, patch: &Patch<'_>) -> Result<String> {
    let Some(given) = given else {
        let last = patch.history.iter().rev().find_map(|entry| entry.created.as_ref());
        return Ok(last.map_or("null".into(), |last| text(to_vec(last.as_str()))));
    };
    let Some(epoch) = &patch.epoch else { return Ok(given.clone()) };
    let created: Option<String> = serde_json::from_str(given)
        .map_err(|e| Error::user(format!("failed to unmarshal creation time {given:?}: {e}")))?;
    let Some(created) = created else { return Ok(given.clone()) };
    let created = Time::parse(&created)?;
    let clamped = created.clone().clamp(epoch);
    Ok(if clamped == created { given.clone() } else { text(to_vec(clamped.as_str())) })
}

/// The layers, as a config names them.
pub fn rootfs(diff_ids: &[DiffId]) -> String {
    match diff_ids {
        // Go's empty list.
        [] => r#"{"type":"layers","diff_ids":null}"#.into(),
        diff_ids => text(to_vec(&RootFs { kind: "layers".into(), diff_ids: diff_ids.to_vec() })),
    }
}

fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).expect("JSON is text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::LayerInfo;

    fn made(config: &str, layers: &[(&str, &str)], epoch: Option<i64>) -> Result<String> {
        let mut history = history::parse(config.as_bytes())?;
        let infos: Vec<_> = layers
            .iter()
            .map(|(name, created)| LayerInfo {
                description: (*name).into(),
                created: Time::parse(created).expect("a time"),
            })
            .collect();
        history::fit(&mut history, &infos);
        let diff_ids = layers.iter().map(|(name, _)| DiffId(oci::Digest::of(name))).collect();
        let epoch = epoch.map(|s| Time::from_seconds(s).expect("a time"));
        patch(config.as_bytes(), Patch { diff_ids, history, epoch, base: None, inline_cache: None }).map(text)
    }

    /// What BuildKit made of these layers and this config.
    #[test]
    fn configs_are_buildkits_own() {
        let config = r#"{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":["/d"],"WorkingDir":"/","Labels":{"x":"y"}},
            "rootfs": {"type":"layers","diff_ids":null},
            "history":[{"created_by":"COPY Dockerfile /d # buildkit","comment":"buildkit.dockerfile.v0"},{"created_by":"LABEL x=y","comment":"buildkit.dockerfile.v0","empty_layer":true},{"created_by":"COPY Dockerfile /e # buildkit","comment":"buildkit.dockerfile.v0"},{"created_by":"ENTRYPOINT [\"/d\"]","comment":"buildkit.dockerfile.v0","empty_layer":true}]}"#;
        let layers = [("d", "2026-11-24T03:21:02.272439639Z"), ("e", "2026-11-24T03:21:02.320514228Z")];
        let (d, e) = (oci::Digest::of("d"), oci::Digest::of("e"));
        let expected = format!(
            r#"{{"architecture":"amd64","config":{{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":["/d"],"WorkingDir":"/","Labels":{{"x":"y"}}}},"created":"2026-11-24T03:21:02.320514228Z","history":[{{"created":"2026-11-24T03:21:02.272439639Z","created_by":"COPY Dockerfile /d # buildkit","comment":"buildkit.dockerfile.v0"}},{{"created":"2026-11-24T03:21:02.320514228Z","created_by":"LABEL x=y","comment":"buildkit.dockerfile.v0","empty_layer":true}},{{"created":"2026-11-24T03:21:02.320514228Z","created_by":"COPY Dockerfile /e # buildkit","comment":"buildkit.dockerfile.v0"}},{{"created":"2026-11-24T03:21:02.320514228Z","created_by":"ENTRYPOINT [\"/d\"]","comment":"buildkit.dockerfile.v0","empty_layer":true}}],"os":"linux","rootfs":{{"type":"layers","diff_ids":["{d}","{e}"]}}}}"#
        );
        assert_eq!(made(config, &layers, None).expect("a config"), expected);
        let clamped = made(config, &layers, Some(1_600_000_000)).expect("a config");
        assert_eq!(clamped.matches("2020-09-13T12:26:40Z").count(), 5);
    }

    #[test]
    fn an_image_without_layers_says_null() {
        let config = r#"{"architecture":"amd64","os":"linux","config":{"Labels":{"a":"<b>&"}},"history":[{"created_by":"LABEL a=<b>&","comment":"buildkit.dockerfile.v0","empty_layer":true}]}"#;
        let expected = r#"{"architecture":"amd64","config":{"Labels":{"a":"\u003cb\u003e\u0026"}},"created":null,"history":[{"created_by":"LABEL a=\u003cb\u003e\u0026","comment":"buildkit.dockerfile.v0","empty_layer":true}],"os":"linux","rootfs":{"type":"layers","diff_ids":null}}"#;
        assert_eq!(made(config, &[], None).expect("a config"), expected);
    }

    #[test]
    fn unknown_fields_stay() {
        let config = r#"{ "os": "linux", "zzz": { "b" : [ 1.50 , "a \" b" ] }, "architecture": "arm64", "created": "2021-01-01T00:00:00Z" }"#;
        let made = made(config, &[], Some(0)).expect("a config");
        assert!(made.contains(r#""zzz":{"b":[1.50,"a \" b"]}"#), "{made}");
        assert!(made.contains(r#""created":"1970-01-01T00:00:00Z""#), "{made}");
    }

    #[test]
    fn bad_configs_are_refused() {
        for (config, expected) in [
            ("null", "invalid null image config for export"),
            (r#"{"architecture":"amd64"}"#, "invalid image config for export: missing os"),
            (r#"{"os":"linux"}"#, "invalid image config for export: missing architecture"),
            ("[]", "failed to unmarshal history from config: "),
        ] {
            let e = made(config, &[], None).expect_err(config).to_string();
            assert!(e.starts_with(expected), "{e}");
        }
    }

    #[test]
    fn the_default_config_is_complete() {
        let made = made(&text(default_config()), &[("x", "2020-01-01T00:00:00Z")], None).expect("a config");
        assert!(
            made.contains(r#""config":{"Env":["PATH=/usr"#) && made.contains(r#""created_by":"x""#),
            "{made}"
        );
    }
}
