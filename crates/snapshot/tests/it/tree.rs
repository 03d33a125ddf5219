use snapshot::{
    Attrs, FileOptions, MkdirOptions, Owner, Part, Placed, RemoveOptions, Spot, Time, TreeBuilder,
};

use crate::world::{World, attrs};

fn check(got: &str, want: &[&str]) {
    assert_eq!(got.lines().collect::<Vec<_>>(), want);
}

#[test]
fn layers_hide_and_merge() {
    let world = World::new();
    let a = world.made_of(&[], "d dir\nd/x file 1\nd/y file 2\ne dir\ne/z file 3\nf file 4");
    let b = world.made_of(std::slice::from_ref(&a), "d/x rm\nd/w file 5\ne rm\nf rm\nf dir\nf/g file 6");
    let chain = [a.clone(), b.clone()];
    check(
        &world.show(&chain),
        &["d 755 dir", "d/w 644 file 5", "d/y 644 file 2", "f 755 dir", "f/g 644 file 6"],
    );
    let c = world.made_of(&chain, "e dir\ne/n file 7\nd rm\nd dir");
    check(
        &world.show(&[a, b, c]),
        &["d 755 dir", "e 755 dir", "e/n 644 file 7", "f 755 dir", "f/g 644 file 6"],
    );
}

#[test]
fn nothing_is_seen_before_commit_and_nothing_stays_after_a_drop() {
    let world = World::new();
    let mut builder = world.store.new_tree().unwrap().builder(world.view(&[]));
    builder.mkfile(b"a", b"1", &FileOptions::default()).unwrap();
    let count = |name: &str| std::fs::read_dir(world.dir.path().join(name)).unwrap().count();
    assert_eq!((count("layers-v1"), count("tmp")), (0, 1));
    drop(builder);
    assert_eq!((count("layers-v1"), count("tmp")), (0, 0));
}

#[test]
fn sweep_keeps_what_is_live() {
    let world = World::new();
    let (a, b) = (world.made_of(&[], "x file 1"), world.made_of(&[], "y file 2"));
    std::fs::create_dir(world.dir.path().join("tmp/tree-left")).unwrap();
    let again = snapshot::Store::open(world.dir.path(), snapshot::Options::default()).unwrap();
    again.sweep(&|id| *id == a).unwrap().remove().unwrap();
    assert!(again.contains(&a) && !again.contains(&b));
    assert_eq!(std::fs::read_dir(world.dir.path().join("tmp")).unwrap().count(), 0);
    assert!(again.objects().collect().unwrap().freed > 0);
    assert_eq!(again.objects().collect().unwrap(), snapshot::Collected::default());
}

#[test]
fn small_file_operations() {
    let world = World::new();
    let base = world.made_of(&[], "d dir\nd/f file old\nl symlink d\nbroken symlink nowhere/x");
    let layer = world.layer(std::slice::from_ref(&base), |tree| {
        let parents = MkdirOptions { mode: 0o700, parents: true, ..MkdirOptions::default() };
        tree.mkdir(b"/p/q/r", &parents).unwrap();
        tree.mkdir(b"/l/s", &MkdirOptions { mode: 0o711, ..MkdirOptions::default() }).unwrap();
        tree.mkdir(b"/d", &MkdirOptions { mode: 0o700, ..MkdirOptions::default() }).unwrap();
        let file = FileOptions {
            mode: 0o600,
            owner: Some(Owner { uid: 3, gid: 4 }),
            timestamp: Some(Time::from_nanos(5_000_000_006)),
        };
        tree.mkfile(b"/l/f", b"new", &file).unwrap();
        tree.mkfile(b"/p/n", b"n", &file).unwrap();
        tree.symlink(b"../x", b"/p/l", &FileOptions::default()).unwrap();
        let message = |r: errdefs::Result<()>| r.unwrap_err().message().to_owned();
        let plain = MkdirOptions::default();
        assert_eq!(message(tree.mkdir(b"/no/such", &plain)), "mkdir /no/such: no such file or directory");
        assert_eq!(message(tree.mkdir(b"/d/f/x", &parents)), "mkdir /d/f: not a directory");
        assert_eq!(message(tree.mkfile(b"/no/such", b"", &file)), "open /no/such: no such file or directory");
        assert_eq!(message(tree.mkfile(b"/d", b"", &file)), "open /d: is a directory");
        assert_eq!(message(tree.symlink(b"t", b"/d", &file)), "symlink t /d: file exists");
        let strict = RemoveOptions::default();
        assert_eq!(message(tree.remove(b"/none", &strict)), "stat /none: no such file or directory");
        assert_eq!(message(tree.remove(b"/", &strict)), "rmPath: invalid empty path");
        tree.remove(b"/none", &RemoveOptions { allow_not_found: true, ..strict }).unwrap();
        tree.remove(b"/broken", &RemoveOptions { allow_not_found: true, ..strict }).unwrap();
    });
    let chain = [base, layer];
    check(
        &world.show(&chain),
        &[
            "d 755 dir",
            "d/f 644 file new",
            "d/s 711 dir",
            "l 777 symlink d",
            "p 700 dir",
            "p/l 777 symlink ../x",
            "p/n 600 file n",
            "p/q 700 dir",
            "p/q/r 700 dir",
        ],
    );
    let meta = world.view(&chain).lstat(b"d/f").unwrap().unwrap();
    assert_eq!((meta.uid, meta.gid, meta.mtime), (3, 4, Time { secs: 5, nanos: 6 }));
}

#[test]
fn removal_by_wildcard() {
    let world = World::new();
    let base = world.made_of(&[], "d dir\nd/a1 file 1\nd/a2 file 2\nd/b file 3\na3 file 4");
    let layer = world.layer(std::slice::from_ref(&base), |tree| {
        tree.mkfile(b"/d/a9", b"9", &FileOptions::default()).unwrap();
        let wildcard = RemoveOptions { wildcard: true, allow_not_found: false };
        tree.remove(b"/d/a*", &wildcard).unwrap();
        tree.remove(b"/none*", &wildcard).unwrap();
    });
    check(&world.show(&[base, layer]), &["a3 644 file 4", "d 755 dir", "d/b 644 file 3"]);
}

/// A layer made on one base must do the same on another: what it hides as a whole is hidden name by name.
#[test]
fn stacked_on_another_base() {
    let world = World::new();
    let base = world.made_of(&[], "d dir\nd/old file 1");
    let top = world.made_of(std::slice::from_ref(&base), "d rm\nd dir\nd/new file 2");
    let other = world.made_of(&[], "d dir\nd/old file 3\nd/kept file 4");
    let parts =
        [Part { layer: other.clone(), base: vec![] }, Part { layer: top.clone(), base: vec![base.clone()] }];
    let chain = world.store.stack(&[], &parts).unwrap();
    assert_ne!(chain[1], top);
    check(&world.show(&chain), &["d 755 dir", "d/kept 644 file 4", "d/new 644 file 2"]);
    let natural =
        [Part { layer: base.clone(), base: vec![] }, Part { layer: top.clone(), base: vec![base.clone()] }];
    assert_eq!(world.store.stack(&[], &natural).unwrap(), [base, top]);
}

#[test]
fn difference_of_two_trees() {
    let world = World::new();
    let lower = world.made_of(&[], "d dir\nd/same file 1\nd/changed file 2\nd/gone file 3\nx file 4");
    let upper = world.made_of(&[], "d dir\nd/same file 1\nd/changed file 5\nx dir\nx/y file 6");
    let (a, b) = (world.view(std::slice::from_ref(&lower)), world.view(std::slice::from_ref(&upper)));
    let diff = world.store.diff(&a, &b).unwrap().commit().unwrap();
    assert_eq!(world.show(&[lower, diff.clone()]), world.show(&[upper]));
    check(&world.show(&[diff]), &["d 755 dir", "d/changed 644 file 5", "x 755 dir", "x/y 644 file 6"]);
}

/// Whatever new files are by themselves, an object is what was asked for.
#[test]
fn objects_have_their_attributes() {
    let world = World::new();
    for (mode, uid, gid) in
        [(0o644, 0, 0), (0o600, 0, 0), (0o777, 0, 0), (0o4755, 0, 0), (0, 0, 0), (0o644, 5, 6)]
    {
        let attrs = Attrs { owner: Owner { uid, gid }, ..attrs(mode) };
        let mut writer = world.store.objects().create(&attrs, 1).unwrap();
        std::io::Write::write_all(&mut writer, b"x").unwrap();
        let object = writer.finish().unwrap();
        let layer = world.layer(&[], |tree| tree.put_object(b"f", &object).unwrap());
        let meta = world.view(&[layer]).lstat(b"f").unwrap().unwrap();
        assert_eq!(
            (meta.mode, meta.owner(), meta.mtime),
            (mode, attrs.owner, attrs.mtime),
            "{mode:o} {uid}:{gid}"
        );
    }
}

/// Writes a file where the tree shows it.
fn write_in_place(tree: &mut TreeBuilder, path: &[u8], data: &[u8]) -> (Spot, Placed) {
    let spot = tree.keep_place(path).unwrap();
    let objects = tree.store().objects().clone();
    let mut writer = objects.create_in_place(&spot, &attrs(0o644), data.len() as u64).unwrap();
    std::io::Write::write_all(&mut writer, data).unwrap();
    (spot, writer.finish_in_place().unwrap())
}

#[test]
fn files_are_written_where_they_stay() {
    let world = World::new();
    let files: [(&[u8], &[u8]); 4] = [(b"a", b"1"), (b"d/same", b"2"), (b"d/twin", b"2"), (b"z", b"2")];
    let fill = |tree: &mut TreeBuilder| {
        tree.put_dir(b"d", &attrs(0o755)).unwrap();
        let written = files.map(|(path, data)| write_in_place(tree, path, data));
        let (mut again, mut in_place) = (Vec::new(), 0);
        for (spot, file) in written {
            if tree.put_placed(&spot, &file) {
                in_place += 1;
            } else {
                again.push((spot.into_path(), file.object));
            }
        }
        for (path, object) in again {
            tree.put_object(&path, &object).unwrap();
        }
        in_place
    };
    let want = ["a 644 file 1", "d 755 dir", "d/same 644 file 2", "d/twin 644 file 2", "z 644 file 2"];
    for known in [2, 0] {
        let layer = world.layer(&[], |tree| assert_eq!(fill(tree), known));
        check(&world.show(std::slice::from_ref(&layer)), &want);
        let view = world.view(&[layer]);
        let inode = |path: &[u8]| view.lstat(path).unwrap().unwrap().ino;
        let inodes: std::collections::HashSet<_> = files.iter().map(|(path, _)| inode(path)).collect();
        assert_eq!(inodes.len(), files.len(), "an inode shows twice");
    }
}

/// What was under way when a tree is given up leaves nothing but objects in hand.
#[test]
fn a_tree_that_is_given_up_leaves_no_files() {
    let world = World::new();
    let mut tree = world.store.new_tree().unwrap().builder(world.view(&[]));
    let (_, file) = write_in_place(&mut tree, b"a", b"1");
    let spot = tree.keep_place(b"b").unwrap();
    let late = world.store.objects().create_in_place(&spot, &attrs(0o644), 1).unwrap();
    drop(tree);
    drop(late);
    assert!(world.store.objects().give_up(file.object).unwrap() > 0);
    assert_eq!(std::fs::read_dir(world.dir.path().join("tmp")).unwrap().count(), 0);
}

/// Overlayfs copies a directory up for what is made and removed in it; nothing of that is a change.
#[test]
fn directories_that_only_look_touched_are_dropped() {
    let world = World::new();
    let base = world.made_of(&[], "etc dir\netc/f file 1\nold dir\na dir\na/b dir\na/b/c dir\nx dir");
    let view = world.view(std::slice::from_ref(&base));
    let tree = world.store.new_tree().unwrap();
    let at = |path: &str| tree.path().join(path);
    let dir = |path: &str| {
        std::fs::create_dir(at(path)).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(at(path), mode).unwrap();
    };
    ["etc", "old", "a", "a/b", "a/b/c", "new"].into_iter().for_each(dir);
    std::fs::File::open(at("old")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    // A step that wants its neighbour gone.
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), at("x")).unwrap();
    std::fs::create_dir(outside.path().join("y")).unwrap();
    std::fs::write(at("a/kept"), "2").unwrap();
    for path in [&b"/etc"[..], b"old", b"a/b/c", b"new", b"x/y", b"", b"nowhere/at/all"] {
        tree.drop_untouched(&view, path).unwrap();
    }
    assert!(outside.path().join("y").is_dir());
    let layer = tree.commit().unwrap();
    let shown = world.show(&[layer]);
    assert_eq!(
        shown.lines().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["a", "a/kept", "new", "old", "x"]
    );
}
