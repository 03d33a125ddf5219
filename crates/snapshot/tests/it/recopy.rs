//! An earlier copy brought up to date must be what a new copy would be.

use proptest::prelude::*;
use snapshot::{CopyOptions, Earlier, LayerId, Owner, View};

use crate::layers::{listing, listing_of_view};
use crate::random::cases;
use crate::world::{World, put};

fn options() -> CopyOptions {
    CopyOptions { dir_contents: true, create_dest_path: true, allow_wildcard: true, ..CopyOptions::default() }
}

fn packed(world: &World, base: &[LayerId], layers: &[LayerId]) -> Vec<u8> {
    let mut out = Vec::new();
    world.store.write_diff(&world.view(base), layers, &mut out).unwrap();
    out
}

fn copied(
    world: &World,
    base: &[LayerId],
    from: &View,
    dest: &str,
    options: &CopyOptions,
) -> Option<LayerId> {
    let mut builder = world.store.new_tree().unwrap().builder(world.view(base));
    builder.copy(from, b"/", dest.as_bytes(), options).ok()?;
    Some(builder.commit().unwrap())
}

/// Copies `source` to `dest` of `base`, then again with each of `changes` on it. Says how often the copy was brought up
/// to date.
fn check(base: &str, source: &str, changes: &[String], dest: &str, options: &CopyOptions) -> usize {
    let world = World::new();
    let base = [world.made_of(&[], base)];
    let mut source = vec![world.made_of(&[], source)];
    let mut before = world.view(&source);
    let Some(first) = copied(&world, &base, &before, dest, options) else { return 0 };
    let (mut pile, mut count) = (vec![first], 0);
    for change in changes {
        source.push(world.made_of(&source, change));
        let from = world.view(&source);
        let chain = [&base[..], &pile].concat();
        let mut builder = world.store.new_tree().unwrap().builder(world.view(&chain));
        let earlier = Earlier { base: &world.view(&base), from: &before };
        let done = builder.recopy(earlier, &from, b"/", dest.as_bytes(), options);
        let plain = copied(&world, &base, &from, dest, options);
        let (Some(plain), Ok(done)) = (plain, done) else { return count };
        if !done {
            pile = vec![plain];
        } else {
            pile.push(builder.commit().unwrap());
            count += 1;
            let chain = [&base[..], &pile].concat();
            let shown = listing_of_view(&world.view(&chain));
            assert_eq!(shown, listing(&world, world.store.mount_source(&chain).unwrap()), "{change}");
            assert_eq!(shown, listing_of_view(&world.view(&[base[0].clone(), plain.clone()])), "{change}");
            let bytes = packed(&world, &base, &pile);
            assert!(bytes == packed(&world, &base, &[plain]), "{change}");
            // All trees in one do the same.
            let whole = world.store.flatten(&pile).unwrap();
            assert!(bytes == packed(&world, &base, std::slice::from_ref(&whole)), "{change}");
            assert_eq!(shown, listing_of_view(&world.view(&[base[0].clone(), whole])), "{change}");
        }
        before = from;
    }
    count
}

const SOURCE: &str =
    "a/ dir\na/f file 1\na/g file 22\nb/ dir\nb/c/ dir\nb/c/h file 333\nl symlink a/f\nz file 4444";

fn check_one(base: &str, change: &str, dest: &str, redone: bool) {
    let count = check(base, SOURCE, &[change.to_owned()], dest, &options());
    assert_eq!(count, usize::from(redone), "{change} on {base} at {dest}");
}

#[test]
fn small_changes_are_copied_alone() {
    for dest in ["/src/", "/", "/x/"] {
        for change in [
            "a/f file 5",
            "a/f rm",
            "a rm",
            "n file 6",
            "n/ dir\nn/m/ dir\nn/m/o file 7",
            "l symlink z",
            "l rm\nl file 8",
            "b/ dir",
            "b/c rm\na/f rm\na/g file 9\na/i fifo",
            "z file 1",
        ] {
            check_one("x/ dir\nx/p file 1", change, dest, true);
        }
    }
}

#[test]
fn what_the_base_decides_is_copied_anew() {
    let base = "src/ dir\nsrc/a/ dir\nsrc/a/f file base\nsrc/n/ dir";
    check_one(base, "a/f rm", "/src", false);
    check_one(base, "a rm", "/src", false);
    check_one(base, "n/ dir\nn/x file 1", "/src", false);
    check_one(base, "a/f file 5", "/src", true);
    check_one("x/ dir", "a rm\na file 1", "/src", false);
    check_one("x/ dir", "z rm\nz/ dir", "/src", false);
}

#[test]
fn other_sources_and_options_are_copied_anew() {
    let changes = ["a/f file 5".to_owned()];
    let included = CopyOptions { include: vec!["a".into()], ..options() };
    assert_eq!(check("", SOURCE, &changes, "/src", &included), 0);
    let owned = CopyOptions {
        owner: Some(Owner { uid: 3, gid: 4 }),
        mode: Some(snapshot::Mode::Symbolic("go-r".into())),
        timestamp: Some(snapshot::Time { secs: 5, nanos: 0 }),
        ..options()
    };
    assert_eq!(check("", SOURCE, &changes, "/deep/er/src", &owned), 1);

    let world = World::new();
    let [a, b] = ["x file 1", "y file 2"].map(|text| world.made_of(&[], text));
    let old = copied(&world, &[], &world.view(std::slice::from_ref(&a)), "/", &options()).unwrap();
    let mut builder = world.store.new_tree().unwrap().builder(world.view(&[old]));
    let earlier = Earlier { base: &View::empty(), from: &world.view(&[a]) };
    assert!(!builder.recopy(earlier, &world.view(&[b]), b"/", b"/", &options()).unwrap());
}

fn line() -> impl Strategy<Value = String> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4);
    let what = prop::sample::select(vec!["dir", "file 1", "file 22", "file 1", "symlink a", "rm", "rm"]);
    (path, what).prop_map(|(path, what)| format!("{} {what}", path.join("/")))
}

/// Lines that make a tree, with the directories that they need.
fn lines() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(line(), 0..6)
}

/// The lines that can be carried out on a tree one after the other.
fn fitting(world: &World, chain: &[LayerId], lines: &[String]) -> String {
    let mut done = String::new();
    for line in lines {
        let mut parents = String::new();
        for (at, _) in line.match_indices('/') {
            parents.push_str(&format!("{} dir\n", &line[..at]));
        }
        let more = format!("{done}{parents}{line}\n");
        let mut builder = world.store.new_tree().unwrap().builder(world.view(chain));
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| put(&mut builder, &more))).is_ok() {
            done = more;
        }
    }
    done
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_updated_copy_is_a_new_copy(
        base in lines(),
        source in lines(),
        changes in prop::collection::vec(lines(), 1..4),
        dest in prop::sample::select(vec!["/src", "/", "/a"]),
        replace in any::<bool>(),
    ) {
        let world = World::new();
        let (base, source) = (fitting(&world, &[], &base), fitting(&world, &[], &source));
        let mut chain = vec![world.made_of(&[], &source)];
        let mut fit = Vec::new();
        for change in &changes {
            fit.push(fitting(&world, &chain, change));
            chain.push(world.made_of(&chain, &fit[fit.len() - 1]));
        }
        check(&base, &source, &fit, dest, &CopyOptions { always_replace_existing: replace, ..options() });
    }
}
