use std::collections::HashMap;

use snapshot::{CopyOptions, LayerId, Mode, Owner, Time, View};

use crate::world::World;

fn check(got: &str, want: &[&str]) {
    assert_eq!(got.lines().collect::<Vec<_>>(), want);
}

fn options() -> CopyOptions {
    CopyOptions { create_dest_path: true, ..CopyOptions::default() }
}

fn copy(
    world: &World,
    base: &[LayerId],
    from: &View,
    src: &str,
    dest: &str,
    options: &CopyOptions,
) -> LayerId {
    world.layer(base, |tree| tree.copy(from, src.as_bytes(), dest.as_bytes(), options).unwrap())
}

fn source(world: &World) -> View {
    world.view(&[world.made_of(
        &[],
        "a dir\na/x file 1\na/s dir\na/s/y file 2\na/l symlink x\nb file 3\nln symlink a\nh link b",
    )])
}

#[test]
fn where_things_go() {
    let world = World::new();
    let from = source(&world);
    let base = world.made_of(&[], "there dir\nto symlink there");
    let run = |src: &str, dest: &str, options: &CopyOptions| {
        let base = [base.clone()];
        let layer = copy(&world, &base, &from, src, dest, options);
        let shown = world.show(&[layer]);
        shown.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let contents = CopyOptions { dir_contents: true, ..options() };
    assert_eq!(run("b", "new", &options()), "new");
    assert_eq!(run("b", "/new/", &options()), "new new/b");
    assert_eq!(run("b", "/p/q/new", &options()), "p p/q p/q/new");
    assert_eq!(run("b", "there", &options()), "there there/b");
    assert_eq!(run("b", "to", &options()), "there there/b");
    assert_eq!(run("b", "to/x", &options()), "there there/x");
    assert_eq!(run("a", "new", &options()), "new new/l new/s new/s/y new/x");
    assert_eq!(run("a", "there", &options()), "there there/a there/a/l there/a/s there/a/s/y there/a/x");
    assert_eq!(run("a", "there", &contents), "there there/l there/s there/s/y there/x");
    assert_eq!(run("a", "new", &contents), "new new/l new/s new/s/y new/x");
    assert_eq!(run("ln", "new", &options()), "new");
    assert_eq!(
        run("ln", "new", &CopyOptions { follow_symlinks: true, ..contents.clone() }),
        "new new/l new/s new/s/y new/x"
    );
    let wildcard = CopyOptions { allow_wildcard: true, ..options() };
    assert_eq!(run("a/*", "/new/", &wildcard), "new new/l new/s new/s/y new/x");
    let filtered = CopyOptions { include: vec!["s/y".into()], ..contents.clone() };
    assert_eq!(run("a", "new", &filtered), "new new/s new/s/y");
    let filtered = CopyOptions { exclude: vec!["s".into(), "!s/y".into()], ..contents };
    assert_eq!(run("a", "new", &filtered), "new new/l new/s new/s/y new/x");
}

#[test]
fn what_cannot_be_copied() {
    let world = World::new();
    let from = source(&world);
    let base = world.made_of(&[], "d dir\nd/b dir\nf file 1");
    let error = |src: &str, dest: &str, options: &CopyOptions| {
        let mut tree = world.store.new_tree().unwrap().builder(world.view(std::slice::from_ref(&base)));
        tree.copy(&from, src.as_bytes(), dest.as_bytes(), options).unwrap_err().message().to_owned()
    };
    assert_eq!(error("none", "x", &options()), "lstat /none: no such file or directory");
    assert_eq!(error("b", "d", &options()), "cannot replace to directory /d/b with file");
    assert_eq!(
        error("a", "f", &CopyOptions { dir_contents: true, ..options() }),
        "cannot copy to non-directory: /f"
    );
    let wildcard = CopyOptions { allow_wildcard: true, ..options() };
    assert_eq!(error("none*", "x", &wildcard), "/none* not found");
    let strict = CopyOptions::default();
    assert_eq!(error("b", "no/x", &strict), "failed to stat /no/x: lstat /no: no such file or directory");
    let replace = CopyOptions { always_replace_existing: true, ..options() };
    let layer = copy(&world, std::slice::from_ref(&base), &from, "b", "d", &replace);
    check(&world.show(&[base, layer]), &["d 755 dir", "d/b 644 file 3", "f 644 file 1"]);
}

#[test]
fn owner_mode_and_time() {
    let world = World::new();
    let from = source(&world);
    let given = CopyOptions {
        owner: Some(Owner { uid: 7, gid: 8 }),
        mode: Some(Mode::Symbolic("u=rwX,go=".into())),
        timestamp: Some(Time { secs: 42, nanos: 1 }),
        ..options()
    };
    let layer = copy(&world, &[], &from, "a", "/p/a", &given);
    let view = world.view(&[layer]);
    check(
        &crate::world::show(&view),
        &[
            "p 755 dir",
            "p/a 700 dir",
            "p/a/l 777 symlink x",
            "p/a/s 700 dir",
            "p/a/s/y 600 file 2",
            "p/a/x 600 file 1",
        ],
    );
    for entry in view.walk(b"p").unwrap() {
        let meta = entry.unwrap().meta;
        assert_eq!((meta.uid, meta.gid, meta.mtime), (7, 8, Time { secs: 42, nanos: 1 }));
    }
    let absolute = CopyOptions { mode: Some(Mode::Absolute(0o4711)), ..options() };
    let layer = copy(&world, &[], &from, "a/x", "/p/x", &absolute);
    check(&world.show(&[layer]), &["p 711 dir", "p/x 4711 file 1"]);
}

#[test]
fn known_files_are_linked_and_hard_links_stay() {
    let world = World::new();
    let from = source(&world);
    let layer = copy(&world, &[], &from, "/", "/in/", &CopyOptions { dir_contents: true, ..options() });
    let view = world.view(&[layer]);
    let ino = |view: &View, path: &str| view.lstat(path.as_bytes()).unwrap().unwrap().ino;
    for (ours, theirs) in [("in/a/x", "a/x"), ("in/a/s/y", "a/s/y"), ("in/b", "b"), ("in/h", "b")] {
        assert_eq!(ino(&view, ours), ino(&from, theirs));
    }
}

/// Links are made on the side, and directories keep their times though files come into them late.
#[test]
fn a_large_copy_is_whole() {
    let world = World::new();
    let mut text = String::new();
    for dir in 0..3 {
        text.push_str(&format!("d{dir} dir\n"));
        (0..300).for_each(|file| text.push_str(&format!("d{dir}/{file} file {dir}-{file}\n")));
    }
    let from = world.view(&[world.made_of(&[], &text)]);
    let options = CopyOptions { dir_contents: true, ..options() };
    let layer = copy(&world, &[], &from, "/", "/", &options);
    assert_eq!(world.show(std::slice::from_ref(&layer)), crate::world::show(&from));
    let view = world.view(&[layer]);
    for path in [&b"d0"[..], b"d1", b"d2", b"d1/7"] {
        let (ours, theirs) = (view.lstat(path).unwrap().unwrap(), from.lstat(path).unwrap().unwrap());
        assert_eq!(ours.mtime, theirs.mtime);
        assert_eq!(ours.ino == theirs.ino, ours.is_file());
    }
}

/// Programs take two paths with one inode for a hard link, so no view shows an inode twice but for real hard links.
#[test]
fn no_inode_twice() {
    let world = World::new();
    let from = source(&world);
    let mut chain: Vec<LayerId> = Vec::new();
    for (src, dest) in [("a/x", "/one"), ("a/x", "/two"), ("a", "/three"), ("a", "/four"), ("a/x", "/one")] {
        let layer = copy(&world, &chain, &from, src, dest, &options());
        chain.push(layer);
    }
    // From a layer of the chain itself.
    let own = world.view(&chain);
    chain.push(copy(&world, &chain, &own, "three", "/five", &options()));
    // Twice in one tree.
    let layer = world.layer(&chain, |tree| {
        tree.copy(&from, b"a/s", b"/six", &options()).unwrap();
        tree.copy(&from, b"a/s", b"/seven", &options()).unwrap();
    });
    chain.push(layer);
    let view = world.view(&chain);
    let mut seen = HashMap::new();
    for entry in view.walk(b"").unwrap().map(Result::unwrap).filter(|e| e.meta.is_file()) {
        if let Some(other) = seen.insert(entry.meta.ino, entry.path.clone()) {
            panic!("{} is {}", String::from_utf8_lossy(&entry.path), String::from_utf8_lossy(&other));
        }
    }
    assert_eq!(seen.len(), 2 + 2 + 2 + 2 + 2);
}

/// A file with several names in each of two layers is one file in each of them, and not one in both.
#[test]
fn hard_links_of_two_layers_stay_apart_in_a_stack() {
    let world = World::new();
    let from = source(&world);
    let contents = CopyOptions { dir_contents: true, ..options() };
    let part =
        |dest: &str| snapshot::Part { layer: copy(&world, &[], &from, "/", dest, &contents), base: vec![] };
    let view = world.view(&world.store.stack(&[], &[part("/one/"), part("/two/")]).unwrap());
    let ino = |path: &str| view.lstat(path.as_bytes()).unwrap().unwrap().ino;
    assert_eq!((ino("one/b"), ino("two/b")), (ino("one/h"), ino("two/h")));
    assert_ne!(ino("one/b"), ino("two/b"));
}

/// The same for layers that were made apart and are put on each other.
#[test]
fn no_inode_twice_in_a_stack() {
    let world = World::new();
    let from = source(&world);
    let part =
        |dest: &str| snapshot::Part { layer: copy(&world, &[], &from, "a", dest, &options()), base: vec![] };
    let mut parts = vec![part("/one"), part("/two"), part("/one")];
    parts.push(snapshot::Part { layer: from.chain()[0].clone(), base: vec![] });
    let chain = world.store.stack(&[], &parts).unwrap();
    assert_eq!(chain[2], parts[2].layer, "the same file at the same path needs no copy");
    let mut seen = HashMap::new();
    for entry in world.view(&chain).walk(b"").unwrap().map(Result::unwrap).filter(|e| e.meta.is_file()) {
        let several = entry.path == b"h";
        if let Some(other) = seen.insert(entry.meta.ino, entry.path.clone()).filter(|_| !several) {
            panic!("{} is {}", String::from_utf8_lossy(&entry.path), String::from_utf8_lossy(&other));
        }
    }
}
