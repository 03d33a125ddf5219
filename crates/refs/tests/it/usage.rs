use std::sync::{Arc, Mutex};
use std::time::Duration;

use refs::{Compression, Filter, NewRef, PruneOptions, RecordType, UsageRecord};

use crate::world::World;

async fn usage(world: &World, filter: &str) -> Vec<UsageRecord> {
    world.refs.usage(&Filter::parse(&[filter]).unwrap()).await.unwrap()
}

/// Prunes and gives the descriptions of what is gone.
async fn prune(world: &World, options: PruneOptions) -> Vec<String> {
    let gone = Arc::new(Mutex::new(Vec::new()));
    let list = gone.clone();
    world.refs.prune(options, move |record| list.lock().unwrap().push(record.description)).await.unwrap();
    let mut gone = std::mem::take(&mut *gone.lock().unwrap());
    gone.sort();
    gone
}

#[tokio::test]
async fn who_uses_what() {
    let world = World::new().await;
    let base = world.described(None, "a=1", "base").await;
    let top = world.described(Some(&base), "b=2", NewRef::new("top", RecordType::Frontend)).await;
    top.persist();
    let top_id = top.id().to_owned();
    drop(base);
    let shown = usage(&world, "").await;
    let state: Vec<_> = shown.iter().map(|r| (r.in_use, r.record_type, r.size > 0)).collect();
    assert!(state.contains(&(true, RecordType::Frontend, true)), "{shown:?}");
    assert!(state.contains(&(true, RecordType::Regular, true)), "{shown:?}");
    let base_id = shown.iter().find(|r| r.description == "base").unwrap().id.clone();
    assert_eq!(shown.iter().find(|r| r.id == top_id).unwrap().parents, [base_id]);
    assert_eq!(prune(&world, PruneOptions { all: true, ..PruneOptions::default() }).await, [""; 0]);
    drop(top);
    assert!(usage(&world, "inuse").await.is_empty());
    let top = usage(&world, "type==frontend").await.remove(0);
    assert_eq!((top.usage_count, top.last_used_at.is_some()), (1, true));
    // What is internal stays unless asked for, and what it is made of with it.
    assert_eq!(prune(&world, PruneOptions::default()).await, [""; 0]);
    assert_eq!(prune(&world, PruneOptions { all: true, ..PruneOptions::default() }).await, ["base", "top"]);
    world.files_become("layers-v1", 0).await;
}

#[tokio::test]
async fn prune_minds_its_options() {
    let world = World::new().await;
    for i in 0..6 {
        let data = "x".repeat(100_000);
        let state = world.described(None, &format!("f={i}{data}"), &*format!("s{i}")).await;
        state.persist();
    }
    let total: u64 = usage(&world, "").await.iter().map(|r| r.size).sum();
    let keep_all = PruneOptions { keep_duration: Duration::from_secs(3600), ..PruneOptions::default() };
    assert_eq!(prune(&world, keep_all).await, [""; 0]);
    let filter = Filter::parse(&["description==s3"]).unwrap();
    assert_eq!(prune(&world, PruneOptions { filter, ..PruneOptions::default() }).await, ["s3"]);
    // One that is used more often stays longer.
    let first = usage(&world, "description==s0").await.remove(0).id;
    for _ in 0..3 {
        drop(world.refs.get(&first).unwrap());
    }
    let bound = PruneOptions { max_used_space: total / 2, ..PruneOptions::default() };
    assert_eq!(prune(&world, bound.clone()).await, ["s1", "s2", "s4"]);
    assert_eq!(prune(&world, bound).await, [""; 0]);
    let reserved = PruneOptions { max_used_space: 1, reserved_space: total, ..PruneOptions::default() };
    assert_eq!(prune(&world, reserved).await, [""; 0]);
    assert_eq!(prune(&world, PruneOptions::default()).await, ["s0", "s5"]);
}

/// Blobs go with what needs them: states, images and what others name.
#[tokio::test]
async fn blobs_are_collected() {
    let world = World::new().await;
    let state = world.state(None, "a=1").await;
    let content = world.refs.content().clone();
    let lease = content.lease();
    let blob = state.blobs(Compression::gzip(), &lease).await.unwrap().remove(0).descriptor.digest;
    let config = content.write(b"{}").unwrap();
    let layer = content.write(b"layer").unwrap();
    let manifest = serde_json::json!({
        "config": { "digest": config.as_str() }, "layers": [{ "digest": layer.as_str() }],
    });
    let manifest = content.write(manifest.to_string().as_bytes()).unwrap();
    let index = serde_json::json!({ "manifests": [{ "digest": manifest.as_str() }] }).to_string();
    let index = oci::Descriptor::of(oci::media::OCI_INDEX, index.as_bytes());
    let stored = content.write(format!(r#"{{"manifests":[{{"digest":"{manifest}"}}]}}"#).as_bytes()).unwrap();
    assert_eq!(stored, index.digest);
    let named = content.write(b"named by others").unwrap();
    let loose = content.write(b"loose").unwrap();
    world.refs.images().tag("x", &index).unwrap();
    let others = named.clone();
    world.refs.add_roots(Arc::new(move || Ok(vec![others.clone()])));
    drop(lease);
    prune(&world, PruneOptions::default()).await;
    let all = [&blob, &config, &layer, &manifest, &index.digest, &named];
    assert!(all.iter().all(|digest| content.contains(digest)));
    assert!(!content.contains(&loose));
    drop(state);
    world.refs.images().remove("x").unwrap();
    prune(&world, PruneOptions::default()).await;
    assert_eq!(all.map(|digest| content.contains(digest)), [false, false, false, false, false, true]);
}

/// More layers than one mount takes have trees of links that stand for them.
#[tokio::test]
async fn what_stands_for_many_layers_is_counted_once() {
    let world = World::new().await;
    let data = "x".repeat(16 << 10);
    let mut top = None;
    for i in 0..130 {
        top = Some(world.state(top.as_ref(), &format!("f{i}={data}")).await);
    }
    let on_disk = || {
        let mut du = std::process::Command::new("du");
        let du = du.args(["-s", "-B1", "--exclude=metadata"]).arg(world.dir.path()).output().unwrap();
        String::from_utf8(du.stdout).unwrap().split('\t').next().unwrap().parse::<u64>().unwrap()
    };
    let top = top.unwrap();
    let before = (world.refs.room().await.unwrap().other, on_disk());
    top.mount_source().await.unwrap();
    let after = (world.refs.room().await.unwrap().other, on_disk());
    assert!(after.1 > before.1);
    assert_eq!(after.0 - before.0, after.1 - before.1);
}
