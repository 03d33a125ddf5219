//! What the store takes, and how it is kept small.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Engine, Folder, State};

const MB: u64 = 1 << 20;

/// Reads `1.5MB`, as sizes are shown.
fn bytes(text: &str) -> f64 {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let factor = ["B", "kB", "MB", "GB"].iter().position(|u| *u == unit);
    let factor = 1000f64.powi(factor.unwrap_or_else(|| panic!("`{text}` is no size")) as i32);
    text[..text.len() - unit.len()].parse::<f64>().expect("a number") * factor
}

/// A line of what `kiln du` or `kiln prune` tells, such as `Total:`.
fn line(output: &std::process::Output, name: &str) -> f64 {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let found = text.lines().find_map(|l| l.strip_prefix(name));
    bytes(found.unwrap_or_else(|| panic!("no `{name}` in\n{text}")).trim())
}

/// What `kiln du --verbose` adds up to must be what the disk says.
#[track_caller]
fn check_sum(engine: &Engine, when: &str) {
    // Work that goes on behind the build's back changes both.
    let began = Instant::now();
    loop {
        let (disk, told) = (engine.disk() as f64, line(&engine.run("du --verbose"), "On disk:"));
        if (told - disk).abs() <= disk * 0.02 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{when}: {told} is told, the disk has {disk}");
    }
}

#[test]
fn what_is_told_adds_up_to_what_the_disk_has() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox AS a\nCOPY files /one\nCOPY files /two\n\
                      RUN cp -a /one /three && ln /three/1 /three/link && head -c 3000000 /dev/urandom > /r\n\
                      FROM busybox AS b\nCOPY --link files /x\nCOPY --from=a /three /r /y/\n\
                      RUN --mount=type=cache,target=/c head -c 5000000 /dev/urandom > /c/f && ln -s /y /l\n\
                      FROM scratch\nCOPY --from=b / /\nCOPY --from=a /two /two";
    let context = Folder::with_dockerfile(dockerfile, &[]);
    for i in 0..600 {
        context.write(&format!("files/{i}"), format!("{i} ").repeat(100 + i * 7));
        context.write(&format!("files/same/{i}"), "the same everywhere");
    }
    engine.build(&context).args(["-otype=tar,dest=/dev/null"]).ok();
    check_sum(&engine, "layers, links and a cache mount");
    engine.build(&context).args(["-t", "x", "-otype=image"]).ok();
    engine.build(&context).args(["-o", "type=oci,dest=/dev/null"]).ok();
    check_sum(&engine, "with blobs and an image");
    let prune = engine.run("prune --force --filter type=exec.cachemount");
    assert!(line(&prune, "Total:") >= 5e6);
    check_sum(&engine, "without the cache mount");
    engine.stop();
    check_sum(&engine, "after a restart");
    let before = engine.disk() as f64;
    let freed = line(&engine.run("prune --all --force"), "Total:");
    check_sum(&engine, "with an image alone");
    // Directories of the store and blobs of the image stay.
    let less = before - engine.disk() as f64;
    assert!((less - freed).abs() <= before * 0.02, "{freed} is told, the disk has {less} less");
}

/// Builds a layer of its own of some megabytes.
fn build(engine: &Engine, name: &str, megabytes: u64) -> State {
    let dockerfile = format!("FROM busybox\nRUN head -c {} /dev/urandom > /f; echo {name}", megabytes * MB);
    let context = Folder::with_dockerfile(&dockerfile, &[]);
    engine.build(&context).args(["-otype=tar,dest=/dev/null"]).steps().state("RUN head")
}

#[test]
fn prune_minds_all_limits() {
    let engine = Engine::new();
    for name in ["a", "b", "c", "d"] {
        build(&engine, name, 8);
    }
    let used = || line(&engine.run("du"), "Total:");
    let check = |args: &str, low: u64, high: u64| {
        let output = engine.run(format!("prune --force {args}").trim_end());
        line(&output, "Total:");
        let used = used();
        assert!(used >= (low * MB) as f64 && used < (high * MB) as f64, "{args}: {used}");
    };
    let all = (used() / MB as f64) as u64;
    check("--filter until=1h", 32, all + 1);
    check("--filter type=source.git.checkout", 32, all + 1);
    check("--max-used-space 1gb", 32, all + 1);
    // One that is smaller than what is reserved has no say.
    check("--max-used-space 1mb --reserved-space 1gb", 32, all + 1);
    check("--min-free-space 1mb", 32, all + 1);
    check("--max-used-space 26mb", 18, 26);
    check("--keep-storage 18mb", 10, 18);
    check("--min-free-space 1pb --reserved-space 10mb", 2, 10);
    // The last one that was built went last.
    assert_eq!([build(&engine, "a", 8), build(&engine, "b", 8)], [State::Ran; 2]);
    check("--filter id=nothing", 16, all);
    check("", 0, 16);
}

/// Ends a thread, also when the test fails.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_limit_is_kept_while_builds_run() {
    const LIMIT: u64 = 40;
    let config = format!("[worker.oci]\n[[worker.oci.gcpolicy]]\nall = true\nmaxUsedSpace = \"{LIMIT}MB\"\n");
    let engine = Engine::with_config(&config);
    let out = Folder::new(&[]);
    // Runs until a file comes, and holds what it has made until then.
    let dockerfile = "FROM busybox\nRUN head -c 8388608 /dev/urandom > /held && sha256sum /held > /sum\n\
                      RUN --mount=type=cache,target=/gate echo st''arted; until [ -e /gate/open ]; do sleep 0.05; done; \
                      sha256sum -c /sum && cp /held /copy";
    let context = Folder::with_dockerfile(dockerfile, &[]);
    let held = engine
        .build(&context)
        .args(["--network=none", "-o", &format!("type=local,dest={}", out.path().display())])
        .spawn();
    let (peak, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(engine.disk(), Ordering::Relaxed);
            }
        });
        let _ends = SetWhenDropped(&stop);
        for i in 0..8 {
            build(&engine, &i.to_string(), 12);
            let began = Instant::now();
            // The database and the folders are no part of the cache.
            while engine.disk() > (LIMIT + 8) * MB {
                assert!(
                    began.elapsed() < Duration::from_secs(20),
                    "{} bytes are not collected",
                    engine.disk()
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    // 8 + 8 * 12 MB were made; at no time was there more than the limit, one build, and the database. A layer that is
    // moved while it is being removed may be counted twice.
    let peak = peak.load(Ordering::Relaxed);
    assert!(peak < (LIMIT + 12 + 12 + 8) * MB, "{peak}");
    // What the first build holds is whole.
    let open = "FROM busybox\nRUN --mount=type=cache,target=/gate touch /gate/open";
    engine.build(&Folder::with_dockerfile(open, &[])).args(["-otype=tar,dest=/dev/null"]).ok();
    let output = held.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        std::fs::read(out.join("held")).expect("there") == std::fs::read(out.join("copy")).expect("there")
    );
}
