//! BuildKit's cache config, version 0: which keys there are, how they are linked, and which layers they lead to. The order of
//! fields is Go's, so that the same cache is the same bytes.

use jiff::Timestamp;
use oci::Digest;
use serde::{Deserialize, Serialize};

/// The media type of a config.
pub const MEDIA_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";

/// Keys and layers, linked by their places in the lists.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CacheConfig {
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub layers: Vec<Layer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub records: Vec<Record>,
}

/// A layer on a parent; -1 is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    pub blob: Digest,
    /// Go leaves out a number that is 0.
    #[serde(default, rename = "parent", skip_serializing_if = "is_zero")]
    pub parent: i64,
}

/// A key, with what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    #[serde(
        default,
        rename = "layers",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub results: Vec<LayerResult>,
    #[serde(
        default,
        rename = "chains",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub chains: Vec<ChainResult>,
    pub digest: Digest,
    /// For each input the keys that stand for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub inputs: Vec<Vec<Input>>,
}

/// A layer with all of its parents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerResult {
    pub layer: i64,
    pub created_at: Timestamp,
}

/// Layers one by one, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainResult {
    pub layers: Vec<i64>,
    pub created_at: Timestamp,
}

/// A key that stands for an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub selector: String,
    #[serde(rename = "link")]
    pub record: i64,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// Go writes `null` for a list that was never made.
fn nullable<'de, T, D>(d: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_that_of_go() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let created_at = Timestamp::new(1_700_000_000, 120_000_000).expect("a time");
        let config = CacheConfig {
            layers: vec![Layer { blob: a.clone(), parent: -1 }, Layer { blob: b.clone(), parent: 0 }],
            records: vec![
                Record { results: vec![], chains: vec![], digest: a.clone(), inputs: vec![] },
                Record {
                    results: vec![LayerResult { layer: 1, created_at }],
                    chains: vec![],
                    digest: b.clone(),
                    inputs: vec![vec![
                        Input { selector: String::new(), record: 0 },
                        Input { selector: a.to_string(), record: 0 },
                    ]],
                },
            ],
        };
        let text = String::from_utf8(oci::json::to_vec(&config)).expect("text");
        let expected = format!(
            r#"{{"layers":[{{"blob":"{a}","parent":-1}},{{"blob":"{b}"}}],"records":[{{"digest":"{a}"}},{{"layers":[{{"layer":1,"createdAt":"2023-11-14T22:13:20.12Z"}}],"digest":"{b}","inputs":[[{{"link":0}},{{"selector":"{a}","link":0}}]]}}]}}"#
        );
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<CacheConfig>(&text).expect("reads"), config);
    }

    #[test]
    fn what_go_writes_is_read() {
        let digest = Digest::of("a");
        let text = format!(
            r#"{{"layers":null,"records":[{{"chains":[{{"layers":[1,0],"createdAt":"0001-01-01T00:00:00Z"}}],"digest":"{digest}"}},
            {{"layers":[{{"layer":0,"createdAt":"2026-11-28T10:00:00.123456789+01:00"}}],"digest":"{digest}"}}]}}"#
        );
        let config: CacheConfig = serde_json::from_str(&text).expect("reads");
        assert_eq!(config.records[0].chains[0].layers, [1, 0]);
        assert_eq!(config.records[1].results[0].created_at.to_string(), "2026-11-28T09:00:00.123456789Z");
    }
}
