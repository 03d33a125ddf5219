//! Archives: into trees, out of trees, and through overlayfs itself.

use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use fsutil::mount::{Mount, Source, attach};
use fsutil::tar::{Entry, EntryKind, Reader, Writer};
use snapshot::{LayerId, View};

use crate::world::World;

/// Bytes of an archive of the lines of `text`: `a/ dir`, `a/f file data`, `l symlink t`, `h link a/f`.
fn archive(text: &str) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<_> = line.split(' ').collect();
        let data = words.get(2).copied().unwrap_or_default().as_bytes();
        let kind = match words[1] {
            "dir" => EntryKind::Dir,
            "file" => EntryKind::File,
            "symlink" => EntryKind::Symlink,
            "link" => EntryKind::Hardlink,
            "fifo" => EntryKind::Fifo,
            other => panic!("{other}"),
        };
        let entry = Entry {
            path: words[0].into(),
            kind,
            mode: match kind {
                EntryKind::Dir => 0o755,
                EntryKind::Symlink => 0o777,
                _ => 0o644,
            },
            mtime: (1_000_000_000, 0),
            size: if kind == EntryKind::File { data.len() as u64 } else { 0 },
            link: if kind == EntryKind::File { Vec::new() } else { data.to_vec() },
            ..Entry::default()
        };
        writer.pax_header(&entry).unwrap();
        if kind == EntryKind::File {
            std::io::Write::write_all(&mut writer, data).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn apply(world: &World, text: &str) -> LayerId {
    world.store.apply(&archive(text)[..]).unwrap().layer
}

pub fn diff(world: &World, chain: &[LayerId]) -> Vec<u8> {
    let (top, base) = chain.split_last().unwrap();
    let mut out = Vec::new();
    world.store.write_diff(&world.view(base), std::slice::from_ref(top), &mut out).unwrap();
    out
}

/// Kind, path and target of each member.
fn members(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let link = String::from_utf8_lossy(&entry.link).into_owned();
        found.push(match entry.kind {
            EntryKind::Hardlink => format!("{path} => {link}"),
            EntryKind::Symlink => format!("{path} -> {link}"),
            _ => path,
        });
    }
    found
}

#[test]
fn unpacked_and_packed_again() {
    let world = World::new();
    let text = "d/ dir\nd/f file data\nd/h link d/f\nd/l symlink f\nd/p fifo\nz file last";
    let bytes = archive(text);
    let applied = world.store.apply(&bytes[..]).unwrap();
    assert_eq!(applied.diff_id, oci::Digest::of(&bytes));
    assert_eq!(applied.size, 8);
    assert!(diff(&world, std::slice::from_ref(&applied.layer)) == bytes);
}

#[test]
fn packed_archives_give_the_same_digest() {
    let world = World::new();
    let bytes = archive("f file data");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &bytes).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::stream::encode_all(&bytes[..], 1).unwrap();
    for packed in [&gzip[..], &zstd[..]] {
        let applied = world.store.apply(packed).unwrap();
        assert_eq!(applied.diff_id, oci::Digest::of(&bytes));
        // Every cut is seen, and leaves nothing.
        let layers = std::fs::read_dir(world.dir.path().join("layers-v1")).unwrap().count();
        for cut in [1, packed.len() / 2, packed.len() - 1] {
            world.store.apply(&packed[..cut]).unwrap_err();
        }
        assert_eq!(std::fs::read_dir(world.dir.path().join("layers-v1")).unwrap().count(), layers);
        assert_eq!(std::fs::read_dir(world.dir.path().join("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn whiteouts_in_any_order() {
    let world = World::new();
    let base = apply(&world, "a file 1\nd/ dir\nd/x file 2\ne/ dir\ne/y file 3\nf/ dir\nf/z file 4");
    let top = apply(
        &world,
        ".wh.a file\nd/ dir\nd/n file 5\nd/.wh..wh..opq file\ne/ dir\ne/m file 6\n.wh.e file\n\
         .wh.f file\nf/ dir\nf/o file 7\n.wh..wh.plnk file",
    );
    let shown = world.show(&[base.clone(), top.clone()]);
    let want = ["d 755 dir", "d/n 644 file 5", "e 755 dir", "e/m 644 file 6", "f 755 dir", "f/o 644 file 7"];
    assert_eq!(shown.lines().collect::<Vec<_>>(), want);
    let want = [".wh.a", "d/", "d/n", "d/.wh.x", "e/", "e/m", "e/.wh.y", "f/", "f/o", "f/.wh.z"];
    let mut want = want.to_vec();
    let packed = diff(&world, &[base, top]);
    let mut got = members(&packed);
    got.sort();
    want.sort_unstable();
    assert_eq!(got, want);
}

#[test]
fn nothing_leads_out_of_the_tree() {
    let world = World::new();
    let outside = world.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let out = outside.to_str().unwrap();
    let layer = apply(
        &world,
        &format!(
            "../../up file 1\n/abs file 2\nl symlink {out}\nl/x file 3\nm symlink ../../../..\nm/y file 4\n\
             n symlink {out}\nn file 5"
        ),
    );
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let shown = world.show(&[layer]);
    for line in ["up 644 file 1", "abs 644 file 2", "y 644 file 4", "n 644 file 5"] {
        assert!(shown.lines().any(|l| l == line), "{shown}");
    }
    assert!(shown.contains(&format!("{}/x 644 file 3", out.trim_start_matches('/'))), "{shown}");
    for (text, message) in [
        ("h link nowhere", "which is not in the layer"),
        ("d/ dir\nh link d", "hard link to the directory `d`"),
        ("d/ dir\nd/f file 1\nd link d/f", "in its own place"),
        ("f file 1\nf/x file 2", "`/f` is not a directory"),
        (".wh... file", "invalid whiteout name"),
        (".wh. file", "invalid whiteout name"),
    ] {
        let e = world.store.apply(&archive(text)[..]).unwrap_err();
        assert!(e.message().contains(message), "{e}");
        assert_eq!(e.class(), errdefs::Class::User);
    }
    assert_eq!(std::fs::read_dir(world.dir.path().join("tmp")).unwrap().count(), 0);
}

/// A layer may leave out directories that its base has; they keep the base's attributes.
#[test]
fn directories_that_are_left_out() {
    let world = World::new();
    let base = world.layer(&[], |tree| {
        tree.put_dir(b"tmp", &crate::world::attrs(0o1777)).unwrap();
        tree.put_dir(b"tmp/d", &crate::world::attrs(0o700)).unwrap();
    });
    let top = apply(&world, "tmp/d/f file 1\nnew/g file 2");
    let view = world.view(std::slice::from_ref(&base));
    world.store.settle(&top, &view).unwrap();
    world.store.settle(&top, &view).unwrap();
    let shown = world.show(&[base, top]);
    let want = ["new 755 dir", "new/g 644 file 2", "tmp 1777 dir", "tmp/d 700 dir", "tmp/d/f 644 file 1"];
    assert_eq!(shown.lines().collect::<Vec<_>>(), want);
}

/// Steps may follow each other so quickly that two versions of a file have one time.
#[test]
fn versions_of_one_time_differ() {
    let world = World::new();
    let put = |base: &[LayerId], data: &str| {
        world.layer(base, |tree| {
            let time = Some(snapshot::Time { secs: 7, nanos: 8 });
            let options = snapshot::FileOptions { mode: 0o644, timestamp: time, ..Default::default() };
            tree.mkfile(b"f", data.as_bytes(), &options).unwrap();
        })
    };
    let base = put(&[], "old");
    let same = put(std::slice::from_ref(&base), "old");
    let new = put(std::slice::from_ref(&base), "new");
    assert_eq!(members(&diff(&world, &[base.clone(), same])), [""; 0]);
    assert_eq!(members(&diff(&world, &[base, new])), ["f"]);
}

/// Runs `script` by a shell in a mount of `source`, which is gone afterwards.
fn in_mount(world: &World, source: Source, script: &str) {
    let target = world.dir.path().join("mounts/here");
    std::fs::create_dir_all(&target).unwrap();
    let mount = Mount::new(source, &target).detached().unwrap();
    attach(mount.as_fd(), std::fs::File::open(&target).unwrap().as_fd()).unwrap();
    let status = Command::new("sh").args(["-ec", script]).current_dir(&target).status().unwrap();
    fsutil::mount::unmount(&target).unwrap();
    assert!(status.success(), "{script}");
}

/// What `find` sees, in the form of `show`.
pub fn listing(world: &World, source: Source) -> String {
    let list = world.dir.path().join("list");
    let script = format!(
        "find . -mindepth 1 -printf '%P %m %y %l %U:%G %T@\\n' | LC_ALL=C sort > {}; \
         find . -type f -exec sha256sum '{{}}' + | LC_ALL=C sort >> {0}",
        list.display()
    );
    in_mount(world, source, &script);
    std::fs::read_to_string(list).unwrap()
}

const SCRIPT: &str = "
    mkdir -p a/b c d/e; echo 1 > a/b/f; echo 2 > c/g; echo 3 > d/e/h; ln c/g c/g2; ln -s ../a/b d/l
    chmod 4755 a/b/f; chown 5:6 c; mknod dev c 1 3; mkfifo pipe; touch -d @7.5 a
";
const CHANGES: &str = "
    rm a/b/f; echo new > a/n; rm -r c; mkdir c; echo 4 > c/only; mv d/e/h d/h; chmod 700 d; rm -r d/e
    cp -a c/only c/copy; touch -d @9 dev; mkdir fresh fresh/er; echo x >> fresh/er/x; rm pipe
";

/// Trees that overlayfs wrote are read by views as overlayfs shows them, and go through archives unchanged.
#[test]
fn views_and_archives_agree_with_overlayfs() {
    let world = World::new();
    let first = world.store.new_tree().unwrap();
    in_mount(&world, first.mount_source(&[]).unwrap(), SCRIPT);
    let first = first.commit().unwrap();
    let second = world.store.new_tree().unwrap();
    in_mount(&world, second.mount_source(std::slice::from_ref(&first)).unwrap(), CHANGES);
    let second = second.commit().unwrap();
    let chain = [first, second];
    let mounted = listing(&world, world.store.mount_source(&chain).unwrap());
    assert_eq!(listing_of_view(&world.view(&chain)), mounted);

    let archives = [diff(&world, &chain[..1]), diff(&world, &chain)];
    let again: Vec<_> = archives.iter().map(|bytes| world.store.apply(&bytes[..]).unwrap().layer).collect();
    assert!([diff(&world, &again[..1]), diff(&world, &again)] == archives);
    // Archives hold whole seconds.
    let cut = |text: &str| {
        text.lines()
            .map(|line| line.rsplit_once('.').map_or(line, |(head, _)| head).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(cut(&listing(&world, world.store.mount_source(&again).unwrap())), cut(&mounted));

    // GNU tar reads them as well.
    let dir = world.dir.path().join("tar");
    std::fs::create_dir(&dir).unwrap();
    for (i, bytes) in archives.iter().enumerate() {
        let file = world.dir.path().join(format!("{i}.tar"));
        std::fs::write(&file, bytes).unwrap();
        let status = Command::new("tar").arg("-xpf").arg(&file).arg("-C").arg(&dir).status().unwrap();
        assert!(status.success());
    }
}

pub fn listing_of_view(view: &View) -> String {
    let (mut lines, mut sums) = (Vec::new(), Vec::new());
    for entry in view.walk(b"").unwrap().skip(1).map(Result::unwrap) {
        let (path, meta) = (String::from_utf8(entry.path.clone()).unwrap(), entry.meta);
        let (kind, link) = match meta.file_type {
            snapshot::FileType::Dir => ('d', String::new()),
            snapshot::FileType::Symlink => {
                ('l', String::from_utf8(view.read_link(&entry.path).unwrap()).unwrap())
            }
            snapshot::FileType::Char => ('c', String::new()),
            snapshot::FileType::Fifo => ('p', String::new()),
            _ => {
                let bytes = view.read(&entry.path, 8 << 20).unwrap().unwrap();
                sums.push(format!("{}  ./{path}", oci::Digest::of(bytes).hex()));
                ('f', String::new())
            }
        };
        let (secs, nanos) = (meta.mtime.secs, meta.mtime.nanos);
        lines.push(format!(
            "{path} {:o} {kind} {link} {}:{} {secs}.{nanos:09}0",
            meta.mode, meta.uid, meta.gid
        ));
    }
    lines.sort();
    sums.sort();
    lines.extend(sums);
    lines.into_iter().map(|line| line + "\n").collect()
}

/// Archives that GNU tar made, in all its formats, become what it packed.
#[test]
fn archives_of_gnu_tar() {
    const TREE: &str = "
        mkdir -p d/e; echo 1 > d/f; ln d/f d/g; ln -s ../d d/e/l; mkfifo p; mknod c c 5 1; chmod 2755 d
        long=$(printf 'n%.0s' $(seq 90)); mkdir -p $long/$long; echo 2 > $long/$long/x; ln -s $long/$long/$long y
        truncate -s 3M sparse; echo middle | dd of=sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null
        chown 3000000:7 d/f; find . -exec touch -h -d @1500000000 {} +
    ";
    for format in
        ["gnu", "oldgnu", "pax", "pax --sparse", "gnu --sparse", "pax --sparse --sparse-version=0.1"]
    {
        let world = World::new();
        let packed = world.store.new_tree().unwrap();
        in_mount(&world, packed.mount_source(&[]).unwrap(), TREE);
        let file = world.dir.path().join("packed.tar");
        let script = format!(
            "tar --format={format} --sort=name -cf {} -C {} .",
            file.display(),
            packed.path().display()
        );
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        let want = listing(&world, packed.mount_source(&[]).unwrap());
        let layer = world.store.apply(std::fs::File::open(&file).unwrap()).unwrap().layer;
        let cut = |text: &str| text.replace(".0000000000", "");
        assert_eq!(cut(&listing_of_view(&world.view(&[layer]))), cut(&want), "{format}");
    }
}

/// More layers than one mount takes.
#[test]
fn very_long_chains_are_squashed() {
    let world = World::new();
    let mut chain = Vec::new();
    for i in 0..430 {
        chain.push(world.made_of(&[], &format!("f{} file {i}\nlast file {i}", i % 100)));
    }
    chain.insert(0, world.made_of(&[], "one file 1\ntwo link one"));
    let list = listing(&world, world.store.mount_source(&chain).unwrap());
    assert_eq!(list, listing_of_view(&world.view(&chain)));
    // The one with the lowest layers.
    let squashed = || {
        let names = std::fs::read_dir(world.dir.path().join("mounts")).unwrap();
        names.map(|entry| entry.unwrap()).find(|entry| entry.path().join("tree/two").exists())
    };
    let links = squashed().unwrap().path().join("tree/one").metadata().unwrap().ino();
    assert_eq!(links, squashed().unwrap().path().join("tree/two").metadata().unwrap().ino());
    world.store.remove(&chain[3]).unwrap();
    assert!(squashed().is_none());
}

mod foreign {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Damage anywhere gives an error or a layer, never a panic or a trace.
        #[test]
        fn damaged_archives(at in 0usize..4096, with in any::<u8>(), cut in 0usize..4096) {
            let world = World::new();
            let mut bytes = archive("d/ dir\nd/f file data\nd/h link d/f\nl symlink d\nl/x file y");
            let len = bytes.len();
            bytes[at % len] = with;
            bytes.truncate(cut.max(1) % (len + 1));
            let layers = match world.store.apply(&bytes[..]) {
                Ok(_) => 1,
                Err(_) => 0,
            };
            let count = |name: &str| std::fs::read_dir(world.dir.path().join(name)).unwrap().count();
            prop_assert_eq!((count("layers-v1"), count("tmp")), (layers, 0));
        }
    }
}
