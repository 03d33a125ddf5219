//! Mounts in a mount namespace of their own. Needs root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fsutil::mount::{Mount, ONE_FILE, Source, Upper, make_private, mount_all, unmount};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// A folder in a mount namespace that only this thread is in, so nothing can stay behind.
    fn new() -> Self {
        // SAFETY: only the file system view of this thread changes.
        let alone = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) };
        alone.expect("this test needs root");
        make_private().expect("mounts are made private");
        Place { dir: tempfile::tempdir().expect("a folder") }
    }

    fn make(&self, path: &str, files: &[&str]) -> PathBuf {
        let dir = self.dir.path().join(path);
        fs::create_dir_all(&dir).expect("a folder");
        for file in files {
            fs::write(dir.join(file), path).expect("a file");
        }
        dir
    }

    fn root(&self) -> PathBuf {
        self.make("root/at", &[]);
        self.dir.path().join("root")
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn layers_are_stacked_first_on_top() {
    let place = Place::new();
    let (top, bottom) = (place.make("top", &["a", "b"]), place.make("bottom", &["b", "c"]));
    let root = place.root();
    mount_all(&[Mount::new(Source::Overlay { lower: vec![top, bottom], upper: None }, "/at")], &root)
        .expect("mounts");
    assert_eq!(names(&root.join("at")), ["a", "b", "c"]);
    assert_eq!(fs::read_to_string(root.join("at/b")).expect("a file"), "top");
    assert!(fs::write(root.join("at/new"), "").is_err());
    unmount(&root.join("at")).expect("unmounts");
    assert!(names(&root.join("at")).is_empty());
}

#[test]
fn what_is_written_goes_to_the_upper_folder() {
    let place = Place::new();
    let lower: Vec<_> =
        (0..500).rev().map(|i| place.make(&format!("l{i}"), &[&format!("f{i}"), "all"])).collect();
    let upper = Upper { dir: place.make("upper", &[]), work: place.make("work", &[]) };
    let root = place.root();
    let source = Source::Overlay { lower, upper: Some(upper.clone()) };
    mount_all(&[Mount::new(source, "/at")], &root).expect("five hundred layers are mounted");
    assert_eq!(names(&root.join("at")).len(), 501);
    assert_eq!(fs::read_to_string(root.join("at/all")).expect("a file"), "l499");
    fs::write(root.join("at/all"), "new").expect("writable");
    fs::write(root.join("at/more"), "").expect("writable");
    assert_eq!(names(&upper.dir), ["all", "more"]);
}

#[test]
fn a_selector_does_not_lead_out_of_its_source() {
    let place = Place::new();
    let source = place.make("source", &[]);
    place.make("source/inside", &["right"]);
    place.make("inside", &["wrong"]);
    symlink("/inside", source.join("absolute")).expect("a link");
    symlink("../../../inside", source.join("climbing")).expect("a link");
    let root = place.root();
    for selector in ["inside", "/inside", "absolute", "climbing", "../inside"] {
        let mount = Mount { selector: selector.into(), ..Mount::new(Source::Bind(source.clone()), "/at") };
        mount_all(&[mount], &root).expect("mounts");
        assert_eq!(names(&root.join("at")), ["right"], "{selector}");
        unmount(&root.join("at")).expect("unmounts");
    }
}

#[test]
fn a_part_of_an_overlay_is_mounted_alone() {
    let place = Place::new();
    let lower = [place.make("top/inside", &["new"]), place.make("bottom/inside", &["old", "new"])];
    let lower = lower.iter().map(|dir| dir.parent().expect("there is one").to_owned()).collect();
    let root = place.root();
    let count = || fs::read_to_string("/proc/thread-self/mountinfo").expect("proc").lines().count();
    let before = count();
    let mount = |selector: &str| Mount {
        selector: selector.into(),
        ..Mount::new(Source::Overlay { lower: Vec::clone(&lower), upper: None }, "/at")
    };
    // A part of a mount that has no place is not copied: kernels before 6.15 refuse that.
    assert!(mount("inside").detached().is_err());
    mount_all(&[mount("inside")], &root).expect("mounts");
    assert_eq!(names(&root.join("at")), ["new", "old"]);
    assert_eq!(fs::read_to_string(root.join("at/new")).expect("a file"), "top/inside");
    assert_eq!((names(&root), count()), (vec!["at".to_owned()], before + 1), "only the part is left");
    unmount(&root.join("at")).expect("unmounts");
    let e = mount_all(&[mount("missing")], &root).expect_err("there is no such part");
    assert!(e.to_string().starts_with("failed to mount `missing` of an overlay of 2 layers at `/at`"), "{e}");
    assert_eq!((names(&root), count()), (vec!["at".to_owned()], before), "nothing is left");
}

#[test]
fn a_target_does_not_lead_out_of_the_root() {
    let place = Place::new();
    let source = place.make("source", &["file"]);
    let outside = place.make("outside", &[]);
    let root = place.root();
    symlink(&outside, root.join("link")).expect("a link");
    assert!(mount_all(&[Mount::new(Source::Bind(source.clone()), "/link")], &root).is_err());
    assert!(names(&outside).is_empty());
    mount_all(&[Mount::new(Source::Bind(source), "/../at")], &root).expect("mounts");
    assert_eq!(names(&root.join("at")), ["file"]);
}

#[test]
fn attributes_hold() {
    let place = Place::new();
    let source = place.make("source", &[]);
    fs::write(source.join("program"), "#!/bin/true\n").expect("a file");
    fs::set_permissions(source.join("program"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let root = place.root();
    let mount = Mount { noexec: true, ..Mount::new(Source::Bind(source.clone()), "/at").readonly(true) };
    mount_all(&[mount], &root).expect("mounts");
    assert!(fs::write(root.join("at/x"), "").is_err());
    assert!(std::process::Command::new(root.join("at/program")).status().is_err());
    fs::write(source.join("x"), "").expect("the source stays writable");
}

#[test]
fn the_upper_folder_holds_whole_files() {
    let place = Place::new();
    let lower = place.make("lower/dir", &["file"]).parent().expect("there is one").to_owned();
    let upper = Upper { dir: place.make("upper", &[]), work: place.make("work", &[]) };
    let root = place.root();
    let source = Source::Overlay { lower: vec![place.make("other", &[]), lower], upper: Some(upper.clone()) };
    mount_all(&[Mount::new(source, "/at")], &root).expect("mounts");
    fs::set_permissions(root.join("at/dir/file"), fs::Permissions::from_mode(0o600)).expect("a mode");
    assert_eq!(fs::read_to_string(upper.dir.join("dir/file")).expect("a file"), "lower/dir");
    let renamed = fs::rename(root.join("at/dir"), root.join("at/moved")).expect_err("the folder is below");
    assert_eq!(renamed.kind(), std::io::ErrorKind::CrossesDevices);
}

#[test]
fn a_file_in_memory_is_mounted_alone() {
    let place = Place::new();
    let root = place.root();
    fs::write(root.join("secret"), "").expect("a file");
    let source = Source::OneFile { data: b"key".to_vec(), uid: 7, gid: 8, mode: 0o400 };
    let mount = Mount { selector: ONE_FILE.into(), ..Mount::new(source, "/secret").readonly(true) };
    mount_all(&[mount], &root).expect("mounts");
    let metadata = fs::metadata(root.join("secret")).expect("there");
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (7, 8, 0o400));
    assert_eq!(fs::read(root.join("secret")).expect("readable"), b"key");
    assert!(fs::write(root.join("secret"), "x").is_err());
}

#[test]
fn a_tmpfs_has_its_size_and_mode() {
    let place = Place::new();
    let root = place.root();
    let source = Source::Tmpfs { size: Some(64 << 10), mode: 0o1777 };
    mount_all(&[Mount::new(source, "/at")], &root).expect("mounts");
    assert_eq!(fs::metadata(root.join("at")).expect("there").permissions().mode() & 0o7777, 0o1777);
    assert!(fs::write(root.join("at/big"), vec![0; 1 << 20]).is_err());
}

#[test]
fn all_mounts_or_none() {
    let place = Place::new();
    let root = place.root();
    let good = Mount::new(Source::Tmpfs { size: None, mode: 0o755 }, "/at");
    let bad = Mount::new(Source::Bind(place.dir.path().join("missing")), "/at");
    fs::write(root.join("at/below"), "").expect("a file");
    let e = mount_all(&[good, bad], &root).expect_err("there is nothing to mount");
    assert!(e.to_string().starts_with("failed to mount `"), "{e}");
    assert_eq!(names(&root.join("at")), ["below"]);
}

#[test]
fn mounts_travel_as_text() {
    let source = Source::Overlay {
        lower: vec!["/a".into()],
        upper: Some(Upper { dir: "/u".into(), work: "/w".into() }),
    };
    let mount = Mount { selector: "x".into(), nodev: true, ..Mount::new(source, "/") };
    let text = serde_json::to_string(&mount).expect("text");
    assert_eq!(serde_json::from_str::<Mount>(&text).expect("a mount"), mount);
}
