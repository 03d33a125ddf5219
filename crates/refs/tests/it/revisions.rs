//! States whose topmost layer is several trees.

use refs::{Compression, Filter, ImmutableRef, PruneOptions};
use snapshot::View;

use crate::world::{World, edit, show};

/// `of` changed by `text`, see [`World::state`].
async fn revised(world: &World, of: &ImmutableRef, text: &str) -> ImmutableRef {
    let mut tree = world.refs.new_tree().unwrap().builder(of.view().await.unwrap());
    edit(&mut tree, text);
    world.refs.revise(of, tree.finish().unwrap(), text).await.unwrap()
}

async fn blobs(world: &World, state: &ImmutableRef) -> Vec<oci::Digest> {
    let lease = world.refs.content().lease();
    let made = state.blobs(Compression::gzip(), &lease).await.unwrap();
    made.into_iter().map(|blob| blob.diff_id).collect()
}

/// The digests of the layers of a state that is unpacked again: times are those of the trees.
async fn shown_after_unpacking(world: &World, state: &ImmutableRef) -> String {
    let lease = world.refs.content().lease();
    let mut chain = Vec::new();
    for blob in state.blobs(Compression::gzip(), &lease).await.unwrap() {
        let bytes = world.refs.content().read(&blob.descriptor.digest).unwrap();
        chain.push(world.refs.snapshots().apply(&bytes[..]).unwrap().layer);
    }
    let view = world.refs.snapshots().view(&chain).unwrap();
    view.walk(b"")
        .unwrap()
        .skip(1)
        .map(|e| String::from_utf8(e.unwrap().path).unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test]
async fn a_revision_is_one_layer() {
    let world = World::new().await;
    let base = world.state(None, "a=1 d/").await;
    let first = world.state(Some(&base), "d/x=2 e/ e/y=3 -a").await;
    let second = revised(&world, &first, "d/x=4 -e").await;
    let third = revised(&world, &second, "f=5 e/ e/z=6").await;
    assert_eq!(show(&second).await, "d/ d/x=4");
    assert_eq!(show(&third).await, "d/ d/x=4 e/ e/z=6 f=5");
    assert_eq!(third.layers(), [base.clone(), third.clone()]);
    assert_eq!(third.chain().await.unwrap().len(), 4);
    let digests = blobs(&world, &third).await;
    assert_eq!(digests[0], blobs(&world, &base).await[0]);
    assert_eq!((digests.len(), shown_after_unpacking(&world, &third).await.as_str()), (2, "d d/x e e/z f"));
    // What lies on it is a layer more.
    let top = world.state(Some(&third), "-f g=7").await;
    assert_eq!((show(&top).await.as_str(), top.layers().len()), ("d/ d/x=4 e/ e/z=6 g=7", 3));
    assert_eq!(blobs(&world, &top).await[..2], digests);
}

#[tokio::test]
async fn what_is_changed_must_be_a_layer() {
    let world = World::new().await;
    let (a, b) = (world.state(None, "a=1").await, world.state(None, "b=2").await);
    let merge = world.refs.merge(vec![a, b], "merge");
    let tree = world.refs.new_tree().unwrap().builder(View::empty()).finish().unwrap();
    world.refs.revise(&merge, tree, "no").await.unwrap_err();
}

#[tokio::test]
async fn a_revision_lasts_and_keeps_what_it_leans_on() {
    let world = World::new().await;
    let first = world.state(None, "a=1 b=2").await;
    let second = revised(&world, &first, "a=3").await;
    let digests = blobs(&world, &second).await;
    second.persist();
    let ids = [first.id().to_owned(), second.id().to_owned()];
    drop((first, second));
    let world = world.reopen().await;
    assert_eq!(world.layers(), 2);
    assert!(world.refs.contains(&ids[0]));
    let second = world.refs.get(&ids[1]).unwrap();
    assert_eq!(show(&second).await, "a=3 b=2");
    assert_eq!(blobs(&world, &second).await, digests);
    assert!(world.refs.check().await.unwrap().faults.is_empty());
    // Nothing of it goes while it is used, and the two go one after the other.
    let prune = || world.refs.prune(PruneOptions { all: true, ..PruneOptions::default() }, |_| {});
    prune().await.unwrap();
    assert_eq!(show(&second).await, "a=3 b=2");
    let parents = world.refs.usage(&Filter::default()).await.unwrap();
    assert_eq!(parents.iter().find(|r| r.id == ids[1]).unwrap().parents, ids[..1]);
    drop(second);
    prune().await.unwrap();
    world.files_become("layers-v1", 0).await;
}

#[tokio::test]
async fn a_revision_whose_layer_is_gone_is_dropped() {
    let world = World::new().await;
    let first = world.state(None, "a=1").await;
    let second = revised(&world, &first, "b=2").await;
    second.persist();
    let layer = first.chain().await.unwrap()[0].clone();
    drop((first, second));
    std::fs::remove_dir_all(world.dir.path().join("layers-v1").join(layer.as_str())).unwrap();
    assert_eq!(world.recover().await.layers(), 0);
}

/// On another base the layer does what it does on its own, and no more: what it removed of itself shows there.
#[tokio::test]
async fn merges_and_differences_of_revisions() {
    let world = World::new().await;
    let base = world.state(None, "a=1").await;
    let first = world.state(Some(&base), "b=2 c=3 d/ d/x=1").await;
    let second = revised(&world, &first, "-b -a -d").await;
    let other = world.state(None, "a=4 b=5 d/ d/y=6").await;
    let merged = world.refs.merge(vec![other.clone(), second.clone()], "merge");
    assert_eq!(show(&merged).await, "b=5 c=3 d/ d/y=6");
    let change = world.refs.diff(Some(&base), Some(&second), "diff");
    let applied = world.refs.merge(vec![other.clone(), change], "merge");
    assert_eq!(show(&applied).await, "b=5 c=3 d/ d/y=6");
    // As the lowest it serves as it is, also in a merge of merges.
    let upon = world.refs.merge(vec![second.clone(), other.clone()], "merge");
    assert_eq!(show(&upon).await, "a=4 b=5 c=3 d/ d/y=6");
    let both = world.refs.merge(vec![world.state(None, "z=9").await, upon.clone(), merged.clone()], "merge");
    let shown = "b=5 c=3 d/ d/y=6 z=9";
    assert_eq!(show(&both).await, shown);
    both.persist();
    let id = both.id().to_owned();
    drop((base, first, second, other, merged, applied, upon, both));
    let world = world.reopen().await;
    assert_eq!(show(&world.refs.get(&id).unwrap()).await, shown);
    let both = world.refs.get(&id).unwrap();
    let again = world.refs.merge(vec![both, world.state(None, "q=1").await], "merge");
    assert_eq!(show(&again).await, "b=5 c=3 d/ d/y=6 q=1 z=9");
}
