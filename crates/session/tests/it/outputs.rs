//! Folders that the engine sends to the client.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use errdefs::Result;
use session::{Attachables, DirMode, Output};

use crate::trees::Memory;
use crate::wire;

async fn send(memory: Memory, path: &Path, mode: DirMode, multi_platform: bool) -> Result<()> {
    let output = Output::Dir { path: path.to_owned(), mode };
    let pair = wire::open(Attachables::new().output(3, output)).await;
    pair.session.send_dir(3, Arc::new(memory), multi_platform).await
}

fn tree() -> Memory {
    Memory::default()
        .add(b"bin", 0o040_555, "")
        .add(b"bin/tool", 0o104_755, vec![7; 600_000])
        .add(b"conf", 0o100_640, "new")
        .link(b"hard", 0o100_640, b"conf")
        .link(b"soft", 0o120_777, b"../../etc/passwd")
}

/// Paths with what they hold, sorted.
fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("lists") {
            let path = entry.expect("is there").path();
            let meta = path.symlink_metadata().expect("is there");
            if meta.is_dir() {
                dirs.push(path.clone());
            }
            let name = path.strip_prefix(root).expect("is inside").display().to_string();
            found.push(format!("{name} {:o} {}", meta.mode(), if meta.is_dir() { 0 } else { meta.len() }));
        }
    }
    found.sort();
    found
}

const SENT: [&str; 5] =
    ["bin 40555 0", "bin/tool 104755 600000", "conf 100640 3", "hard 100640 3", "soft 120777 16"];

#[tokio::test]
async fn a_new_folder() {
    let dir = tempfile::tempdir().expect("tempdir");
    let dest = dir.path().join("not/yet/there");
    send(tree(), &dest, DirMode::Merge, false).await.expect("is written");
    assert_eq!(listing(&dest), SENT);
    let inode = |name: &str| dest.join(name).symlink_metadata().expect("is there").ino();
    assert_eq!(inode("conf"), inode("hard"));
    assert_eq!(dest.join("bin").metadata().expect("is there").mtime_nsec(), 999_999_995);
}

/// What is in the way is replaced, and nothing is followed.
#[tokio::test]
async fn a_folder_that_holds_other_things() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (dest, outside) = (dir.path().join("dest"), dir.path().join("outside"));
    for made in [dest.join("conf/full"), dest.join("old"), outside.clone()] {
        fs::create_dir_all(made).expect("mkdir");
    }
    fs::write(outside.join("tool"), "mine").expect("write");
    fs::write(dest.join("conf/full/x"), "").expect("write");
    symlink(&outside, dest.join("bin")).expect("symlink");
    symlink(outside.join("tool"), dest.join("hard")).expect("symlink");

    send(tree(), &dest, DirMode::Merge, false).await.expect("is written");
    assert_eq!(fs::read_to_string(outside.join("tool")).expect("is there"), "mine");
    let mut expected = SENT.map(str::to_owned).to_vec();
    expected.insert(4, "old 40755 0".into());
    assert_eq!(listing(&dest), expected);

    fs::set_permissions(dest.join("bin"), Permissions::from_mode(0o000)).expect("chmod");
    send(tree(), &dest, DirMode::Mirror, true).await.expect("is written");
    assert_eq!(listing(&dest), SENT);
}

#[tokio::test]
async fn mirroring_needs_all_platforms_in_one() {
    let dir = tempfile::tempdir().expect("tempdir");
    fs::write(dir.path().join("keep"), "").expect("write");
    let error = send(tree(), dir.path(), DirMode::Mirror, false).await.expect_err("is refused");
    assert!(error.message().starts_with("local exporter mode=delete requires"), "{error}");
    assert!(dir.path().join("keep").exists());
}

#[tokio::test]
async fn a_broken_transfer_leaves_old_files_alone() {
    let dir = tempfile::tempdir().expect("tempdir");
    fs::write(dir.path().join("conf"), "old").expect("write");
    fs::write(dir.path().join("other"), "old").expect("write");
    let mut memory = tree();
    memory.breaks_at = Some(4);
    let error = send(memory, dir.path(), DirMode::Mirror, true).await.expect_err("fails");
    assert_eq!(error.message(), "disk on fire");
    let conf = fs::read_to_string(dir.path().join("conf")).expect("is there");
    assert!(["old", "new"].contains(&conf.as_str()), "{conf}");
    assert!(dir.path().join("other").exists());
}
