use std::path::PathBuf;

use fsutil::mount::Source;
use refs::{CacheMount, Filter, PruneOptions, Sharing};

use crate::world::World;

fn dir(mount: &CacheMount) -> PathBuf {
    match mount.mount_source().unwrap() {
        Source::Bind(dir) => dir,
        other => panic!("{other:?}"),
    }
}

async fn take(world: &World, sharing: Sharing) -> CacheMount {
    world.refs.cache_mount("key", None, sharing, "cached mount").await.unwrap()
}

#[tokio::test]
async fn shared_private_and_locked() {
    let world = World::new().await;
    let (a, b) = (take(&world, Sharing::Shared).await, take(&world, Sharing::Shared).await);
    assert_eq!(dir(&a), dir(&b));
    let private = take(&world, Sharing::Private).await;
    assert_ne!(dir(&private), dir(&a));
    let kept = dir(&private);
    drop(private);
    let again = take(&world, Sharing::Private).await;
    assert_eq!(dir(&again), kept);

    let locked = take(&world, Sharing::Locked);
    tokio::pin!(locked);
    assert!(futures_util::poll!(&mut locked).is_pending());
    drop(a);
    assert!(futures_util::poll!(&mut locked).is_pending());
    let shared = dir(&b);
    drop(b);
    let locked = locked.await;
    assert_eq!(dir(&locked), shared);
    let other = world.refs.cache_mount("other", None, Sharing::Locked, "x").await.unwrap();
    assert_ne!(dir(&other), dir(&locked));
}

#[tokio::test]
async fn content_stays_over_restarts_until_pruned() {
    let world = World::new().await;
    let base = world.state(None, "a=1 d/ d/x=2").await;
    let mount = world.refs.cache_mount("key", Some(&base), Sharing::Shared, "with base").await.unwrap();
    assert_eq!(std::fs::read_to_string(dir(&mount).join("d/x")).unwrap(), "2");
    std::fs::write(dir(&mount).join("a"), "changed").unwrap();
    let view = base.view().await.unwrap();
    assert_eq!(view.read(b"a", 10).unwrap().unwrap(), b"1");
    base.persist();
    let id = base.id().to_owned();
    drop((mount, base, view));
    let world = world.reopen().await;
    let base = world.refs.get(&id).unwrap();
    let mount = world.refs.cache_mount("key", Some(&base), Sharing::Shared, "with base").await.unwrap();
    assert_eq!(std::fs::read_to_string(dir(&mount).join("a")).unwrap(), "changed");
    let filter = Filter::parse(&["type==exec.cachemount,mutable"]).unwrap();
    let used = world.refs.usage(&filter).await.unwrap();
    assert_eq!((used.len(), used[0].in_use), (1, true));
    let prune =
        || world.refs.prune(PruneOptions { filter: filter.clone(), ..PruneOptions::default() }, |_| ());
    prune().await.unwrap();
    assert_eq!(world.refs.usage(&filter).await.unwrap().len(), 1);
    drop(mount);
    prune().await.unwrap();
    assert_eq!(world.refs.usage(&filter).await.unwrap().len(), 0);
    let mount = world.refs.cache_mount("key", Some(&base), Sharing::Shared, "with base").await.unwrap();
    assert_eq!(std::fs::read_to_string(dir(&mount).join("a")).unwrap(), "1");
}

#[tokio::test]
async fn forgotten_mounts_begin_anew_and_leave_when_unused() {
    let world = World::new().await;
    let base = world.state(None, "a=1").await;
    let on_base = || world.refs.cache_mount("key", Some(&base), Sharing::Shared, "with base");
    let (plain, based) = (take(&world, Sharing::Shared).await, on_base().await.unwrap());
    let (old_plain, old_based) = (dir(&plain), dir(&based));
    drop(based);
    world.refs.forget_cache_mounts("key", true);
    assert_eq!(dir(&take(&world, Sharing::Shared).await), old_plain, "only those on a base were named");
    assert_ne!(dir(&on_base().await.unwrap()), old_based);
    world.refs.forget_cache_mounts("ke", true);
    world.refs.forget_cache_mounts("key", false);
    assert_ne!(dir(&take(&world, Sharing::Shared).await), old_plain);
    assert!(old_plain.exists(), "it is in use");
    let id = plain.id().to_owned();
    drop(plain);
    assert!(world.refs.get(&id).is_none());
}

#[tokio::test]
async fn two_who_find_none_make_one() {
    let world = World::new().await;
    let (a, b) = tokio::join!(take(&world, Sharing::Shared), take(&world, Sharing::Shared));
    assert_eq!(dir(&a), dir(&b));
}
