//! Folders of clients.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use session::Attachables;

use crate::world::{World, listing, timed_listing, write};

const ID: &str = "local://context";

fn offer(dir: &Path) -> Attachables {
    Attachables::new().dir("context", dir)
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("set");
    write(dir.path(), "a.txt", "one");
    write(dir.path(), "sub/b.txt", "two");
    std::fs::set_permissions(dir.path().join("sub"), std::fs::Permissions::from_mode(0o750)).expect("set");
    symlink("a.txt", dir.path().join("link")).expect("made");
    std::fs::hard_link(dir.path().join("a.txt"), dir.path().join("twin")).expect("made");
    dir
}

const LISTING: [&str; 5] = [
    "a.txt = one 644 0:0",
    "link -> a.txt 777 0:0",
    "sub/ 750 0:0",
    "sub/b.txt = two 644 0:0",
    "twin = one 644 0:0",
];

#[tokio::test]
async fn files_come_as_they_are() {
    let (world, dir) = (World::new().await, folder());
    let cx = world.client("s", offer(dir.path())).await;
    let state = world.get(&cx, ID, &[]).await.expect("comes");
    assert_eq!(listing(&state).await, LISTING);
    assert_eq!(state.record_type(), refs::RecordType::LocalSource);
    assert_eq!(world.parts(), ["transferring context:"]);
    let view = state.view().await.expect("is there");
    let ino = |path: &str| view.lstat(path.as_bytes()).expect("works").expect("is there").ino;
    assert_eq!(ino("a.txt"), ino("twin"));
}

#[tokio::test]
async fn an_unchanged_folder_is_the_same_state_even_after_a_restart() {
    let (world, dir) = (World::new().await, folder());
    let cx = world.client("s1", offer(dir.path())).await;
    let first = world.get(&cx, ID, &[]).await.expect("comes").id().to_owned();
    let cx = world.client("s2", offer(dir.path())).await;
    assert_eq!(world.get(&cx, ID, &[]).await.expect("comes").id(), first);
    // The time of a folder changes with each file that comes and goes, wanted or not.
    write(dir.path(), "gone", "");
    std::fs::remove_file(dir.path().join("gone")).expect("removed");
    let cx = world.client("s3", offer(dir.path())).await;
    assert_eq!(world.get(&cx, ID, &[]).await.expect("comes").id(), first);
    let world = world.reopen().await;
    let cx = world.client("s4", offer(dir.path())).await;
    assert_eq!(world.get(&cx, ID, &[]).await.expect("comes").id(), first);
}

#[tokio::test]
async fn only_what_changed_is_sent() {
    let (world, dir) = (World::new().await, folder());
    write(dir.path(), "big", &"x".repeat(300_000));
    let cx = world.client("s", offer(dir.path())).await;
    world.get(&cx, ID, &[]).await.expect("comes");
    let sent = world.part("transferring context:").expect("told").0;
    assert!(sent > 300_000, "{sent}");

    type Change = (&'static str, fn(&Path));
    let changes: [Change; 5] = [
        ("sub/b.txt = new 644 0:0", |d| write(d, "sub/b.txt", "new")),
        ("sub/c = c 644 0:0", |d| write(d, "sub/c", "c")),
        ("sub/ 700 0:0", |d| {
            std::fs::set_permissions(d.join("sub"), std::fs::Permissions::from_mode(0o700)).expect("set");
        }),
        ("link -> sub 777 0:0", |d| {
            std::fs::remove_file(d.join("link")).expect("removed");
            symlink("sub", d.join("link")).expect("made");
        }),
        ("twin = other 644 0:0", |d| {
            std::fs::remove_file(d.join("twin")).expect("removed");
            write(d, "twin", "other");
        }),
    ];
    for (line, change) in changes {
        change(dir.path());
        let state = world.get(&cx, ID, &[]).await.expect("comes");
        let found = listing(&state).await;
        assert!(found.iter().any(|l| l == line), "{line}: {found:?}");
        assert!(found.iter().any(|l| l.starts_with("big = xxx")));
        let sent = world.part("transferring context:").expect("told");
        assert!(sent.0 < 10_000 && sent.1, "{line}: {sent:?}");
    }
    std::fs::remove_file(dir.path().join("big")).expect("removed");
    let state = world.get(&cx, ID, &[]).await.expect("comes");
    assert!(!listing(&state).await.iter().any(|l| l.starts_with("big")));
}

#[tokio::test]
async fn the_same_size_at_another_time_is_sent() {
    let (world, dir) = (World::new().await, folder());
    let cx = world.client("s", offer(dir.path())).await;
    world.get(&cx, ID, &[]).await.expect("comes");
    write(dir.path(), "a.txt", "ONE");
    let file = std::fs::File::options().write(true).open(dir.path().join("a.txt")).expect("open");
    file.set_modified(SystemTime::now() + Duration::from_secs(5)).expect("set");
    let state = world.get(&cx, ID, &[]).await.expect("comes");
    assert_eq!(listing(&state).await[0], "a.txt = ONE 644 0:0");
}

#[tokio::test]
async fn what_is_sent_whatever_its_time_is_the_same_state_where_its_bytes_are() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    let file = dir.path().join("a");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let set = |text: &str| {
        write(dir.path(), "a", text);
        std::fs::File::options().write(true).open(&file).expect("opens").set_modified(time).expect("set");
    };
    let get = async || {
        let cx = world.client("s", offer(dir.path())).await;
        let state = world.get(&cx, ID, &[("local.differ", "none")]).await.expect("comes");
        (state.id().to_owned(), listing(&state).await)
    };
    set("one");
    let first = get().await;
    assert_eq!(get().await, first);
    set("two");
    let second = get().await;
    assert_ne!(second.0, first.0);
    assert_eq!(second.1, ["a = two 644 0:0"]);
    assert_eq!(get().await, second);
    std::fs::remove_file(&file).expect("removed");
    let third = get().await;
    assert!(third.0 != second.0 && third.1.is_empty(), "{third:?}");
    assert_eq!(get().await, third);
}

#[tokio::test]
async fn only_what_is_asked_for_comes() {
    let (world, dir) = (World::new().await, folder());
    let cx = world.client("s", offer(dir.path())).await;
    let check = async |attrs: &[(&str, &str)], expected: &[&str]| {
        let state = world.get(&cx, ID, attrs).await.expect("comes");
        assert_eq!(listing(&state).await, expected, "{attrs:?}");
    };
    check(&[("local.excludepatterns", r#"["sub","twin"]"#)], &LISTING[..2]).await;
    check(&[("local.includepattern", r#"["sub"]"#)], &LISTING[2..4]).await;
    check(&[("local.followpaths", r#"["link"]"#)], &LISTING[..2]).await;
    check(&[("local.differ", "none")], &LISTING).await;
}

#[tokio::test]
async fn a_folder_that_is_handed_over_is_read_where_it_lies() {
    let (world, dir, elsewhere) = (World::new().await, folder(), folder());
    // Tests run as root, which owns what they make.
    let own = std::os::unix::fs::MetadataExt::uid(&dir.path().metadata().expect("is there"));
    let cx = world.neighbour(own, "s1", offer(dir.path())).await;
    let stranger = world.neighbour(own + 1, "s2", offer(dir.path())).await;
    // Its path leads nowhere now; what was opened before still leads there.
    std::fs::rename(dir.path(), elsewhere.path().join("moved")).expect("moved");
    let state = world.get(&cx, ID, &[]).await.expect("comes");
    assert_eq!(listing(&state).await, LISTING);
    assert_eq!(world.parts(), ["transferring context:"]);
    let some = world.get(&cx, ID, &[("local.followpaths", r#"["link"]"#)]).await.expect("comes");
    assert_eq!(listing(&some).await, LISTING[..2]);
    assert!(world.get(&stranger, ID, &[("local.differ", "none")]).await.is_err());
}

#[tokio::test]
async fn keys_hold_for_one_session() {
    let world = World::new().await;
    let cx = world.context(&["s"]);
    let key = world.key(&cx, ID, &[("local.followpaths", r#"["a"]"#)], 0).await.expect("told");
    let json = r#"{"SessionID":"s","IncludePatterns":null,"ExcludePatterns":null,"FollowPaths":["a"]}"#;
    assert_eq!(key.text, format!("session:context:{}", oci::Digest::of(json)));
    assert!(key.transient && key.done);
}

#[tokio::test]
async fn states_that_were_replaced_do_not_pile_up() {
    let (world, dir) = (World::new().await, folder());
    let cx = world.client("s", offer(dir.path())).await;
    for i in 0..20 {
        write(dir.path(), "n", &i.to_string().repeat(i + 1));
        world.get(&cx, ID, &[]).await.expect("comes");
    }
    // The last one, and those that it lies on.
    let left = world.refs.usage(&refs::Filter::default()).await.expect("counted").len();
    assert!((1..=9).contains(&left), "{left}");
}

#[tokio::test]
async fn changes_upon_changes_give_what_a_fresh_sync_gives() {
    let (world, dir) = (World::new().await, folder());
    std::fs::remove_file(dir.path().join("twin")).expect("removed");
    let cx = world.client("s", offer(dir.path())).await;
    world.get(&cx, ID, &[]).await.expect("comes");
    let at = |name: &str| dir.path().join(name);
    let remove = |name: &str| {
        let gone = at(name);
        if gone.is_dir() && !gone.is_symlink() {
            std::fs::remove_dir_all(gone).expect("removed");
        } else {
            let _ = std::fs::remove_file(gone);
        }
    };
    let mut random = 7_u64;
    for round in 0..60 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let name = ["a.txt", "sub", "sub/b.txt", "new", "new/deep", "link"][(random >> 33) as usize % 6];
        let parent = at(name).parent().expect("there is one").to_owned();
        if parent.is_symlink() || parent.is_file() {
            remove(name.split('/').next().expect("a part"));
        }
        std::fs::create_dir_all(&parent).expect("made");
        remove(name);
        match (random >> 40) % 4 {
            0 => write(dir.path(), name, &"x".repeat(round)),
            1 => {
                std::fs::create_dir_all(at(name)).expect("made");
                write(dir.path(), &format!("{name}/in"), "in");
            }
            2 => symlink("sub", at(name)).expect("made"),
            _ => {}
        }
        let stacked = world.get(&cx, ID, &[]).await.expect("comes");
        let fresh = world.get(&cx, ID, &[("local.differ", "none")]).await.expect("comes");
        assert_eq!(timed_listing(&stacked).await, timed_listing(&fresh).await, "round {round}: {name}");
        // The fresh one took its place; the next change is to lie on a stack again.
        write(dir.path(), "count", &"c".repeat(round));
        world.get(&cx, ID, &[]).await.expect("comes");
    }
}

/// The paths in the list of a sync that brought only some files.
async fn listed(state: &refs::ImmutableRef) -> Vec<String> {
    let view = state.view().await.expect("is there");
    let list = view.read(b".fsutil-metadata", 1 << 20).expect("works").expect("is there");
    let (mut rest, mut paths) = (&list[..], Vec::new());
    while let Some((size, after)) = rest.split_first_chunk::<4>() {
        let (stat, after) = after.split_at(u32::from_le_bytes(*size) as usize);
        // The path comes first: its tag, its length, its bytes.
        assert_eq!(stat[0], 0x0a);
        paths.push(String::from_utf8_lossy(&stat[2..2 + usize::from(stat[1])]).into_owned());
        rest = after;
    }
    paths
}

#[tokio::test]
async fn of_files_that_do_not_come_a_list_does() {
    let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
    for name in ["data", "dir/file1", "dir/file2", "dir/sub/bar1", "dir/sub/bar2", "dir/sub2/bar3", "foo"] {
        write(dir.path(), name, name);
    }
    let attrs =
        [("local.metadatatransfer", "true"), ("local.metadatatransferexclude", r#"["dir/**/*1", "foo"]"#)];
    let mut before: Option<String> = None;
    let mut check = async |session: &str, files: &[&str], all: &[&str]| {
        let cx = world.client(session, offer(dir.path())).await;
        let state = world.get(&cx, ID, &attrs).await.expect("comes");
        let lines = listing(&state).await;
        let shown: Vec<_> = lines.iter().filter(|l| l.contains(" = ") && !l.starts_with(".fsutil")).collect();
        let names: Vec<_> = shown.iter().map(|l| l.split(" = ").next().expect("has one")).collect();
        assert_eq!(names, files);
        assert!(!lines.iter().any(|l| l.starts_with("dir/sub2")));
        assert_eq!(listed(&state).await, all);
        before.replace(state.id().to_owned()).is_some_and(|before| before == state.id())
    };
    let all = [
        "data",
        "dir",
        "dir/file1",
        "dir/file2",
        "dir/sub",
        "dir/sub/bar1",
        "dir/sub/bar2",
        "dir/sub2",
        "dir/sub2/bar3",
        "foo",
    ];
    let files = ["dir/file1", "dir/sub/bar1", "foo"];
    assert!(!check("s1", &files, &all).await);
    assert!(check("s2", &files, &all).await);
    // A file that does not come changes the list.
    std::fs::remove_file(dir.path().join("dir/sub2/bar3")).expect("removed");
    let without: Vec<_> = all.into_iter().filter(|path| *path != "dir/sub2/bar3").collect();
    assert!(!check("s3", &files, &without).await);
    std::fs::remove_file(dir.path().join("dir/sub/bar1")).expect("removed");
    let without: Vec<_> = without.into_iter().filter(|path| *path != "dir/sub/bar1").collect();
    assert!(!check("s4", &["dir/file1", "foo"], &without).await);
}

#[tokio::test]
async fn without_a_client_there_are_no_files() {
    let world = World::new().await;
    let e = world.get(&world.context(&[]), ID, &[]).await.expect_err("nobody is there");
    assert_eq!(e.to_string(), "could not access local files without session");
    let cx = world.client("s", Attachables::new()).await;
    let e = world.get(&cx, ID, &[]).await.expect_err("nothing is offered");
    assert_eq!(e.to_string(), "no local sources enabled");
}
