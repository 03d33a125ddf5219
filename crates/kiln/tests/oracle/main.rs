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

use std::env;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use case::Case;
use harness::{Folder, Steps, output_of};
use world::{Side, World};

/// Builds at a time.
const AT_ONCE: usize = 4;

#[test]
fn images_and_use_of_the_cache_are_those_of_buildkit() {
    let world = World::start();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/cases");
    let wanted = env::var("KILN_ORACLE").unwrap_or_default();
    let cases = read_cases(&dir, &wanted, &world);
    let kiln = build_all(&Side::kiln(&world), &cases, &world);
    let buildkit = Side::buildkit(&world).map(|side| build_all(&side, &cases, &world));
    let writes = env::var("KILN_ORACLE_WRITE").is_ok();
    assert!(!writes || buildkit.is_some(), "there is no BuildKit on the machine to write what it makes");

    let mut faults = Vec::new();
    let mut check = |case: &Case, who: &str, told: &str, path: &Path, writes: bool| {
        if writes {
            fs::write(path, told).expect("written");
        }
        let expected = fs::read_to_string(path).unwrap_or_default();
        if told != expected {
            faults.push(format!("{}: {who} differs:\n{}", case.name, difference(&expected, told)));
        }
    };
    for (number, case) in cases.iter().enumerate() {
        let path = dir.join(format!("{}.expected", case.name));
        if let Some(told) = &buildkit {
            check(case, "BuildKit of today", &told[number], &path, writes);
        }
        let own = path.with_extension("kiln");
        match own.exists() {
            true => check(case, "Kiln", &kiln[number], &own, writes),
            false => check(case, "Kiln", &kiln[number], &path, false),
        }
    }
    let (count, cases) = (faults.len(), cases.len());
    assert!(faults.is_empty(), "{count} of {cases} cases differ\n{}", faults.join("\n"));
    assert!(!wanted.is_empty() || cases >= 150, "only {cases} cases");
}

/// The cases whose names begin so.
fn read_cases(dir: &Path, wanted: &str, world: &World) -> Vec<Case> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".case").filter(|name| name.starts_with(wanted)).map(str::to_owned));
    }
    names.sort();
    let text = |name: &str| fs::read_to_string(dir.join(format!("{name}.case"))).expect("readable");
    names.iter().map(|name| Case::read(name, &world.fill_in(&text(name)))).collect()
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
                    let text = world.without_host(&build(side, case, world));
                    told.lock().expect("no panic")[number] = without_ids(&text);
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
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut error = String::new();
        if !output.status.success() {
            error = log.lines().rfind(|line| line.starts_with("error: ")).unwrap_or(&log).to_owned() + "\n";
            let _ = fs::remove_file(archive);
        }
        (log, error)
    };
    let (_, first_error) = run(false);
    case.change(&folder, &world.fixtures());
    let (log, second_error) = run(true);
    world.describe(&archives);
    let image = |name: &str| fs::read_to_string(archives.join(name)).unwrap_or_default();
    let (first, second) = (image("1.txt"), image("2.txt"));
    let mut steps = Steps::read(&log).ran();
    // Whether a page is asked for anew is up to the engine, and what else runs before a step fails is up to chance.
    steps.retain(|step| second_error.is_empty() && !step.contains("://"));
    steps.sort();
    let steps: String = steps.iter().map(|step| format!("  ran {}\n", step.replace('\n', "\\n"))).collect();
    format!("{first}{first_error}second build\n{steps}{second_error}{}", difference(&first, &second))
}

/// Without the ids of states, which errors tell.
fn without_ids(text: &str) -> String {
    let mut parts = text.split("checksum of ref ");
    let first = parts.next().unwrap_or_default().to_owned();
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == ':';
    parts.fold(first, |text, part| text + "checksum of ref …" + part.trim_start_matches(is_id))
}

/// The lines that only one of two texts has, in their order.
fn difference(old: &str, new: &str) -> String {
    let diff = similar::TextDiff::from_lines(old, new);
    let changes = diff.iter_all_changes().filter(|change| change.tag() != similar::ChangeTag::Equal);
    changes.map(|change| format!("{}{change}", change.tag())).collect()
}
