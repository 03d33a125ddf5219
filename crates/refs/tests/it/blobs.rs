use refs::Compression;

use crate::world::{World, show};

#[tokio::test]
async fn made_once_and_kept() {
    let world = World::new().await;
    let a = world.state(None, "a=1").await;
    let b = world.state(Some(&a), "b=2").await;
    assert_eq!(b.known_blobs(Compression::gzip()), [None, None]);
    let lease = world.refs.content().lease();
    let gzip = b.blobs(Compression::gzip(), &lease).await.unwrap();
    assert_eq!(gzip.len(), 2);
    for blob in &gzip {
        let bytes = world.refs.content().read(&blob.descriptor.digest).unwrap();
        assert_eq!(bytes.len() as u64, blob.descriptor.size);
        let applied = world.refs.snapshots().apply(&bytes[..]).unwrap();
        assert_eq!(applied.diff_id, blob.diff_id);
    }
    // Without force any blob serves.
    assert_eq!(b.blobs(Compression::zstd(), &lease).await.unwrap(), gzip);
    let zstd = b.blobs(Compression { force: true, ..Compression::zstd() }, &lease).await.unwrap();
    assert_eq!(zstd[0].diff_id, gzip[0].diff_id);
    assert_ne!(zstd[0].descriptor.digest, gzip[0].descriptor.digest);
    b.persist();
    let id = b.id().to_owned();
    drop((a, b, lease));
    let world = world.reopen().await;
    let b = world.refs.get(&id).unwrap();
    assert_eq!(b.known_blobs(Compression::gzip()), gzip.iter().cloned().map(Some).collect::<Vec<_>>());
}

/// Each layer of a merge is a layer of the image, in the way it was made.
#[tokio::test]
async fn layers_of_merges() {
    let world = World::new().await;
    let a = world.state(None, "a=1").await;
    let b = world.state(Some(&a), "b=2").await;
    let c = world.state(None, "c=3").await;
    let top = world.refs.merge(vec![b.clone(), c.clone()], "merge");
    let change = world.refs.diff(Some(&a), Some(&b), "diff");
    let lease = world.refs.content().lease();
    let gzip = Compression::gzip();
    let merged = top.blobs(gzip, &lease).await.unwrap();
    let single = [b.blobs(gzip, &lease).await.unwrap(), c.blobs(gzip, &lease).await.unwrap()].concat();
    assert_eq!(merged, single);
    assert_eq!(change.blobs(gzip, &lease).await.unwrap(), single[1..2]);
    let wide = world.refs.diff(None, Some(&b), "diff");
    assert_eq!(wide.blobs(gzip, &lease).await.unwrap().len(), 1);
    assert_eq!(show(&wide).await, "a=1 b=2");
}

/// Of the blobs with other times the last of each packing stays.
#[tokio::test]
async fn clamped_once_and_kept() {
    let world = World::new().await;
    let a = world.state(None, "a=1").await;
    let content = world.refs.content();
    let (lease, gzip) = (content.lease(), Compression::gzip());
    let blobs = a.blobs(gzip, &lease).await.unwrap();
    let first = a.clamped_blobs(&blobs, 0, 7, gzip, &lease).await.unwrap();
    assert_ne!(first, blobs);
    assert_eq!(a.known_blobs(gzip), [Some(blobs[0].clone())], "it is not the layer");
    a.persist();
    let id = a.id().to_owned();
    drop((a, lease));
    let world = world.reopen().await;
    let a = world.refs.get(&id).unwrap();

    // Nothing is left that it could be made of.
    let content = world.refs.content();
    assert!(content.remove(&blobs[0].descriptor.digest).unwrap());
    let lease = content.lease();
    assert_eq!(a.clamped_blobs(&blobs, 0, 7, gzip, &lease).await.unwrap(), first);
    a.clamped_blobs(&blobs, 0, 8, gzip, &lease).await.unwrap_err();

    let blobs = a.blobs(Compression { force: true, ..gzip }, &lease).await.unwrap();
    drop(lease);
    let lease = content.lease();
    let second = a.clamped_blobs(&blobs, 0, 8, gzip, &lease).await.unwrap();
    assert!(second[0] != first[0] && content.contains(&second[0].descriptor.digest));
    assert!(!content.contains(&first[0].descriptor.digest), "nobody asks for the times of before");
}
