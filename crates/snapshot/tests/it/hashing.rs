use oci::Digest;
use snapshot::{HashOptions, View};

use crate::world::World;

/// Files and digests of BuildKit's own content hash tests.
const FILE0: &str = "sha256:cd8e75bca50f2d695f220d0cb0997d8ead387e4f926e8669a92d7f104cc9885b";
const DIR0: &str = "sha256:d47454417d2c554067fbefe5f5719edc49f3cfe969c36b62e34a187a4da0cc9a";
const DIR0_BY_FILE: &str = "sha256:6b612ad5c13159112ae26357ef7bd34df29916941ba40ec2ce38dfb70c6c60c3";
const DIR0_CHANGED: &str = "sha256:555ffa3028630d97ba37832b749eda85ab676fd64ffb629fbf0f4ec8c1e3bff1";
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn plain() -> HashOptions {
    HashOptions::default()
}

fn follow() -> HashOptions {
    HashOptions { follow_links: true, ..plain() }
}

fn wildcard() -> HashOptions {
    HashOptions { wildcard: true, ..plain() }
}

fn check(view: &View, path: &str, options: &HashOptions, want: &str) {
    let got = view.path_hash(path.as_bytes(), options).unwrap();
    assert_eq!(got.as_str(), want, "{path} {options:?}");
}

#[test]
fn files_and_directories() {
    let world = World::new();
    let text = "foo file data0\nbar file data1\nd0 dir\nd0/abc file data0\nd0/def symlink abc\nd0/ghi symlink nosuchfile";
    let layer = world.made_of(&[], text);
    // Twice, since digests are remembered; and once more by a store that knows nothing but the disk.
    for _ in 0..2 {
        let view = world.view(std::slice::from_ref(&layer));
        check(&view, "foo", &follow(), FILE0);
        check(
            &view,
            "bar",
            &follow(),
            "sha256:c2b5e234f5f38fc5864da7def04782f82501a40d46192e4207d5b3f0c3c4732b",
        );
        check(&view, "d0/abc", &follow(), FILE0);
        check(&view, "d0/def", &follow(), FILE0);
        check(
            &view,
            "/",
            &follow(),
            "sha256:427c9cf9ae98c0f81fb57a3076b965c7c149b6b0a85625ad4e884236649a42c6",
        );
        check(&view, "d0", &follow(), DIR0);
        for missing in ["nosuch", "d0/ghi"] {
            let e = view.path_hash(missing.as_bytes(), &follow()).unwrap_err();
            assert!(e.is_not_found());
            assert_eq!(e.message(), format!("\"/{missing}\": not found"));
        }
    }
    std::fs::remove_file(world.dir.path().join(format!("layers-v1/{layer}/digests"))).unwrap();
    let fresh = snapshot::Store::open(world.dir.path(), snapshot::Options::default()).unwrap();
    check(&fresh.view(&[layer]).unwrap(), "d0", &follow(), DIR0);
    let root = world.made_of(&[], "abc file data0\ndef symlink abc\nghi symlink nosuchfile");
    check(&world.view(&[root]), "/", &follow(), DIR0);
    let root = world.made_of(&[], "abc file data0\ndef symlink abc");
    check(&world.view(&[root]), "/", &follow(), DIR0_CHANGED);
}

/// The hash of a tree does not depend on the layers that it is cut into.
#[test]
fn layers_do_not_show() {
    let world = World::new();
    let below = world.made_of(&[], "d0 dir\nd0/abc file old\nd0/gone file x\nd0/ghi symlink nosuchfile");
    let above =
        world.made_of(std::slice::from_ref(&below), "d0/abc file data0\nd0/gone rm\nd0/def symlink abc");
    check(&world.view(&[below, above]), "d0", &plain(), DIR0);
}

#[test]
fn wildcards() {
    let world = World::new();
    let text = "bar file data1\nfoo file data0\nfox file data2\nx dir\nx/d0 dir\nx/d0/abc file data0\n\
                x/d0/def symlink abc\nx/d0/ghi symlink nosuchfile\ny1 symlink foo\ny2 symlink fox";
    let view = world.view(&[world.made_of(&[], text)]);
    check(&view, "f*o", &wildcard(), Digest::of(format!("\0foo{FILE0}")).as_str());
    check(
        &view,
        "f*",
        &wildcard(),
        "sha256:0b6731924f0a32a812bf8a729202e55e54ded331f9e4ff2397f681e43694e086",
    );
    check(&view, "x/d?", &wildcard(), DIR0_BY_FILE);
    let both = HashOptions { follow_links: true, ..wildcard() };
    check(&view, "x/d?/def", &both, FILE0);
    check(&view, "y*", &both, "sha256:982153600b9653a1decb0f961e09e2bc1be335cfcaac9b39dbd1120b65fdf92c");
    check(&view, "nothing*", &wildcard(), EMPTY);
    let required = HashOptions { required: vec!["/nothing".into()], ..wildcard() };
    assert_eq!(view.path_hash(b"f*", &required).unwrap_err().message(), "\"/nothing\": not found");
}

#[test]
fn links_that_are_not_followed() {
    let world = World::new();
    let text = "target file data0\nsym symlink target\nsym2 symlink target2\nfoo dir\nfoo/ghi symlink target\n\
                y1 symlink foo/ghi";
    let view = world.view(&[world.made_of(&[], text)]);
    let link = "sha256:a2ba571981f48ec34eb79c9a3ab091b6491e825c2f7e9914ea86e8e958be7fae";
    for options in [wildcard(), plain()] {
        check(&view, "sym", &options, link);
        check(&view, "foo/ghi", &options, link);
    }
    let both = HashOptions { follow_links: true, ..wildcard() };
    for broken in ["foo/ghi", "y1"] {
        assert!(view.path_hash(broken.as_bytes(), &both).unwrap_err().is_not_found());
    }
    let foo = "sha256:9b761577efcb1239cf4be971914c5d7404914dd32ff436401af1764dc5446b83";
    check(&view, "foo", &follow(), foo);
    check(&view, "fo?", &both, "sha256:2797e710c6d1a89ff2d91c834b828b1dc500f2982430a58241df8e146f4c4bb4");
    check(&view, "foo", &HashOptions { exclude: vec!["*.git".into()], ..follow() }, foo);
}

#[test]
fn links_on_the_way_are_followed() {
    let world = World::new();
    let text = "target dir\ntarget/file file data0\nlink1 dir\nlink1/target_file symlink ../target/file\n\
                link1/target_dir_abs symlink /target\nlink2 dir\nlink2/link1_rel symlink ../link1\n\
                link2/up symlink ../../../../target";
    let view = world.view(&[world.made_of(&[], text)]);
    for path in ["link1/target_file", "link2/link1_rel/target_file", "link2/link1_rel/target_dir_abs/file"] {
        check(&view, path, &follow(), FILE0);
    }
    check(&view, "link2/up/file", &plain(), FILE0);
}

#[test]
fn patterns_choose() {
    let world = World::new();
    let view = world.view(&[world
        .made_of(&[], "foo file data0\nbar file data1\nd0 dir\nd0/abc file abc\nd1 dir\nd1/def file def")]);
    let hash = |include: &[&str], exclude: &[&str], wildcard| {
        let list = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect();
        let options = HashOptions { include: list(include), exclude: list(exclude), wildcard, ..plain() };
        view.path_hash(b"", &options).unwrap()
    };
    for wildcard in [false, true] {
        let distinct = [
            hash(&["foo"], &[], wildcard),
            hash(&["foo", "bar"], &[], wildcard),
            hash(&["d0"], &[], wildcard),
            hash(&["d1"], &[], wildcard),
            hash(&[], &["bar"], wildcard),
            hash(&["nothing"], &[], wildcard),
        ];
        for (i, a) in distinct.iter().enumerate() {
            assert!(distinct[..i].iter().all(|b| a != b), "{i} {wildcard}");
        }
        assert_eq!(hash(&["d0"], &[], wildcard), hash(&["d0/*"], &[], wildcard));
        assert_eq!(hash(&["d0/*"], &[], wildcard), hash(&["d0/a*"], &[], wildcard));
        assert_eq!(hash(&["d0", "d1"], &["d1"], wildcard), hash(&["d0"], &[], wildcard));
        assert_eq!(hash(&["nothing"], &[], wildcard).as_str(), EMPTY);
    }
}
