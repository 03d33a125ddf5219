//! A store whose files were changed by something else.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::harness::{Engine, Folder, Image};
use crate::rounds::{Chance, rounds};
use crate::work::Work;

/// All files of a kind in the store, in a fixed order.
fn files(engine: &Engine, dir: &str) -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![engine.root().join(dir)]);
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.file_type().expect("a type") {
                kind if kind.is_dir() => todo.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// Changes one bit of a file and nothing else of it.
fn flip(path: &Path, at: u64) {
    let meta = path.metadata().expect("it is there");
    let mut file = File::options().read(true).write(true).open(path).expect("opened");
    let (mut byte, at) = ([0], at % meta.size());
    file.seek(SeekFrom::Start(at)).expect("in the file");
    file.read_exact(&mut byte).expect("read");
    file.seek(SeekFrom::Start(at)).expect("in the file");
    file.write_all(&[byte[0] ^ 4]).expect("written");
    file.set_modified(meta.modified().expect("a time")).expect("as before");
}

fn check(engine: &Engine) -> (Option<i32>, String) {
    let output = engine.run("engine check");
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), told)
}

/// Builds something of every kind, damages the store, checks it, and builds again: the damage is told, a second check
/// finds nothing, and what is built is right.
fn found_and_rebuilt(damage: impl Fn(&Engine) -> Vec<String>) {
    let engine = Engine::new();
    let builds: Vec<_> = (0..5).map(|kind| Work::new(kind).run(&engine).expect("it builds")).collect();
    engine.stop();
    assert_eq!(check(&engine).0, Some(0), "{}", check(&engine).1);
    let expected = damage(&engine);
    let (code, told) = check(&engine);
    assert_eq!(code, Some(3), "{told}");
    for text in expected {
        assert!(told.contains(&text), "`{text}` is not told:\n{told}");
    }
    let (code, second) = check(&engine);
    assert_eq!(code, Some(0), "{second}\nafter\n{told}");
    for build in builds {
        build.check_content(&engine);
    }
}

#[test]
fn flipped_blobs() {
    found_and_rebuilt(|engine| {
        let blobs = files(engine, "content-v1/sha256");
        assert!(blobs.len() > 8, "{blobs:?}");
        blobs.iter().for_each(|blob| flip(blob, 77));
        blobs.iter().map(|blob| blob.file_name().expect("a name").to_string_lossy().into_owned()).collect()
    });
}

#[test]
fn flipped_objects() {
    found_and_rebuilt(|engine| {
        let objects = files(engine, "objects-v1");
        assert!(objects.len() > 100, "{objects:?}");
        let hit: Vec<_> = objects.iter().step_by(9).collect();
        hit.iter().for_each(|object| flip(object, 5));
        hit.iter()
            .map(|object| format!("object {}", object.file_name().expect("a name").to_string_lossy()))
            .collect()
    });
}

#[test]
fn truncated_objects() {
    found_and_rebuilt(|engine| {
        let objects = files(engine, "objects-v1");
        for object in &objects {
            let file = File::options().write(true).open(object).expect("opened");
            file.set_len(1).expect("cut");
        }
        vec!["object ".to_owned()]
    });
}

#[test]
fn flipped_files_of_layers() {
    found_and_rebuilt(|engine| {
        // Files that are no objects: of the base image, and of steps, whose layers were exported.
        let own = |path: &PathBuf| path.metadata().is_ok_and(|m| m.nlink() == 1 && m.size() > 0);
        let hit: Vec<_> = files(engine, "layers-v1").into_iter().filter(own).collect();
        let hit: Vec<_> =
            hit.iter().filter(|path| path.components().any(|c| c.as_os_str() == "tree")).collect();
        assert!(hit.len() > 5, "{hit:?}");
        hit.iter().for_each(|path| flip(path, 3));
        vec!["layer ".to_owned()]
    });
}

#[test]
fn deleted_layers() {
    for nth in 0..2 {
        found_and_rebuilt(|engine| {
            let layers: Vec<_> =
                fs::read_dir(engine.root().join("layers-v1")).expect("listed").flatten().collect();
            for layer in layers.iter().skip(nth).step_by(2) {
                fs::remove_dir_all(layer.path().join(if nth == 0 { "tree" } else { "" })).expect("removed");
            }
            Vec::new()
        });
    }
}

#[test]
fn flipped_databases() {
    let mut chance = Chance::new();
    let engine = Engine::new();
    for _ in 0..rounds(6) {
        let builds: Vec<_> = (0..2).map(|kind| Work::new(kind).run(&engine).expect("it builds")).collect();
        engine.stop();
        let path = engine.root().join("metadata");
        for _ in 0..1 + chance.below(200) {
            flip(&path, chance.below(1 << 40));
        }
        // Whatever the engine makes of it, and with a look first or without: no start fails, and no result is wrong.
        if chance.below(2) == 0 {
            let (code, told) = check(&engine);
            assert!(matches!(code, Some(0 | 3)), "{told}");
        }
        // The build that meets the damage may end with the engine. The next engine begins a new database.
        let ended = || engine.log().matches("the engine ends").count();
        let before = ended();
        for build in builds {
            if let Err(told) = build.try_content(&engine) {
                println!("{told}");
                assert_eq!(ended(), before + 1, "{told}");
                build.check_content(&engine);
            }
        }
    }
}

#[test]
fn an_unreadable_database_is_set_aside_and_told() {
    for content in [&b""[..], &b"no database at all"[..], &[0; 100_000][..]] {
        let engine = Engine::new();
        let build = Work::new(0).run(&engine).expect("it builds");
        engine.stop();
        let path = engine.root().join("metadata");
        let whole = fs::read(&path).expect("read");
        fs::write(&path, content).expect("written");
        build.check_content(&engine);
        if !content.is_empty() {
            assert!(engine.log().contains("the store begins anew"), "{}", engine.log());
            assert_eq!(fs::read(engine.root().join("damaged/metadata")).expect("kept"), content);
        }
        // One that is cut.
        engine.stop();
        fs::write(&path, &whole[..whole.len() / 2]).expect("written");
        build.check_content(&engine);
    }
}

#[test]
fn a_check_wants_the_store_for_itself() {
    let engine = Engine::new();
    assert!(engine.run("du").status.success());
    let (code, told) = check(&engine);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("the engine is running on this store") && told.contains("kiln engine stop"),
        "{told}"
    );
}

#[test]
fn a_damaged_blob_is_never_served() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let context = Folder::with_dockerfile("FROM busybox\nCOPY f /f\nRUN cat /f > /g", &[("f", "text")]);
    let archive = |name: &str| out.join(name).display().to_string();
    let build = |name: &str| engine.build(&context).args(["-o", &format!("type=oci,dest={}", archive(name))]);
    build("first").ok();
    let expected = Image::open(&out.join("first")).digest().to_owned();
    // What the disk has still to get is in memory, and taken as it is.
    engine.stop();
    for blob in files(&engine, "content-v1/sha256") {
        flip(&blob, 1000);
    }
    // Each build may meet one that is damaged; none gives it away.
    let mut failures = 0;
    loop {
        let built = build("second").run();
        if built.code == Some(0) {
            break;
        }
        assert!(built.stderr.contains("damaged in the store"), "{}", built.stderr);
        failures += 1;
        assert!(failures < 10, "{}", built.stderr);
    }
    assert_eq!(Image::open(&out.join("second")).digest(), expected);
}

#[test]
fn a_layer_that_is_gone_is_made_anew_while_the_engine_runs() {
    let engine = Engine::new();
    let builds: Vec<_> = (0..5).map(|kind| Work::new(kind).run(&engine).expect("it builds")).collect();
    for layer in fs::read_dir(engine.root().join("layers-v1")).expect("listed").flatten() {
        fs::remove_dir_all(layer.path()).expect("removed");
    }
    for build in builds {
        build.check_content(&engine);
    }
}

#[test]
fn a_truncated_object_is_not_linked_again() {
    let engine = Engine::new();
    let text = "some text ".repeat(9);
    let context = Folder::with_dockerfile("FROM scratch\nCOPY f /", &[("f", &text)]);
    engine.build(&context).ok();
    for object in files(&engine, "objects-v1") {
        File::options().write(true).open(object).expect("opened").set_len(3).expect("cut");
    }
    // The same file from another place, with the same time.
    let second = Folder::with_dockerfile("FROM scratch\nCOPY f /\nCOPY f /g", &[("f", &text)]);
    let time = context.join("f").metadata().expect("there").modified().expect("a time");
    File::options().write(true).open(second.join("f")).expect("opened").set_modified(time).expect("set");
    let listed = crate::harness::list_tar(&engine.build(&second).args(["--no-cache"]).tar());
    assert!(listed.iter().all(|line| line.contains("some text") && line.len() > text.len()), "{listed:?}");
}
