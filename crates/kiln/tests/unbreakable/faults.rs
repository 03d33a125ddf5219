//! Disks and contexts that fail: the build that meets it says so, others go on, and all works again afterwards.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::Disk;
use crate::harness::{Build, Engine, Folder, State, list_tar, output_of, tool};
use crate::rounds::{Chance, rounds};

/// A build that takes its time, and has what room it needs when it says that it starts.
const SLOW: &str = "FROM busybox\nRUN echo done > /f; echo it st''arts; sleep 2";

/// Runs a build that must fail, beside one that has begun and must not.
fn fails_alone(engine: &Engine, build: Build<'_>, told: &[&str]) {
    let context = Folder::with_dockerfile(SLOW, &[]);
    let mut other = engine.build(&context).args(["--no-cache", "-o", "type=tar,dest=/dev/null"]).spawn();
    let mut said = String::new();
    let mut reader = BufReader::new(other.stderr.take().expect("a pipe"));
    while !said.contains("it starts\n") {
        assert_ne!(reader.read_line(&mut said).expect("read"), 0, "it did not start:\n{said}");
    }
    fails(build, told);
    reader.read_to_string(&mut said).expect("read");
    assert!(other.wait().expect("it ends").success(), "{said}");
}

/// Runs a build that must fail for reasons that are not the build's.
fn fails(build: Build<'_>, told: &[&str]) {
    let built = build.run();
    let expect = |text: &&str| built.stderr.contains(*text);
    assert!(built.code != Some(0) && told.iter().all(expect), "{:?} not in\n{}", told, built.stderr);
}

/// The engine builds, exports, and finds again what it has built.
fn works(engine: &Engine) {
    let context = Folder::with_dockerfile("FROM busybox\nCOPY f /\nRUN cat /f > /g", &[("f", "text")]);
    let out = Folder::new(&[]);
    let output = format!("type=oci,dest={}", out.join("image").display());
    engine.build(&context).args(["--no-cache", "-o", &output]).ok();
    let steps = engine.build(&context).args(["-o", &output]).steps();
    assert_eq!(steps.state("RUN cat"), State::Cached, "{steps:?}");
}

/// Takes all room that is left, until it is dropped.
struct Filler(std::path::PathBuf);

impl Filler {
    fn new(dir: &std::path::Path) -> Self {
        let filler = Filler(dir.join("filler"));
        // What an engine cleans up behind its builds makes room again for a while.
        let mut size = None;
        while size != Some(filler.fill()) {
            size = Some(filler.fill());
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        filler
    }

    /// Gives the size of the file, which takes all that is free now.
    fn fill(&self) -> u64 {
        let mut dd = tool("dd");
        dd.args(["if=/dev/zero", "bs=4k", "oflag=append", "conv=notrunc"])
            .arg(format!("of={}", self.0.display()));
        assert!(!output_of(&mut dd, b"").status.success(), "the disk is full then");
        self.0.metadata().expect("there").len()
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_step_or_a_context_that_is_too_large_for_the_disk() {
    for disk in [Disk::ext4(96, &[]), Disk::memory("size=64m")] {
        let engine = Engine::at(&disk.store());
        works(&engine);
        let step = Folder::with_dockerfile("FROM busybox\nRUN dd if=/dev/zero of=/f bs=64k count=3000", &[]);
        fails_alone(&engine, engine.build(&step), &["No space left on device"]);
        works(&engine);
        let context = Folder::with_dockerfile("FROM busybox\nCOPY f /", &[]);
        File::create(context.join("f")).expect("made").set_len(200 << 20).expect("sparse");
        fails_alone(&engine, engine.build(&context), &["No space left on device"]);
        works(&engine);
    }
}

#[test]
fn a_disk_without_any_room() {
    let disk = Disk::ext4(96, &[]);
    let engine = Engine::at(&disk.store());
    works(&engine);
    for _ in 0..3 {
        let filler = Filler::new(&disk.path());
        let context = Folder::with_dockerfile(
            "FROM busybox\nCOPY f /\nRUN cat /f > /h",
            &[("f", &"x".repeat(1 << 20))],
        );
        let out = Folder::new(&[]);
        let output = format!("type=oci,dest={}", out.join("image").display());
        fails(engine.build(&context).args(["-o", &output]), &["No space left on device"]);
        drop(filler);
        works(&engine);
    }
    // Neither does a start need much.
    engine.stop();
    let filler = Filler::new(&disk.path());
    let du = engine.run("du");
    let told = String::from_utf8_lossy(&du.stderr).into_owned();
    assert!(du.status.success() || told.contains("No space left on device"), "{told}");
    drop(filler);
    works(&engine);
}

#[test]
fn a_disk_without_inodes() {
    for disk in [Disk::ext4(96, &["-N", "1500"]), Disk::memory("nr_inodes=1500")] {
        let engine = Engine::at(&disk.store());
        works(&engine);
        let files: Vec<(String, &str)> = (0..2000).map(|i| (format!("d/f{i}"), "x")).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, *text)).collect();
        let context = Folder::with_dockerfile("FROM busybox\nCOPY d /d", &files);
        fails_alone(&engine, engine.build(&context), &["No space left on device"]);
        works(&engine);
        let step = Folder::with_dockerfile(
            "FROM busybox\nRUN for i in $(seq 2000); do echo > /f$i || exit 1; done",
            &[],
        );
        fails_alone(&engine, engine.build(&step), &["No space left on device"]);
        works(&engine);
    }
}

#[test]
fn a_store_that_is_read_only() {
    let disk = Disk::ext4(96, &[]);
    let engine = Engine::at(&disk.store());
    works(&engine);
    engine.stop();
    disk.remount("ro");
    let du = engine.run("du");
    let told = String::from_utf8_lossy(&du.stderr).into_owned();
    assert!(!du.status.success() && told.contains("Read-only file system"), "{told}");
    disk.remount("rw");
    works(&engine);
}

#[test]
fn a_file_of_the_context_that_may_not_be_read() {
    let engine = Engine::new();
    assert!(engine.run("du").status.success());
    let context = Folder::with_dockerfile("FROM scratch\nCOPY . /", &[("open", "x"), ("d/secret", "x")]);
    for (path, mode) in [
        (engine.root(), 0o755),
        (&*engine.root().join("engine.sock"), 0o666),
        (engine.home().path(), 0o777),
        (context.path(), 0o755),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("open to all");
    }
    fs::set_permissions(context.join("d/secret"), fs::Permissions::from_mode(0o600)).expect("closed");
    let mut build = tool("setpriv");
    build.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        env!("CARGO_BIN_EXE_kiln"),
        "build",
        "--progress=plain",
    ]);
    build.arg("--host").arg(format!("unix://{}", engine.root().join("engine.sock").display()));
    build.arg(context.path()).env("HOME", engine.home().path());
    let built = output_of(build.stdin(Stdio::null()), b"");
    let told = String::from_utf8_lossy(&built.stderr).into_owned();
    assert_eq!(built.status.code(), Some(1), "{told}");
    assert!(told.contains("d/secret") && told.to_lowercase().contains("permission denied"), "{told}");
    fs::set_permissions(context.join("d/secret"), fs::Permissions::from_mode(0o644)).expect("open to all");
    let built = output_of(&mut build, b"");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    works(&engine);
}

#[test]
fn a_file_of_the_context_that_the_disk_cannot_read() {
    let disk = Disk::ext4(32, &[]);
    let context = disk.path();
    fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY whole /\nCOPY worn /").expect("written");
    fs::write(context.join("whole"), "x").expect("written");
    fs::write(context.join("worn"), vec![7; 20 << 20]).expect("written");
    disk.lose_end(16, &context.join("worn"));
    let engine = Engine::new();
    let build = || engine.build_from(&context.display().to_string());
    fails_alone(&engine, build(), &["worn", "Input/output error"]);
    works(&engine);
    fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY whole /").expect("written");
    assert_eq!(list_tar(&build().tar()), ["644 0:0 whole 'x'"]);
}

#[test]
fn a_blob_that_the_disk_cannot_read() {
    let disk = Disk::ext4(128, &[]);
    let engine = Engine::at(&disk.store());
    let context = Folder::with_dockerfile("FROM busybox\nRUN dd if=/dev/urandom of=/f bs=64k count=300", &[]);
    let out = Folder::new(&[]);
    let build = |name: &str| {
        engine.build(&context).args(["-o", &format!("type=oci,dest={}", out.join(name).display())])
    };
    build("first").ok();
    let blobs = tool("find").arg(engine.root().join("content-v1/sha256")).args(["-size", "+10M"]).output();
    let blob = String::from_utf8(blobs.expect("found").stdout).expect("a path");
    disk.lose_end(1, blob.trim().as_ref());
    let told = build("second").run().stderr;
    disk.find_end(128);
    assert!(told.contains("is damaged in the store") && told.contains("Input/output error"), "{told}");
    build("third").ok();
    works(&engine);
}

#[test]
fn a_file_of_the_context_that_changes_while_it_is_read() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM scratch\nCOPY . /", &[("still", "x")]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (path, over) = (context.join(&format!("f{number}")), &over);
            let mut chance = Chance::new();
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    match chance.below(4) {
                        0 => fs::write(&path, vec![b'a'; chance.below(3 << 20) as usize]).expect("written"),
                        1 => {
                            let file = File::options().create(true).append(true).open(&path).expect("opened");
                            file.set_len(chance.below(3 << 20)).expect("grown or cut");
                        }
                        2 => _ = fs::remove_file(&path),
                        _ => {
                            fs::write(path.with_extension("new"), "another").expect("written");
                            fs::rename(path.with_extension("new"), &path).expect("replaced");
                        }
                    }
                }
            });
        }
        for _ in 0..rounds(15) {
            let built = engine.build(&context).args(["-o", "type=tar,dest=/dev/null"]).run();
            // It may be told that a file went; what is left is of no build.
            let well = built.code == Some(0)
                || ["No such file", "not found", "changed"].iter().any(|text| built.stderr.contains(text));
            if !well {
                over.store(true, Ordering::SeqCst);
            }
            assert!(well, "{}", built.stderr);
        }
        over.store(true, Ordering::SeqCst);
    });
    for number in 0..2 {
        context.write(&format!("f{number}"), format!("at rest {number}"));
        let _ = fs::remove_file(context.join(&format!("f{number}.new")));
    }
    let mut listed = list_tar(&engine.build(&context).tar());
    listed.retain(|line| !line.contains("Dockerfile"));
    assert_eq!(listed, ["644 0:0 f0 'at rest 0'", "644 0:0 f1 'at rest 1'", "644 0:0 still 'x'"]);
    works(&engine);
}
