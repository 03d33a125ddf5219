//! What two views show otherwise.

use snapshot::{Attrs, Change, LayerId, Time, Times};

use crate::world::{World, attrs};

/// One line for each difference.
fn told(world: &World, a: &[LayerId], b: &[LayerId], times: Times) -> Vec<String> {
    let mut lines = Vec::new();
    let mut take = |difference: snapshot::Difference| {
        let path = String::from_utf8_lossy(&difference.path).into_owned();
        lines.push(match difference.change {
            Change::OnlyFirst => format!("- {path}"),
            Change::OnlySecond => format!("+ {path}"),
            Change::Other(aspects) => format!("{path} {aspects:?}"),
        });
        Ok(())
    };
    world.view(a).compare(&world.view(b), times, &mut take).unwrap();
    lines
}

#[test]
fn differences_are_told_by_path_and_kind() {
    let world = World::new();
    let base = world.made_of(&[], "a/ dir\na/same file 1\na/b/ dir\na/b/c file 1\nl symlink a\nold file 1\n");
    let first = world.made_of(std::slice::from_ref(&base), "a/b/c file 2\nx file 1\nk file 1\nl symlink b\n");
    let second = world.made_of(
        std::slice::from_ref(&base),
        "a/b/c file 3\ny/ dir\ny/z file 1\nk dir\nl symlink c\nold rm\n",
    );
    let lines = told(&world, &[base.clone(), first], &[base.clone(), second], Times::Ignored);
    assert_eq!(lines, ["a/b/c [Content]", "k [Kind]", "l [Target]", "- old", "- x", "+ y"]);
    assert_eq!(
        told(&world, std::slice::from_ref(&base), std::slice::from_ref(&base), Times::Exact),
        Vec::<String>::new()
    );
}

#[test]
fn other_layers_with_the_same_files_are_the_same() {
    let world = World::new();
    let text = "a/ dir\na/f file 1\n";
    let (one, other) = (world.made_of(&[], text), world.made_of(&[], text));
    assert_ne!(one, other);
    assert_eq!(told(&world, &[one], &[other], Times::Exact), Vec::<String>::new());
}

#[test]
fn times_count_as_they_are_asked_to() {
    let world = World::new();
    let at = |secs| Attrs { mtime: Time { secs, nanos: 0 }, ..attrs(0o755) };
    let layer = |secs| world.layer(&[], |tree| tree.put_dir(b"d", &at(secs)).unwrap());
    let (one, other) = ([layer(2_000_000_000)], [layer(2_000_000_001)]);
    let latest = |secs| Times::NotAfter(Time { secs, nanos: 0 });
    for (times, expected) in [
        (Times::Exact, &["d [Mtime]"][..]),
        (latest(2_000_000_000), &[]),
        (latest(2_000_000_009), &["d [Mtime]"]),
        (Times::Ignored, &[]),
    ] {
        assert_eq!(told(&world, &one, &other, times), expected, "{times:?}");
    }
}
