use std::collections::BTreeSet;

use refs::{Filter, ImmutableRef, NewRef};

use crate::world::{World, show};

#[tokio::test]
async fn a_state_lasts_as_long_as_its_handles() {
    let world = World::new().await;
    let base = world.state(None, "a=1 d/").await;
    let top = world.state(Some(&base), "d/b=2 -a").await;
    assert_eq!(show(&top).await, "d/ d/b=2");
    let id = top.id().to_owned();
    drop(base);
    assert_eq!(world.layers(), 2);
    assert_eq!(show(&world.refs.get(&id).unwrap()).await, "d/ d/b=2");
    drop(top);
    assert!(world.refs.get(&id).is_none());
    world.files_become("layers-v1", 0).await;
}

#[tokio::test]
async fn a_mutable_state_is_committed_or_gone() {
    let world = World::new().await;
    let base = world.state(None, "a=1").await;
    let mutable = world.refs.new_mutable(Some(&base), NewRef::regular("step")).await.unwrap();
    std::fs::write(mutable.tree().path().join("b"), "2").unwrap();
    let state = mutable.commit().await.unwrap();
    assert_eq!((show(&state).await.as_str(), state.description().as_str()), ("a=1 b=2", "step"));
    let mutable = world.refs.new_mutable(None, "dropped").await.unwrap();
    drop(mutable);
    assert_eq!(std::fs::read_dir(world.dir.path().join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_persisted_is_there_after_a_restart() {
    let world = World::new().await;
    let base = world.state(None, "a=1").await;
    let kept = world.state(Some(&base), "b=2").await;
    kept.persist();
    let lost = world.state(Some(&base), "c=3").await;
    let ids = [base.id().to_owned(), kept.id().to_owned(), lost.id().to_owned()];
    drop((base, kept, lost));
    let world = world.reopen().await;
    assert_eq!(world.layers(), 2);
    assert_eq!(ids.each_ref().map(|id| world.refs.contains(id)), [true, true, false]);
    let kept = world.refs.get(&ids[1]).unwrap();
    assert_eq!(show(&kept).await, "a=1 b=2");
    // The base was only kept for what is made of it.
    let world = world.reopen().await;
    assert!(world.refs.contains(&ids[0]));
}

#[tokio::test]
async fn a_state_whose_files_are_gone_is_dropped() {
    let world = World::new().await;
    let base = world.state(None, "a=1").await;
    let top = world.state(Some(&base), "b=2").await;
    top.persist();
    let layer = base.chain().await.unwrap()[0].clone();
    drop((base, top));
    std::fs::remove_dir_all(world.dir.path().join("layers-v1").join(layer.as_str())).unwrap();
    let world = world.recover().await;
    assert_eq!(world.layers(), 0);
}

#[tokio::test]
async fn a_state_that_slept_while_its_files_went_is_dropped_when_it_is_asked_for() {
    let world = World::new().await;
    let base = world.state(None, "a=1").await;
    let tops = [world.state(Some(&base), "b=2").await, world.state(Some(&base), "c=3").await];
    tops.iter().for_each(ImmutableRef::persist);
    let ids = tops.clone().map(|top| top.id().to_owned());
    let layer = base.chain().await.unwrap()[0].clone();
    drop((base, tops));
    let world = world.reopen().await;
    std::fs::remove_dir_all(world.dir.path().join("layers-v1").join(layer.as_str())).unwrap();
    assert!(world.refs.get(&ids[0]).is_none());
    world.files_become("layers-v1", 1).await;
    assert!(world.refs.get(&ids[1]).is_none());
    world.files_become("layers-v1", 0).await;
    assert_eq!(world.refs.usage(&Filter::default()).await.unwrap(), []);
}

/// What is asked for wakes, with what it is made of, and nothing else; what must be seen whole wakes all.
#[tokio::test]
async fn states_sleep_over_a_restart() {
    let world = World::new().await;
    let base = world.state(None, "a=1").await;
    let (one, other) = (world.state(Some(&base), "b=2").await, world.state(Some(&base), "c=3").await);
    one.persist();
    other.persist();
    let ids = [&base, &one, &other].map(|state| state.id().to_owned());
    drop((base, one, other));
    let world = world.reopen().await;
    // The base is nobody's cache, and stays for the one that sleeps when the other goes.
    assert_eq!(show(&world.refs.get(&ids[0]).unwrap()).await, "a=1");
    world.refs.get(&ids[1]).unwrap().forget();
    world.files_become("layers-v1", 2).await;
    assert_eq!(world.refs.get(&ids[1]), None);
    let world = world.reopen().await;
    assert_eq!(show(&world.refs.get(&ids[2]).unwrap()).await, "a=1 c=3");
    let all =
        |used: Vec<refs::UsageRecord>| used.into_iter().map(|record| record.id).collect::<BTreeSet<_>>();
    let used = world.refs.usage(&Filter::default()).await.unwrap();
    assert_eq!(all(used), BTreeSet::from([ids[0].clone(), ids[2].clone()]));
    world.refs.get(&ids[2]).unwrap().forget();
    world.files_become("layers-v1", 0).await;
}

#[tokio::test]
async fn merges_and_differences() {
    let world = World::new().await;
    let a = world.state(None, "a=1 d/ d/x=2").await;
    let b = world.state(None, "d/ d/y=3").await;
    let c = world.state(Some(&a), "-d/x e=4").await;
    let both = world.refs.merge(vec![a.clone(), b.clone()], "merge");
    assert_eq!(show(&both).await, "a=1 d/ d/x=2 d/y=3");
    // A difference of one layer takes away what the layer took away.
    let change = world.refs.diff(Some(&a), Some(&c), "diff");
    assert_eq!(show(&change).await, "d/ e=4");
    let other = world.state(None, "d/ d/x=5 d/z=6").await;
    let applied = world.refs.merge(vec![other, change.clone()], "merge");
    assert_eq!(show(&applied).await, "d/ d/z=6 e=4");
    // Between states that have nothing to do with each other.
    let unrelated = world.refs.diff(Some(&b), Some(&c), "diff");
    let rebuilt = world.refs.merge(vec![b, unrelated], "merge");
    assert_eq!(show(&rebuilt).await, show(&c).await);
    let again = world.refs.merge(vec![both.clone(), change], "merge");
    let on_top = world.state(Some(&again), "f=7").await;
    assert_eq!(show(&on_top).await, "a=1 d/ d/y=3 e=4 f=7");
    on_top.persist();
    let (id, layers) = (on_top.id().to_owned(), on_top.layers().len());
    drop((a, c, both, applied, rebuilt, again, on_top));
    let world = world.reopen().await;
    let on_top = world.refs.get(&id).unwrap();
    assert_eq!(show(&on_top).await, "a=1 d/ d/y=3 e=4 f=7");
    assert_eq!((layers, on_top.layers().len()), (4, 4));
}

/// Also what a later one takes back, as for BuildKit.
#[tokio::test]
async fn a_difference_is_all_that_the_layers_do() {
    let world = World::new().await;
    let base = world.state(None, "a=1").await;
    let one = world.state(Some(&base), "b=2 c=3").await;
    let two = world.state(Some(&one), "-b d=4").await;
    let change = world.refs.diff(Some(&base), Some(&two), "diff");
    assert_eq!((show(&change).await.as_str(), change.layers().len()), ("c=3 d=4", 2));
    let other = world.state(None, "b=9 e=5").await;
    let applied = world.refs.merge(vec![other, change.clone()], "merge");
    assert_eq!(show(&applied).await, "c=3 d=4 e=5");
    change.persist();
    let id = change.id().to_owned();
    drop((base, one, two, change, applied));
    let world = world.reopen().await;
    assert_eq!(show(&world.refs.get(&id).unwrap()).await, "c=3 d=4");
}

/// A step that moves a file away and back leaves a copy in its layer.
#[tokio::test]
async fn what_went_and_came_back_is_no_difference() {
    let world = World::new().await;
    let base = world.state(None, "a=1 d/ d/x=2 e/ e/y=3").await;
    let of_base = base.chain().await.unwrap()[0].clone();
    let of_base = world.dir.path().join("layers-v1").join(of_base.as_str()).join("tree");
    let step = world.refs.new_mutable(Some(&base), "step").await.unwrap();
    let tree = step.tree().path();
    for dir in ["d", "e"] {
        std::fs::create_dir(tree.join(dir)).unwrap();
        std::fs::set_permissions(tree.join(dir), of_base.join(dir).metadata().unwrap().permissions())
            .unwrap();
    }
    for file in ["a", "d/x", "e/y"] {
        std::fs::copy(of_base.join(file), tree.join(file)).unwrap();
        let time = of_base.join(file).metadata().unwrap().modified().unwrap();
        std::fs::File::options().write(true).open(tree.join(file)).unwrap().set_modified(time).unwrap();
    }
    std::fs::write(tree.join("e/z"), "4").unwrap();
    let after = step.commit().await.unwrap();
    let change = world.refs.diff(Some(&base), Some(&after), "diff");
    assert_eq!(show(&change).await, "e/ e/z=4");
    let other = world.state(None, "a=9").await;
    let applied = world.refs.merge(vec![other, change], "merge");
    assert_eq!(show(&applied).await, "a=9 e/ e/z=4");
}

#[tokio::test]
async fn images_have_names() {
    let world = World::new().await;
    let images = world.refs.images();
    let target = |text: &str| oci::Descriptor::of(oci::media::OCI_MANIFEST, text.as_bytes());
    let first = images.tag("x:latest", &target("a")).unwrap();
    let second = images.tag("x:latest", &target("b")).unwrap();
    images.tag("a:1", &target("c")).unwrap();
    assert_eq!(first.created_at, second.created_at);
    let world = world.reopen().await;
    let images = world.refs.images();
    let names: Vec<_> = images.list().unwrap().into_iter().map(|image| image.name).collect();
    assert_eq!(names, ["a:1", "x:latest"]);
    assert_eq!(images.get("x:latest").unwrap().unwrap(), second);
    assert!(images.remove("a:1").unwrap());
    assert!(!images.remove("a:1").unwrap());
    assert_eq!(images.get("a:1").unwrap(), None);
}

#[tokio::test]
async fn what_was_not_durable_is_not_trusted_after_a_restart_of_the_machine() {
    let world = World::new().await;
    let attrs = snapshot::Attrs { mode: 0o644, ..Default::default() };
    let mut writer = world.refs.snapshots().objects().create(&attrs, 1).unwrap();
    std::io::Write::write_all(&mut writer, b"x").unwrap();
    let digest = writer.finish().unwrap().digest();
    let kept = world.refs.content().write(b"kept").unwrap();
    let target = |text: &str| oci::Descriptor::of(oci::media::OCI_MANIFEST, text.as_bytes());
    world.refs.images().tag("kept", &target("kept")).unwrap();
    world.refs.images().tag("lost", &target("lost")).unwrap();
    let world = world.reopen().await;
    let find = |world: &World| world.refs.snapshots().objects().find(&digest, &attrs, 1).unwrap().is_some();
    assert!(find(&world));
    let world = world.reboot().await;
    assert!(!find(&world), "nothing vouches for an object that no layer links");
    let names: Vec<_> = world.refs.images().list().unwrap().into_iter().map(|image| image.name).collect();
    assert_eq!(names, ["kept"]);
    assert!(world.refs.content().contains(&kept));
}
