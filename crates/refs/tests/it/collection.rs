//! What goes to keep a store small, and what must not.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use refs::{Filter, ImmutableRef, PruneOptions, Records};
use snapshot::{Attrs, View};
use solver::{Entry, KeyId, KeyStore as _, ResultId};

use crate::world::{World, show};

async fn prune(world: &World, options: PruneOptions) -> Vec<(String, u64)> {
    let gone = Arc::new(Mutex::new(Vec::new()));
    let list = gone.clone();
    let tell = move |record: refs::UsageRecord| list.lock().unwrap().push((record.description, record.size));
    world.refs.prune(options, tell).await.unwrap();
    std::mem::take(&mut *gone.lock().unwrap())
}

fn at_most(max_used_space: u64) -> PruneOptions {
    PruneOptions { max_used_space, all: true, ..PruneOptions::default() }
}

/// A state of one object, which all states with the same bytes share.
async fn of_object(world: &World, name: &str, bytes: &[u8]) -> ImmutableRef {
    let objects = world.refs.snapshots().objects().clone();
    let attrs = Attrs { mode: 0o644, ..Attrs::default() };
    let mut writer = objects.create(&attrs, bytes.len() as u64).unwrap();
    writer.write_all(bytes).unwrap();
    let object = writer.finish().unwrap();
    let mut tree = world.refs.new_tree().unwrap().builder(View::empty());
    tree.put_object(b"f", &object).unwrap();
    let state = world.refs.from_tree(None, tree.finish().unwrap(), name).await.unwrap();
    state.persist();
    state
}

#[tokio::test]
async fn what_states_share_counts_once() {
    let world = World::new().await;
    let bytes = vec![7; 1 << 20];
    for i in 0..10 {
        drop(of_object(&world, &format!("s{i}"), &bytes).await);
    }
    assert_eq!(prune(&world, at_most(2 << 20)).await, []);
    let sizes: u64 = world.refs.usage(&Filter::default()).await.unwrap().iter().map(|r| r.size).sum();
    assert!(sizes > 1 << 20 && sizes < 2 << 20, "{sizes}");
    // Nine of them free nothing but their folders; the last one frees the object.
    let gone = prune(&world, at_most(1 << 19)).await;
    assert_eq!(gone.len(), 10);
    assert!(gone[..9].iter().all(|(_, size)| *size < 1 << 16) && gone[9].1 > 1 << 20, "{gone:?}");
}

#[tokio::test]
async fn what_came_after_the_first_count_counts_too() {
    let world = World::new().await;
    let new = async |name: &str| drop(of_object(&world, name, name.repeat(1 << 18).as_bytes()).await);
    new("aaaa").await;
    assert_eq!(prune(&world, at_most(4 << 20)).await, []);
    new("bbbb").await;
    new("cccc").await;
    assert_eq!(prune(&world, at_most(4 << 20)).await, []);
    new("dddd").await;
    let gone: Vec<_> = prune(&world, at_most(4 << 20)).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(gone, ["aaaa"]);
    assert_eq!(prune(&world, at_most(4 << 20)).await, []);
}

#[tokio::test]
async fn a_base_is_no_younger_for_what_was_made_of_it() {
    let world = World::new().await;
    let base = world.described(None, "a=1", "base").await;
    let top = world.described(Some(&base), "b=2", "top").await;
    top.persist();
    drop(base);
    let used = async || {
        let base = Filter::parse(&["description==base"]).unwrap();
        world.refs.usage(&base).await.unwrap().remove(0)
    };
    // The base was let go, though the state that is made of it is still held.
    let before = used().await;
    assert_eq!((before.usage_count, before.in_use), (1, true));
    drop(top);
    let filter = Filter::parse(&["description==top"]).unwrap();
    prune(&world, PruneOptions { filter, ..PruneOptions::default() }).await;
    let after = used().await;
    assert_eq!((after.last_used_at, after.usage_count, after.in_use), (before.last_used_at, 1, false));
    // Both are long unused, so both go at once.
    let top = world.described(Some(&world.refs.get(&after.id).unwrap()), "b=2", "top").await;
    top.persist();
    drop(top);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let keep_duration = Duration::from_millis(10);
    let gone = prune(&world, PruneOptions { keep_duration, ..PruneOptions::default() }).await;
    assert_eq!(gone.len(), 2);
}

#[tokio::test]
async fn the_keys_of_what_goes_go_along() {
    let world = World::new().await;
    let records = Records::open(&world.refs).unwrap();
    let state = world.state(None, "a=1").await;
    state.persist();
    let result = ResultId(state.id().to_owned());
    let record = solver::Record { result: result.clone(), created_at: jiff::Timestamp::UNIX_EPOCH };
    let key = KeyId::from_stored("key");
    records
        .keys
        .add(&Entry { key: key.clone(), links: Vec::new(), record: Some(record), info: None })
        .unwrap();
    prune(&world, PruneOptions::default()).await;
    assert_eq!(records.keys.results().unwrap(), [result]);
    drop(state);
    prune(&world, PruneOptions::default()).await;
    records.keys.flush();
    assert_eq!(records.keys.results().unwrap(), []);
    assert!(!records.keys.contains(&key).unwrap());
}

/// Everything is removed again and again, while others make states, find them, and read what they hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_goes_while_it_is_held() {
    let world = Arc::new(World::new().await);
    let (stop, ids) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::<String>::new())));
    let found = Arc::new(AtomicUsize::new(0));
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (world, stop, ids, found) = (world.clone(), stop.clone(), ids.clone(), found.clone());
        readers.push(tokio::spawn(async move {
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                turn += 1;
                let id = {
                    let ids = ids.lock().unwrap();
                    (!ids.is_empty()).then(|| ids[turn % ids.len()].clone())
                };
                if let Some(state) = id.and_then(|id| world.refs.get(&id)) {
                    found.fetch_add(1, Ordering::Relaxed);
                    let text = show(&state).await;
                    tokio::task::yield_now().await;
                    // Read again, from the disk.
                    assert_eq!(state.chain().await.unwrap().len(), 2);
                    assert!(text.starts_with("a=") && text.contains(" b="), "{text}");
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    for round in 0..60 {
        let base = world.state(None, &format!("a={round}")).await;
        for i in 0..3 {
            let top = world.state(Some(&base), &format!("b={i}")).await;
            top.persist();
            ids.lock().unwrap().push(top.id().to_owned());
        }
        drop(base);
        if round % 2 == 1 {
            prune(&world, at_most(1)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    prune(&world, PruneOptions::default()).await;
    assert!(found.load(Ordering::Relaxed) > 0);
    assert_eq!(world.layers(), 0);
}
