use super::*;
use crate::config::{ChainResult, Input, LayerResult, Record};

fn digest(name: &str) -> Digest {
    Digest::of(name)
}

fn layer(name: &str, parent: i64) -> crate::config::Layer {
    crate::config::Layer { blob: digest(name), parent }
}

fn record(digest: Digest, inputs: &[&[i64]], results: &[i64]) -> Record {
    let input = |record: &i64| Input { selector: String::new(), record: *record };
    Record {
        results: results
            .iter()
            .map(|l| LayerResult { layer: *l, created_at: Timestamp::UNIX_EPOCH })
            .collect(),
        chains: Vec::new(),
        digest,
        inputs: inputs.iter().map(|all| all.iter().map(input).collect()).collect(),
    }
}

fn blobs(names: &str) -> Blobs {
    let blob = |name: &str| (digest(name), Descriptor::new("layer", digest(name), 1));
    names.split(' ').map(blob).collect()
}

fn keys(config: &CacheConfig, there: &str) -> Result<Keys> {
    let mut keys = Keys::default();
    keys.add("c", config, &blobs(there)).map(|()| keys)
}

/// The layers that a lookup leads to, through ops without selectors: `run` of `base`, say.
fn look_up(keys: &Keys, path: &[(&str, usize)]) -> Vec<Vec<Digest>> {
    let mut at = vec![KeyId::root(&digest("base"), 0, false)];
    for (op, input) in path {
        let link = Link { input: *input, output: 0, digest: digest(op), selector: None };
        at = at.iter().flat_map(|key| keys.targets(key, &link)).collect();
    }
    let records = at.iter().flat_map(|key| keys.records(key));
    let digests = |layers: Vec<Descriptor>| layers.into_iter().map(|d| d.digest).collect();
    records.map(|r| digests(keys.layers(&r.result).expect("its layers"))).collect()
}

/// `run` of `base`, and `copy` of both: layers l1, and l1 l2.
fn config() -> CacheConfig {
    let export = |op: &str| Link { input: 0, output: 0, digest: digest(op), selector: None }.export_digest();
    CacheConfig {
        layers: vec![layer("l1", -1), layer("l2", 0)],
        records: vec![
            record(export("base"), &[], &[]),
            record(export("run"), &[&[0]], &[0]),
            record(export("copy"), &[&[1], &[0]], &[1]),
        ],
    }
}

#[test]
fn keys_lead_to_layers() {
    let keys = keys(&config(), "l1 l2").expect("a good config");
    assert_eq!(look_up(&keys, &[("run", 0)]), [[digest("l1")]]);
    assert_eq!(look_up(&keys, &[("run", 0), ("copy", 0)]), [[digest("l1"), digest("l2")]]);
    assert_eq!(look_up(&keys, &[("copy", 1)]), [[digest("l1"), digest("l2")]]);
    assert!(look_up(&keys, &[("copy", 0)]).is_empty() && look_up(&keys, &[("other", 0)]).is_empty());
    let root = KeyId::root(&digest("base"), 0, false);
    assert!(keys.contains(&root) && keys.origins(&root).is_empty());
}

#[test]
fn results_with_a_blob_that_is_not_there_are_passed_over() {
    let some = keys(&config(), "l1").expect("a good config");
    assert_eq!(look_up(&some, &[("run", 0)]), [[digest("l1")]]);
    assert!(look_up(&some, &[("run", 0), ("copy", 0)]).is_empty());
    assert!(look_up(&keys(&config(), "l2").expect("a good config"), &[("run", 0), ("copy", 0)]).is_empty());
}

#[test]
fn layers_may_be_named_one_by_one() {
    let mut config = config();
    config.records[1].results.clear();
    let chain = ChainResult { layers: vec![1, 0], created_at: Timestamp::UNIX_EPOCH };
    config.records[1].chains.push(chain);
    let keys = keys(&config, "l1 l2").expect("a good config");
    assert_eq!(look_up(&keys, &[("run", 0)]), [[digest("l2"), digest("l1")]]);
}

#[test]
fn bad_configs_are_refused() {
    let check = |change: &dyn Fn(&mut CacheConfig), expected: &str| {
        let mut config = config();
        change(&mut config);
        let error = keys(&config, "l1 l2").map(drop).expect_err(expected).to_string();
        assert_eq!(error, format!("invalid cache config: {expected}"));
    };
    check(&|c| c.layers[0].parent = 1, "invalid looping layer");
    check(&|c| c.layers[0].parent = 7, "there is no layer 7");
    check(&|c| c.layers[0].parent = -2, "there is no layer -2");
    check(&|c| c.records[1].results[0].layer = 2, "there is no layer 2");
    check(&|c| c.records[1].inputs[0][0].record = 3, "there is no record 3");
    check(&|c| c.records[1].inputs[0][0].record = 1, "invalid looping record");
    check(&|c| c.records[0] = record(digest("x"), &[&[2]], &[]), "invalid looping record");
    check(&|c| c.records[1].inputs[0].clear(), "record 1 has an input without keys");
    check(&|c| c.records[1].inputs[0][0].selector = "x".into(), "`x` is no selector");
}
