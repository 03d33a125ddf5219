//! Files into folders and archives of the client.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use session::{DirMode, Output};

use crate::world::{World, by_platform, run, single};

async fn world_with_folder(mode: DirMode) -> (World, tempfile::TempDir) {
    let out = tempfile::tempdir().unwrap();
    let output = Output::Dir { path: out.path().join("out"), mode };
    (World::new(vec![(0, output)]).await, out)
}

/// All paths below a folder, with the text of files.
fn show(dir: &Path) -> String {
    let found = run("find", &[dir.to_str().unwrap(), "-mindepth", "1", "-printf", "%P %y %l\n"]);
    let mut lines: Vec<_> = found.lines().map(str::trim_end).collect();
    lines.sort_unstable();
    lines.join(", ")
}

#[tokio::test]
async fn a_folder_gets_the_files() {
    let (world, out) = world_with_folder(DirMode::Merge).await;
    let layer = world.layer(None, "a=1 dir/ dir/l>../a", 10).await;
    world.export("local", "", &single(Some(&layer), None)).await.unwrap();
    let dest = out.path().join("out");
    assert_eq!(show(&dest), "a f, dir d, dir/l l ../a");
    let metadata = dest.join("a").metadata().unwrap();
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.mtime(), metadata.mtime_nsec()),
        (0o640, 1_600_000_000, 600_000_000)
    );
    assert_eq!(world.told.all(), ["exporting to client directory", "copying files"]);
    world.export("local", "source-date-epoch=5", &single(Some(&layer), None)).await.unwrap();
    assert_eq!(dest.join("a").metadata().unwrap().mtime(), 5);
}

#[tokio::test]
async fn files_that_share_a_store_are_not_tied_together() {
    let (world, out) = world_with_folder(DirMode::Merge).await;
    let layer = world.layer(None, "a=same b=same", 10).await;
    let above = world.layer(Some(&layer), "c=same", 20).await;
    world.export("local", "", &single(Some(&above), None)).await.unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(out.path().join("out").join(name).metadata().unwrap().nlink(), 1, "{name}");
    }
}

#[tokio::test]
async fn platforms_are_kept_apart() {
    let (world, out) = world_with_folder(DirMode::Merge).await;
    let (a, b) = (world.layer(None, "x=1", 10).await, world.layer(None, "x=2 y=2", 20).await);
    let result = by_platform(&[("linux/amd64", &a), ("linux/arm64", &b)]);
    world.export("local", "", &result).await.unwrap();
    let dest = out.path().join("out");
    assert_eq!(
        show(&dest),
        "linux_amd64 d, linux_amd64/x f, linux_arm64 d, linux_arm64/x f, linux_arm64/y f"
    );
    assert!(world.told.all().contains(&"copying files linux/arm64".to_owned()));
    let e = world.export("local", "platform-split=false", &result).await.expect_err("x comes twice");
    assert_eq!(
        e.to_string(),
        "cannot overwrite x from linux/amd64 with linux/arm64 when split option is disabled"
    );
}

#[tokio::test]
async fn platforms_are_put_together() {
    let (world, out) = world_with_folder(DirMode::Merge).await;
    let (a, b) = (world.layer(None, "d/ d/x=1 z=1", 10).await, world.layer(None, "d/ d/y=2 a=2", 20).await);
    let result = by_platform(&[("linux/amd64", &a), ("linux/arm64", &b)]);
    world.export("local", "platform-split=false", &result).await.unwrap();
    let dest = out.path().join("out");
    assert_eq!(show(&dest), "a f, d d, d/x f, d/y f, z f");
    assert_eq!(std::fs::read_to_string(dest.join("d/y")).unwrap(), "2");
}

#[tokio::test]
async fn what_was_not_sent_goes() {
    let (world, out) = world_with_folder(DirMode::Mirror).await;
    let dest = out.path().join("out");
    std::fs::create_dir_all(dest.join("old")).unwrap();
    let layer = world.layer(None, "x=1", 10).await;
    let result = by_platform(&[("linux/amd64", &layer), ("linux/arm64", &layer)]);
    world.export("local", "mode=delete", &result).await.unwrap();
    assert_eq!(show(&dest), "linux_amd64 d, linux_amd64/x f, linux_arm64 d, linux_arm64/x f");
    world.export("local", "mode=delete", &single(Some(&layer), None)).await.unwrap();
    assert_eq!(show(&dest), "x f");
    let e = world
        .export("local", "", &single(Some(&layer), None))
        .await
        .expect_err("the client wants all in one");
    assert!(e.to_string().contains("mode=delete"), "{e}");
    assert_eq!(show(&dest), "x f");
}

#[tokio::test]
async fn an_archive_gets_the_files() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("out.tar");
    let world = World::new(vec![(0, Output::File(file.clone()))]).await;
    let layer = world.layer(None, "a=1 dir/ l>a", 10).await;
    world.export("tar", "", &single(Some(&layer), None)).await.unwrap();
    let list = |file: &Path| {
        run("tar", &["--full-time", "--utc", "--numeric-owner", "-tvf", file.to_str().unwrap()])
    };
    let lines: Vec<String> =
        list(&file).lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "-rw-r----- 0/0 1 2020-09-13 12:26:41 a",
            "drwxr-xr-x 0/0 0 2020-09-13 12:26:41 dir/",
            "lrwxrwxrwx 0/0 0 2020-09-13 12:26:41 l -> a"
        ]
    );
    assert_eq!(world.told.all(), ["exporting to client tarball", "sending tarball"]);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777 & 0o600, 0o600);

    let file = out.path().join("split.tar");
    let world = World::new(vec![(0, Output::File(file.clone()))]).await;
    let layer = world.layer(None, "a=1 dir/ l>a", 10).await;
    world.export("tar", "", &by_platform(&[("linux/amd64", &layer), ("linux/arm64", &layer)])).await.unwrap();
    let names = run("tar", &["-tf", file.to_str().unwrap()]);
    let names: Vec<_> = names.lines().collect();
    assert_eq!(names[..3], ["linux_amd64/", "linux_amd64/a", "linux_amd64/dir/"]);
    assert_eq!(names.len(), 8);
}

#[tokio::test]
async fn nothing_is_an_empty_folder() {
    let (world, out) = world_with_folder(DirMode::Merge).await;
    world.export("local", "", &single(None, None)).await.unwrap();
    assert_eq!(show(&out.path().join("out")), "");
}
