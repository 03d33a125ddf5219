//! Random edits: views, mounts and archives must agree on what came of them.

use std::collections::HashMap;

use proptest::prelude::*;
use snapshot::{CopyOptions, FileOptions, LayerId, MkdirOptions, Part, RemoveOptions, View};

use crate::layers::{diff, listing, listing_of_view};
use crate::world::{World, attrs};

#[derive(Debug, Clone)]
enum Edit {
    Mkdir(String),
    Mkfile(String, u8),
    /// A file of which the store has one copy, however often it is shown. Its length is 1, 3 or 4.
    Object(String, u8),
    Symlink(String, String),
    Link(String, String),
    Remove(String),
    /// From the source, from below, or from an earlier layer alone.
    Copy(usize, String, String, bool),
    /// Ends the layer.
    Commit,
    /// Ends the layer, which was made on nothing and is put on the others, as `COPY --link` does.
    Apart,
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|parts| parts.join("/"))
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        path().prop_map(Edit::Mkdir),
        (path(), any::<u8>()).prop_map(|(p, data)| Edit::Mkfile(p, data)),
        (path(), 0u8..3).prop_map(|(p, which)| Edit::Object(p, which)),
        (path(), 0u8..3).prop_map(|(p, which)| Edit::Object(p, which)),
        (path(), path()).prop_map(|(t, p)| Edit::Symlink(t, p)),
        (path(), path()).prop_map(|(t, p)| Edit::Link(t, p)),
        path().prop_map(Edit::Remove),
        (0usize..4, path(), path(), any::<bool>())
            .prop_map(|(n, s, d, contents)| Edit::Copy(n, s, d, contents)),
        (0usize..4, path(), path(), any::<bool>())
            .prop_map(|(n, s, d, contents)| Edit::Copy(n, s, d, contents)),
        Just(Edit::Commit),
        Just(Edit::Apart),
    ]
}

/// Carries out the edits; one that is refused changes nothing that matters here.
fn run(world: &World, edits: &[Edit]) -> Vec<LayerId> {
    let source = world.made_of(
        &[],
        "a dir\na/a file 1\na/b file 22\nb dir\nb/a dir\nb/a/c file 333\nb/c link a/b\nc file 4444",
    );
    let source = world.view(&[source]);
    let mut chain: Vec<LayerId> = Vec::new();
    for part in edits.split_inclusive(|edit| matches!(edit, Edit::Commit | Edit::Apart)) {
        let below = world.view(&chain);
        let apart = matches!(part.last(), Some(Edit::Apart));
        let layer = world.layer(if apart { &[] } else { &chain }, |tree| {
            for edit in part {
                let done = match edit {
                    Edit::Mkdir(p) => tree.mkdir(
                        p.as_bytes(),
                        &MkdirOptions { mode: 0o755, parents: true, ..Default::default() },
                    ),
                    Edit::Mkfile(p, data) => tree.mkfile(
                        p.as_bytes(),
                        &[*data],
                        &FileOptions { mode: 0o644, ..Default::default() },
                    ),
                    Edit::Object(p, which) => {
                        let data = ["o", "ooo", "oooo"][usize::from(*which)];
                        let objects = tree.store().objects().clone();
                        let mut object = objects.create(&attrs(0o644), data.len() as u64).unwrap();
                        std::io::Write::write_all(&mut object, data.as_bytes()).unwrap();
                        tree.put_object(p.as_bytes(), &object.finish().unwrap())
                    }
                    Edit::Symlink(t, p) => tree.symlink(t.as_bytes(), p.as_bytes(), &FileOptions::default()),
                    Edit::Link(t, p) => tree.put_hardlink(p.as_bytes(), t.as_bytes()),
                    Edit::Remove(p) => {
                        tree.remove(p.as_bytes(), &RemoveOptions { allow_not_found: true, wildcard: false })
                    }
                    Edit::Copy(from, s, d, dir_contents) => {
                        let from = match from {
                            0 => source.clone(),
                            1 => below.clone(),
                            n => chain
                                .get(n - 2)
                                .map_or(source.clone(), |id| world.view(std::slice::from_ref(id))),
                        };
                        let options = CopyOptions {
                            create_dest_path: true,
                            dir_contents: *dir_contents,
                            ..Default::default()
                        };
                        tree.copy(&from, s.as_bytes(), d.as_bytes(), &options)
                    }
                    Edit::Commit | Edit::Apart => Ok(()),
                };
                if let Err(e) = done {
                    assert_eq!(e.class(), errdefs::Class::User, "{edit:?}: {e}");
                }
            }
        });
        if apart {
            chain = world.store.stack(&chain, &[Part { layer, base: Vec::new() }]).unwrap();
        } else {
            chain.push(layer);
        }
    }
    chain
}

/// Paths that a program would take for hard links of each other.
fn hard_links(view: &View) -> Vec<Vec<String>> {
    let mut names: HashMap<u64, Vec<String>> = HashMap::new();
    for entry in view.walk(b"").unwrap().map(Result::unwrap).filter(|entry| !entry.meta.is_dir()) {
        names.entry(entry.meta.ino).or_default().push(String::from_utf8(entry.path).unwrap());
    }
    let mut links: Vec<_> = names.into_values().filter(|names| names.len() > 1).collect();
    links.sort();
    links
}

/// How many; `KILN_STRESS=<number>` tries others.
pub fn cases() -> u32 {
    std::env::var("KILN_STRESS").ok().map_or(80, |text| text.parse().expect("a number"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn views_mounts_and_archives_agree(edits in prop::collection::vec(edit(), 1..24)) {
        let world = World::new();
        let chain = run(&world, &edits);
        let view = world.view(&chain);
        let shown = listing_of_view(&view);
        prop_assert_eq!(&shown, &listing(&world, world.store.mount_source(&chain).unwrap()));

        // So does a mount of few layers, with the others squashed.
        let few = snapshot::Options { max_layers: 4, ..Default::default() };
        let narrow = snapshot::Store::open(world.dir.path(), few).unwrap();
        prop_assert_eq!(&shown, &listing(&world, narrow.mount_source(&chain).unwrap()));

        // The layers as archives, unpacked again, are the same tree with the same hard links: one inode at two paths
        // that is none would come back as one.
        let mut again: Vec<LayerId> = Vec::new();
        for n in 1..=chain.len() {
            let bytes = diff(&world, &chain[..n]);
            again.push(world.store.apply(&bytes[..]).unwrap().layer);
        }
        let copied = world.view(&again);
        let without_times = |text: &str| -> Vec<String> {
            text.lines().map(|line| match line.rsplit_once(' ') {
                Some((head, time)) if time.contains('.') && !time.starts_with("./") => head.to_owned(),
                _ => line.to_owned(),
            }).collect()
        };
        prop_assert_eq!(without_times(&listing_of_view(&copied)), without_times(&shown));
        if !edits.iter().any(|edit| matches!(edit, Edit::Link(..) | Edit::Copy(..))) {
            prop_assert_eq!(hard_links(&view), Vec::<Vec<String>>::new());
        }
        // Only `a/b` and `b/c` of the source are one file; nothing else ties two paths without a link edit.
        if !edits.iter().any(|edit| matches!(edit, Edit::Link(..))) {
            for names in hard_links(&view) {
                let sizes: Vec<_> =
                    names.iter().map(|name| view.lstat(name.as_bytes()).unwrap().unwrap().size).collect();
                prop_assert!(sizes.iter().all(|size| *size == 2), "{:?} in {:?}", names, shown);
            }
        }
    }
}
