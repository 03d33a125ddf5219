//! Dockerfiles that BuildKit has built: the same images, the same use of the cache.
//!
//! A case is a file of `cases` (see [`Case`]): a build, and a second one after a change. What comes of it is told as text
//! and compared with `NAME.expected`, which is what BuildKit made of it by the same means. `NAME.kiln` is what Kiln makes
//! of it instead; the case says why. Where BuildKit is on the machine (`buildkitd`, `runc` on PATH) it builds too, and
//! what it says today is compared as well.
//!
//! KILN_ORACLE=NAME builds only the cases whose names begin so; KILN_ORACLE_WRITE=1 writes the results anew: BuildKit's,
//! and Kiln's where there is a file for them.

mod case;
#[path = "../it/harness/mod.rs"]
mod harness;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use case::Case;
use harness::{Folder, Steps, output_of};
use world::{Side, World};

/// Builds at a time.
const AT_ONCE: usize = 4;

#[test]
fn all_cases_are_as_buildkit_builds_them() {
    let world = World::start();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/cases");
    let wanted = std::env::var("KILN_ORACLE").unwrap_or_default();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&dir).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "case"));
    paths.sort();
    let mut cases: Vec<Case> = paths.iter().map(|path| Case::read(path, &world.host)).collect();
    cases.retain(|case| case.name.starts_with(&wanted));
    let kiln = build_all(&Side::kiln(&world), &cases, &world);
    let buildkit = Side::buildkit(&world).map(|side| build_all(&side, &cases, &world));
    let mut faults = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let path = dir.join(format!("{}.expected", case.name));
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        let own = path.with_extension("kiln");
        if std::env::var("KILN_ORACLE_WRITE").is_ok() {
            if let Some(told) = &buildkit {
                std::fs::write(&path, &told[number]).expect("written");
            }
            if own.exists() {
                std::fs::write(&own, &kiln[number]).expect("written");
            }
        }
        let expected = read(&path).unwrap_or_default();
        let mut check = |who: &str, told: &str, expected: &str| {
            if told != expected {
                faults.push(format!("{}: {who} differs:\n{}", case.name, difference(expected, told)));
            }
        };
        check("Kiln", &kiln[number], read(&own).as_ref().unwrap_or(&expected));
        if let Some(told) = &buildkit {
            check("BuildKit of today", &told[number], &expected);
        }
    }
    let (count, cases) = (faults.len(), cases.len());
    assert!(faults.is_empty(), "{count} of {cases} cases differ\n{}", faults.join("\n"));
    assert!(!wanted.is_empty() || cases >= 150, "only {cases} cases");
}

/// What one engine makes of the cases.
fn build_all(side: &Side, cases: &[Case], world: &World) -> Vec<String> {
    let queue = Mutex::new(cases.iter().enumerate());
    let told = Mutex::new(vec![String::new(); cases.len()]);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic").next();
                    let Some((number, case)) = next else { return };
                    let text = stable(&build(side, case, world), &world.host);
                    told.lock().expect("no panic")[number] = text;
                }
            });
        }
    });
    told.into_inner().expect("no panic")
}

/// Builds a case twice; tells the image, the steps of the second build, and what that changed.
fn build(side: &Side, case: &Case, world: &World) -> String {
    let (folder, archives) = (case.folder(&world.fixtures()), Folder::new(&[]));
    let run = |second: bool| {
        let archive = archives.join(if second { "2.tar" } else { "1.tar" });
        let output = output_of(&mut side.buildctl(&case.args(second, &archive), &folder), b"");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return (text, String::new());
        }
        let _ = std::fs::remove_file(archive);
        let error = text.lines().rfind(|line| line.starts_with("error: ")).unwrap_or(&text);
        let told = format!("{error}\n");
        (text, told)
    };
    let (_, first_error) = run(false);
    case.change(&folder, &world.fixtures());
    let (log, second_error) = run(true);
    world.describe(&archives);
    let image = |name: &str| std::fs::read_to_string(archives.join(name)).unwrap_or_default();
    let (first, second) = (image("1.txt"), image("2.txt"));
    let mut steps = Steps::read(&log).ran();
    // Whether a page is asked for anew is up to the engine.
    steps.retain(|step| !step.contains("://"));
    steps.sort();
    let steps: String = steps.iter().map(|step| format!("  ran {}\n", step.replace('\n', "\\n"))).collect();
    format!("{first}{first_error}second build\n{steps}{second_error}{}", difference(&first, &second))
}

/// Without what is another each time: the port of the server, and ids of states.
fn stable(text: &str, host: &str) -> String {
    let text = text.replace(host, "HOST");
    let mut parts = text.split("checksum of ref ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("checksum of ref …");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == ':'));
    }
    out
}

/// The lines that only one of two texts has, in their order.
fn difference(old: &str, new: &str) -> String {
    let diff = similar::TextDiff::from_lines(old, new);
    let changes = diff.iter_all_changes().filter(|change| change.tag() != similar::ChangeTag::Equal);
    changes.map(|change| format!("{}{change}", change.tag())).collect()
}
