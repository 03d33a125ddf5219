//! What layers take, and what comes free when they go, against what the disk says.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use snapshot::{CopyOptions, FileOptions, LayerId};

use crate::world::World;

/// Bytes below a folder, each inode once.
fn disk(dir: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut total = 0;
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        if seen.insert(meta.ino()) {
            total += meta.blocks() * 512;
        }
        if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    total
}

fn objects(world: &World) -> usize {
    let fans = std::fs::read_dir(world.dir.path().join("objects-v1")).unwrap();
    fans.map(|fan| std::fs::read_dir(fan.unwrap().path()).unwrap().count()).sum()
}

/// Layers that share objects with each other, show one at several paths, link files of another, and link their own.
fn layers(world: &World) -> Vec<LayerId> {
    let big = |c: &str| c.repeat(20_000);
    let shared = format!("a file {}\nb file {}\nc file {}", big("x"), big("x"), big("y"));
    let first = world.made_of(&[], &shared);
    let second =
        world.made_of(&[], &format!("{shared}\nd dir\nd/e file {}\nl link a\ns symlink a", big("z")));
    let third = world.layer(&[], |tree| {
        let options = FileOptions { mode: 0o644, ..FileOptions::default() };
        tree.mkfile(b"own", big("w").as_bytes(), &options).unwrap();
        tree.mkfile(b"other", big("v").as_bytes(), &options).unwrap();
        tree.put_hardlink(b"own2", b"own").unwrap();
    });
    let from = world.view(std::slice::from_ref(&third));
    let fourth = world.layer(&[], |tree| {
        tree.copy(&from, b"/own", b"/copied", &CopyOptions::default()).unwrap();
        tree.copy(&from, b"/other", b"/other", &CopyOptions::default()).unwrap();
    });
    let from = world.view(std::slice::from_ref(&second));
    let fifth = world.layer(&[], |tree| {
        tree.copy(&from, b"/d/e", b"/e", &CopyOptions::default()).unwrap();
    });
    vec![first, second, third, fourth, fifth]
}

#[test]
fn the_shares_of_all_layers_are_what_the_disk_says() {
    let world = World::new();
    let layers = layers(&world);
    let shares: u64 = layers.iter().map(|layer| world.store.usage(layer).unwrap()).sum();
    let folders = ["", "layers-v1", "mounts", "tmp"]
        .map(|name| std::fs::metadata(world.dir.path().join(name)).unwrap().blocks() * 512);
    let told = shares + world.store.objects().loose_size().unwrap() + folders.iter().sum::<u64>();
    // A share that does not come out even is rounded down.
    assert!(disk(world.dir.path()).abs_diff(told) < 100, "{told} {}", disk(world.dir.path()));
}

/// Removes the layers in an order; each must free what it says, and nothing may be left.
fn check(order: [usize; 5]) {
    let world = World::new();
    let layers = layers(&world);
    let brought: u64 = layers.iter().map(|layer| world.store.own_size(layer).unwrap()).sum();
    let mut freed_of_trees = 0;
    for at in order {
        let before = disk(world.dir.path());
        let freed = world.store.remove(&layers[at]).unwrap();
        assert_eq!(before - disk(world.dir.path()), freed.total(), "{order:?} {at} {freed:?}");
        freed_of_trees += freed.own + freed.linked;
    }
    assert_eq!(objects(&world), 0, "{order:?}");
    assert_eq!(brought, freed_of_trees, "{order:?}");
    assert_eq!(world.store.remove(&layers[0]).unwrap(), snapshot::Freed::default());
}

#[test]
fn a_layer_frees_what_it_says_and_takes_its_objects_along() {
    check([0, 1, 2, 3, 4]);
    check([4, 3, 2, 1, 0]);
    check([2, 0, 4, 1, 3]);
    check([1, 3, 0, 2, 4]);
}

#[test]
fn an_object_in_hand_stays_when_its_last_layer_goes() {
    let world = World::new();
    let layer = world.made_of(&[], "a file data");
    let meta =
        std::fs::metadata(world.dir.path().join("layers-v1").join(layer.as_str()).join("tree/a")).unwrap();
    let mut writer = world.store.objects().create(&crate::world::attrs(0o644), 4).unwrap();
    std::io::Write::write_all(&mut writer, b"data").unwrap();
    let object = writer.finish().unwrap();
    assert_eq!(std::fs::metadata(object.path()).unwrap().ino(), meta.ino());
    assert_eq!(world.store.remove(&layer).unwrap().objects, 0);
    assert_eq!(world.store.objects().collect().unwrap().freed, 0);
    let again = world.layer(&[], |tree| tree.put_object(b"b", &object).unwrap());
    drop(object);
    assert!(world.store.objects().is_suspect());
    assert_eq!(world.store.objects().collect().unwrap(), snapshot::Collected::default());
    assert!(world.store.remove(&again).unwrap().objects > 0);
    assert_eq!(objects(&world), 0);
}
