use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use oci::{Descriptor, Digest};
use refs::{BlobProvider, BlobStream, Compression, ImmutableRef, LayerBlob};

use crate::world::{World, show};

/// Gives blobs from memory, in small chunks.
#[derive(Default)]
struct Memory {
    blobs: HashMap<Digest, Vec<u8>>,
    opened: AtomicUsize,
    breaks_off: bool,
    /// Whether it is gone once it broke off.
    leaves: bool,
    /// How often it gives other bytes than it should.
    wrong: usize,
}

#[async_trait]
impl BlobProvider for Memory {
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        let before = self.opened.fetch_add(1, Ordering::Relaxed);
        let mut bytes =
            self.blobs.get(&blob.digest).cloned().ok_or_else(|| Error::not_found("no such blob"))?;
        if before < self.wrong {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
        }
        let len = if self.breaks_off { bytes.len() / 2 } else { bytes.len() };
        let mut chunks: Vec<_> = bytes[..len].chunks(1000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        if self.breaks_off {
            chunks.push(Err(Error::environment("the line broke")));
        }
        Ok(Box::pin(futures_util::stream::iter(chunks)))
    }

    fn came_wrong(&self, _: &Descriptor) -> Option<String> {
        (self.wrong > 0).then(|| "`elsewhere`".into())
    }

    fn is_gone(&self) -> bool {
        self.leaves && self.opened.load(Ordering::Relaxed) > 0
    }
}

/// The blobs of a chain of three layers, and who has them.
async fn pack() -> (Vec<LayerBlob>, Memory, String) {
    let world = World::new().await;
    let a = world.state(None, "a=1 d/ d/x=2").await;
    let b = world.state(Some(&a), "-a d/y=3").await;
    let c = world.state(Some(&b), "d/x=4").await;
    let lease = world.refs.content().lease();
    let blobs = c.blobs(Compression::gzip(), &lease).await.unwrap();
    let content = world.refs.content();
    let read = |blob: &LayerBlob| {
        let digest = blob.descriptor.digest.clone();
        (digest.clone(), content.read(&digest).unwrap())
    };
    let memory = Memory { blobs: blobs.iter().map(read).collect(), ..Memory::default() };
    (blobs, memory, show(&c).await)
}

fn pull(world: &World, blobs: &[LayerBlob], provider: &Arc<Memory>) -> ImmutableRef {
    let mut top = None;
    for blob in blobs {
        top = Some(world.refs.lazy_layer(top.as_ref(), blob.clone(), provider.clone(), "pulled"));
    }
    top.unwrap()
}

#[tokio::test]
async fn nothing_is_fetched_before_it_is_read() {
    let (blobs, memory, shown) = pack().await;
    let world = World::new().await;
    let memory = Arc::new(memory);
    let image = pull(&world, &blobs, &memory);
    assert_eq!(pull(&world, &blobs, &memory).id(), image.id());
    let lease = world.refs.content().lease();
    // Blobs that came serve as they are, also unfetched.
    assert_eq!(image.blobs(Compression::gzip(), &lease).await.unwrap(), blobs);
    assert_eq!(memory.opened.load(Ordering::Relaxed), 0);
    let (one, other) = tokio::join!(show(&image), show(&image));
    assert_eq!((one.as_str(), other.as_str()), (&*shown, &*shown));
    assert_eq!(memory.opened.load(Ordering::Relaxed), 3);
    assert!(blobs.iter().all(|blob| world.refs.content().contains(&blob.descriptor.digest)));
    image.persist();
    let id = image.id().to_owned();
    drop((image, lease));
    let world = world.reopen().await;
    assert_eq!(show(&world.refs.get(&id).unwrap()).await, shown);
}

#[tokio::test]
async fn blobs_can_be_fetched_alone() {
    let (blobs, memory, shown) = pack().await;
    let world = World::new().await;
    let memory = Arc::new(memory);
    let image = pull(&world, &blobs, &memory);
    let lease = world.refs.content().lease();
    image.fetch_blobs(&blobs, &BTreeSet::new(), &lease).await.unwrap();
    assert_eq!((memory.opened.load(Ordering::Relaxed), world.layers()), (3, 0));
    let zstd = image.blobs(Compression { force: true, ..Compression::zstd() }, &lease).await.unwrap();
    assert_eq!(world.layers(), 0, "packed anew without the files");
    for (a, b) in zstd.iter().zip(&blobs) {
        assert_eq!(a.diff_id, b.diff_id);
        assert_eq!(a.descriptor.media_type, oci::media::OCI_LAYER_ZSTD);
    }
    // They unpack without another fetch.
    assert_eq!(show(&image).await, shown);
    assert_eq!(memory.opened.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_came_wrong_is_fetched_once_more_and_never_kept() {
    let (blobs, memory, shown) = pack().await;
    let give = |wrong| Arc::new(Memory { blobs: memory.blobs.clone(), wrong, ..Memory::default() });
    for (wrong, is_right) in [(1, true), (9, false)] {
        for unpack in [true, false] {
            let (world, memory) = (World::new().await, give(wrong));
            let image = pull(&world, &blobs[..1], &memory);
            let lease = world.refs.content().lease();
            let result = match unpack {
                true => image.chain().await.map(drop),
                false => image.fetch_blobs(&blobs[..1], &BTreeSet::new(), &lease).await,
            };
            assert_eq!(memory.opened.load(Ordering::Relaxed), 2);
            let told = result.as_ref().map_err(|e| {
                let blob =
                    format!("blob {} from `elsewhere`: unexpected commit digest", blobs[0].descriptor.digest);
                e.to_string().contains(&blob)
            });
            assert_eq!(told, if is_right { Ok(&()) } else { Err(true) });
            assert_eq!(world.refs.content().contains(&blobs[0].descriptor.digest), is_right);
            assert_eq!(world.layers(), usize::from(is_right && unpack));
        }
    }
    let (world, memory) = (World::new().await, give(1));
    assert_eq!(show(&pull(&world, &blobs, &memory)).await, shown);
}

/// After a restart nobody knows who could fetch, so what was not fetched is gone, with what is made of it.
#[tokio::test]
async fn what_was_not_fetched_is_not_kept() {
    let (blobs, memory, _) = pack().await;
    let world = World::new().await;
    let image = pull(&world, &blobs, &Arc::new(memory));
    let merge = world.refs.merge(vec![image.clone(), world.state(None, "e=5").await], "merge");
    merge.persist();
    let ids = [image.id().to_owned(), merge.id().to_owned()];
    drop((image, merge));
    let world = world.reopen().await;
    assert_eq!(ids.map(|id| world.refs.contains(&id)), [false, false]);
    world.files_become("layers-v1", 0).await;
}

/// The same layers in other blobs, added to what `memory` has.
async fn pack_otherwise(blobs: &[LayerBlob], memory: &mut Memory) -> Vec<LayerBlob> {
    let world = World::new().await;
    let first = Arc::new(Memory { blobs: memory.blobs.clone(), ..Memory::default() });
    let lease = world.refs.content().lease();
    let zstd = Compression { force: true, ..Compression::zstd() };
    let others = pull(&world, blobs, &first).blobs(zstd, &lease).await.unwrap();
    for other in &others {
        let digest = &other.descriptor.digest;
        memory.blobs.insert(digest.clone(), world.refs.content().read(digest).unwrap());
    }
    others
}

#[tokio::test]
async fn one_layer_in_two_blobs_is_unpacked_once_and_exported_as_it_came() {
    let (blobs, mut memory, shown) = pack().await;
    let others = pack_otherwise(&blobs, &mut memory).await;
    let (world, memory) = (World::new().await, Arc::new(memory));
    let (one, other) = (pull(&world, &blobs, &memory), pull(&world, &others, &memory));
    assert_ne!(one.id(), other.id());
    assert_eq!(pull(&world, &others, &memory).id(), other.id());
    // What is built on it lies on the same trees, whichever is read first.
    let upper = world.state(Some(&other), "z=5").await;
    assert_eq!(show(&upper).await, format!("{shown} z=5"));
    assert_eq!((show(&one).await, show(&other).await), (shown.clone(), shown.clone()));
    assert_eq!((memory.opened.load(Ordering::Relaxed), world.layers()), (3, 4));

    let lease = world.refs.content().lease();
    assert_eq!(one.blobs(Compression::gzip(), &lease).await.unwrap(), blobs);
    assert_eq!(upper.blobs(Compression::gzip(), &lease).await.unwrap()[..3], others);
    other.fetch_blobs(&others, &BTreeSet::new(), &lease).await.unwrap();
    assert!(others.iter().all(|blob| world.refs.content().contains(&blob.descriptor.digest)));

    // Also over a restart, and of what was on them.
    let (one_id, upper_id) = (one.id().to_owned(), upper.id().to_owned());
    one.persist();
    upper.persist();
    drop((one, other, upper, lease));
    let world = world.reopen().await;
    let lease = world.refs.content().lease();
    let upper = world.refs.get(&upper_id).unwrap();
    assert_eq!(upper.blobs(Compression::gzip(), &lease).await.unwrap()[..3], others);
    assert_eq!(pull(&world, &blobs, &memory).id(), one_id);
    assert_eq!(show(&upper).await, format!("{shown} z=5"));
    let diff = world.refs.diff(Some(&pull(&world, &others, &memory)), Some(&upper), "diff");
    assert_eq!(show(&diff).await, "z=5");
    let merge = world.refs.merge(vec![world.state(None, "y=6").await, upper], "merge");
    assert_eq!(show(&merge).await, format!("{shown} y=6 z=5"));
}

/// The files of such a layer come by whichever blob can be had, and where its own was never fetched, the other serves.
#[tokio::test]
async fn what_one_blob_lacks_the_other_gives() {
    let (blobs, mut memory, shown) = pack().await;
    let others = pack_otherwise(&blobs, &mut memory).await;
    let (world, good) = (World::new().await, Arc::new(memory));
    let leaves = Arc::new(Memory { breaks_off: true, leaves: true, ..Memory::default() });
    let one = pull(&world, &blobs, &leaves);
    assert!(one.view().await.is_err());
    let other = pull(&world, &others, &good);
    assert_eq!(show(&other).await, shown);
    assert_eq!(show(&one).await, shown, "by the blobs of the other");

    let world = World::new().await;
    let (one, other) = (pull(&world, &blobs, &good), pull(&world, &others, &good));
    assert_eq!(show(&other).await, shown);
    other.persist();
    let id = other.id().to_owned();
    drop((one, other));
    let world = world.reopen().await;
    let other = world.refs.get(&id).unwrap();
    assert_eq!(show(&other).await, shown);
    let lease = world.refs.content().lease();
    assert_eq!(other.blobs(Compression::gzip(), &lease).await.unwrap(), blobs);
}

#[tokio::test]
async fn damage_leaves_nothing() {
    let (blobs, memory, shown) = pack().await;
    let world = World::new().await;
    let good = Arc::new(memory);
    let broken = Arc::new(Memory { blobs: good.blobs.clone(), breaks_off: true, ..Memory::default() });
    let image = pull(&world, &blobs, &broken);
    let e = image.view().await.unwrap_err();
    assert!(e.message().contains("the line broke"), "{e}");
    let longer = good.blobs.iter().map(|(digest, bytes)| (digest.clone(), [&bytes[..], b"x"].concat()));
    let wrong = Memory { blobs: longer.collect(), ..Memory::default() };
    let image_of_wrong = pull(&world, &blobs, &Arc::new(wrong));
    assert!(image_of_wrong.view().await.is_err());
    // Work that was under way for the others may end later.
    world.files_become("layers-v1", 0).await;
    world.files_become("content-v1/ingest", 0).await;
    let wrong_diff_id: Vec<_> =
        blobs.iter().map(|blob| LayerBlob { diff_id: Digest::of("other"), ..blob.clone() }).collect();
    let e = pull(&world, &wrong_diff_id[..1], &good).view().await.unwrap_err();
    assert!(e.message().contains("the layer unpacks to"), "{e}");
    // The next who has a good line gets it.
    assert_eq!(show(&pull(&world, &blobs, &good)).await, shown);
}

#[tokio::test]
async fn where_a_client_leaves_another_goes_on() {
    let (blobs, memory, shown) = pack().await;
    let world = World::new().await;
    let stays = Arc::new(memory);
    let (blobs_of_both, breaks_off) = (stays.blobs.clone(), true);
    let leaves = Arc::new(Memory { blobs: blobs_of_both, breaks_off, leaves: true, ..Memory::default() });
    let image = pull(&world, &blobs, &stays);
    pull(&world, &blobs, &leaves);
    assert_eq!(show(&image).await, shown);
    let opened = [&leaves, &stays].map(|m| m.opened.load(Ordering::Relaxed));
    assert!(opened[0] > 0 && opened[1] == 3, "{opened:?}");
}

#[tokio::test]
async fn a_client_that_leaves_alone_is_told_of() {
    let (blobs, memory, _) = pack().await;
    let world = World::new().await;
    let leaves = Arc::new(Memory { breaks_off: true, leaves: true, ..memory });
    let image = pull(&world, &blobs, &leaves);
    for _ in 0..2 {
        let e = image.view().await.unwrap_err();
        assert!(e.message().contains("the line broke"), "{e}");
    }
}
