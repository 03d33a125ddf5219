//! The root file system and what a run leaves in it.

use fsutil::mount::{Mount, Source};

use crate::world::{World, bind, tmpfs};

fn strings(list: &[&str]) -> std::collections::BTreeSet<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

/// What BuildKit on runc leaves as well: the places of the kernel's file systems.
const ALWAYS: [&str; 3] = ["dev", "proc", "sys"];

#[tokio::test]
async fn no_stubs_stay_in_the_layer() {
    let world = World::new();
    let mut spec = world.shell("echo x > /made; echo y > /mnt/one/inside; touch /kept/file");
    spec.mounts = vec![tmpfs("/mnt/one"), tmpfs("/mnt/two"), bind(&world.path("base/bin/sh"), "/file/bound")];
    spec.remove_stubs_recursive = true;
    world.base("kept/here", "");
    let upper = spec.id.clone();
    world.output(spec).await;
    assert_eq!(world.listing(&upper), &strings(&ALWAYS) | &strings(&["made", "kept", "kept/file"]));

    let mut spec = world.shell("true");
    spec.mounts = vec![tmpfs("/mnt/one")];
    let upper = spec.id.clone();
    world.output(spec).await;
    assert_eq!(
        world.listing(&upper),
        &strings(&ALWAYS) | &strings(&["etc", "mnt"]),
        "parents stay unless asked for"
    );
}

#[tokio::test]
async fn a_dangling_link_to_resolv_conf() {
    let world = World::new();
    world.base("etc/hosts", "from the image\n");
    std::os::unix::fs::symlink("../run/resolve/conf", world.path("base/etc/resolv.conf")).expect("symlink");
    let mut spec = world.shell("grep -c nameserver /run/resolve/conf; grep -c image /etc/hosts; true");
    spec.remove_stubs_recursive = true;
    let upper = spec.id.clone();
    assert!(world.output(spec).await.ends_with("\n0\n"));
    assert_eq!(world.listing(&upper), strings(&ALWAYS));
    assert_eq!(std::fs::read_to_string(world.path("base/etc/hosts")).expect("read"), "from the image\n");
}

#[tokio::test]
async fn mounts() {
    let world = World::new();
    world.base("data/sub/file", "deep");
    std::os::unix::fs::symlink("/sub", world.path("base/data/link")).expect("symlink");
    let data = world.path("base/data");
    let select = |selector: &str, target: &str| Mount { selector: selector.into(), ..bind(&data, target) };
    let mut spec = world.shell(
        "cat /m/sub/file /sel/file /linked/file /one; echo x > /m/new || echo ro; echo x > /ov/w; cat /ov/sub/file",
    );
    let overlay = world.root("cache").source;
    let Source::Overlay { upper, .. } = overlay else { unreachable!("a writable root is an overlay") };
    let overlay = Source::Overlay { lower: vec![data.clone()], upper };
    spec.mounts = vec![
        bind(&data, "/m").readonly(true),
        select("/sub", "/sel"),
        select("link", "/linked"),
        select("sub/file", "/one"),
        Mount::new(overlay, "/ov"),
    ];
    let ran = world.run(spec).await;
    assert_eq!(ran.stdout, "deepdeepdeepdeepro\ndeep", "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(world.path("cache/w")).expect("written"), "x\n");

    let mut spec = world.shell("true");
    spec.mounts = vec![select("/missing", "/x")];
    let e = world.try_run(spec).await.expect_err("nothing there");
    assert!(e.is_not_found() && e.message().contains("`/missing`"), "{e}");
}

#[tokio::test]
async fn a_mount_replaces_one_of_ours() {
    let world = World::new();
    let mut spec = world.shell("grep ' /dev/shm ' /proc/mounts");
    spec.mounts = vec![Mount::new(Source::Tmpfs { size: Some(2 << 20), mode: 0o1777 }, "/dev/../dev/shm")];
    let out = world.output(spec).await;
    assert!(out.lines().count() == 1 && out.contains("size=2048k"), "{out}");
}

#[tokio::test]
async fn a_read_only_root() {
    let world = World::new();
    let mut spec = world.shell("echo x > /x || echo refused; echo y > /tmp/y; cat /tmp/y");
    spec.readonly_root = true;
    spec.mounts = vec![tmpfs("/tmp")];
    assert_eq!(world.run(spec).await.stdout, "refused\ny\n");
}

#[tokio::test]
async fn a_directory_that_is_not_to_be_written() {
    let world = World::new();
    let mut spec = world.shell("true");
    spec.root = bind(&world.path("base"), "/").readonly(true);
    let e = world.try_run(spec).await.expect_err("no place to mount on");
    assert!(e.message().contains("Read-only file system"), "{e}");
    assert_eq!(world.listing("base").iter().filter(|p| !p.starts_with("bin")).count(), 0);
    for dir in ALWAYS.iter().chain(&["etc"]) {
        std::fs::create_dir(world.path("base").join(dir)).expect("mkdir");
    }
    world.base("etc/hosts", "").base("etc/resolv.conf", "");
    let mut spec = world.shell("echo x > /x || echo refused");
    spec.root = bind(&world.path("base"), "/").readonly(true);
    assert_eq!(world.run(spec).await.stdout, "refused\n");
}

#[tokio::test]
async fn the_host_sees_no_mount() {
    let world = World::new();
    let script = "grep -c . /proc/mounts";
    let before = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let mut spec = world.shell(script);
    spec.mounts = vec![tmpfs("/a")];
    world.output(spec).await;
    let mark = world.dir.path().display().to_string();
    let after = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert!(!before.contains(&mark) && !after.contains(&mark));
}
