//! Registries that fail on purpose lose and corrupt nothing.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;

use oci::Digest;

use crate::harness::{Engine, Fault, FaultyProxy, Folder, Image, Registry, State, busybox, run_tool, tool};
use crate::registries::{copy_back, fill};

/// How many plans of faults are tried. The number of a plan, as `KILN_FAULTS=7`, tries that alone.
const PLANS: u64 = 4;

/// Numbers that look random, always the same for the same place.
fn random(plan: u64, place: u64) -> u64 {
    let mut x = plan.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    for _ in 0..3 {
        x = (x ^ (x >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    x ^ (x >> 32)
}

/// One request in five fails, each plan in other ways.
fn fault(plan: u64, request: &str, count: usize) -> Fault {
    let number = random(plan, count as u64);
    if !number.is_multiple_of(5) {
        return Fault::Nothing;
    }
    let (kind, at) = (number / 5 % 12, (number / 60 % 3_000_000) as usize);
    let is_get = request.starts_with("GET");
    match kind {
        0 => Fault::HangUp,
        1 => Fault::CutRequest(at),
        2 => Fault::CutAnswer(at),
        3 => Fault::LoseAnswer,
        4 if request.contains("/uploads/") => Fault::SpoilRequest(at),
        4 | 5 if is_get => Fault::SpoilAnswer(at),
        6 if request.starts_with("PATCH") => Fault::Twice,
        6 => Fault::Drip(7),
        7 => Fault::Refuse(429, Some("1")),
        8 => Fault::Refuse(429, None),
        9 => Fault::Refuse(500, None),
        10 => Fault::Refuse(503, Some("Sun, 06 Nov 1994 08:49:37 GMT")),
        11 if is_get && at % 2 == 0 => Fault::Page,
        _ => Fault::Refuse(502, None),
    }
}

/// A build that pulls, pushes, and leaves a cache.
struct Work {
    context: Folder,
    name: String,
    cache: String,
}

impl Work {
    fn new(proxy: &FaultyProxy, plan: u64) -> Self {
        // A layer that is pulled in pieces, and several small ones.
        let dockerfile = format!(
            "FROM {} AS base\nFROM base AS side\nRUN echo {plan} > /side\nFROM base\nCOPY large /\n\
             RUN echo {plan} > /own && head -c 3000000 /dev/urandom > /noise\nCOPY --from=side /side /side\n",
            proxy.name("base:1")
        );
        let context = Folder::with_dockerfile(&dockerfile, &[]);
        let noise: Vec<u8> = (0..2_300_000).flat_map(|n| random(plan, n).to_le_bytes()).collect();
        context.write("large", noise);
        let tag = |repository: &str| proxy.name(&format!("{repository}:{plan}"));
        Work { context, name: tag("app"), cache: format!("type=registry,ref={}", tag("cache")) }
    }

    /// Builds and pushes; gives the error where that failed.
    fn push(&self, engine: &Engine) -> Result<(), String> {
        let built = engine.build(&self.context).args(["--push", "--provenance=false", "-t", &self.name]);
        let built = built.args(["--cache-to", &format!("{},mode=max", self.cache)]).run();
        if built.code == Some(0) { Ok(()) } else { Err(built.stderr) }
    }

    /// Pulls on another engine what was pushed, and builds it there again by its cache.
    fn pull(&self, engine: &Engine) -> Result<(), String> {
        let dockerfile = format!("FROM {}\nRUN cat /own /side && sha256sum /large > /sum", self.name);
        let pulls = Folder::with_dockerfile(&dockerfile, &[]);
        let runs = [
            engine.build(&pulls).args(["-otype=tar,dest=/dev/null"]),
            engine.build(&self.context).args(["--cache-from", &self.cache, "-otype=tar,dest=/dev/null"]),
        ];
        for built in runs.map(|run| run.run()) {
            if built.code != Some(0) {
                return Err(built.stderr);
            }
        }
        Ok(())
    }
}

/// What is stored in a folder of blobs by their digests.
fn check_blobs(blobs: Vec<(String, std::path::PathBuf)>) {
    assert!(!blobs.is_empty());
    for (digest, path) in blobs {
        let found = Digest::of(std::fs::read(&path).expect("readable")).to_string();
        assert_eq!(found, digest, "{}", path.display());
    }
}

fn stored(root: &Path) -> Vec<(String, std::path::PathBuf)> {
    let found = run_tool(tool("find").arg(root.join("content-v1/sha256")).args(["-type", "f"]), b"");
    let paths = String::from_utf8(found).expect("UTF-8");
    let blob = |line: &str| {
        let parts: Vec<_> = line.rsplit('/').take(2).collect();
        (format!("sha256:{}{}", parts[1], parts[0]), line.into())
    };
    paths.lines().map(blob).collect()
}

/// A build fails for nothing but what the registry does, and says which.
fn check_failure(proxy: &FaultyProxy, stderr: &str) {
    assert!(stderr.contains(&proxy.host()), "it names no registry:\n{stderr}");
    let causes = [
        "unexpected status",
        "failed to do request",
        "unexpected digest",
        "unexpected commit digest",
        "is longer than",
        "ended after",
        "web page",
        "got digest",
        "failed to read the manifest",
        "unable to decode token response",
        // Tokens that serve a few requests, where several ask at once.
        "authorization failed",
    ];
    assert!(causes.iter().any(|cause| stderr.contains(cause)), "it names no cause:\n{stderr}");
    assert!(!stderr.contains("internal error"), "{stderr}");
}

fn try_plan(plan: u64) {
    let registry = Registry::open();
    fill(&registry, "base:1", &[]);
    let tokens = plan.is_multiple_of(2).then_some(4);
    let proxy =
        FaultyProxy::with_tokens(&registry, tokens, move |request, count| fault(plan, request, count));
    let (one, other) = (Engine::new(), Engine::new());
    let work = Work::new(&proxy, plan);
    let mut failed = 0;
    let tries = [work.push(&one), work.push(&one), work.pull(&other)];
    for stderr in tries.into_iter().filter_map(Result::err) {
        // Where the first did not get there, nothing is there to be pulled.
        if !stderr.contains("not found") {
            check_failure(&proxy, &stderr);
        }
        failed += 1;
    }
    let faults = proxy.take_passed().iter().filter(|passed| passed.fault != Fault::Nothing).count();
    eprintln!("plan {plan}: {faults} faults, {failed} of 3 builds failed");
    assert!(faults > 0);
    for blobs in [registry.blobs(), stored(one.root()), stored(other.root())] {
        check_blobs(blobs);
    }

    // What is right now takes up what is there.
    proxy.heal();
    work.push(&one).unwrap_or_else(|stderr| panic!("{stderr}"));
    work.pull(&other).unwrap_or_else(|stderr| panic!("{stderr}"));
    // `skopeo` checks each digest on its way.
    let (_folder, image) = copy_back(&registry, &format!("app:{plan}"), &[]);
    assert_eq!(image.layer(1).len(), 1, "the large file");
    for blobs in [registry.blobs(), stored(one.root()), stored(other.root())] {
        check_blobs(blobs);
    }
    let third = Engine::new();
    let steps = third.build(&work.context).args(["--cache-from", &work.cache, "-otype=cacheonly"]).steps();
    assert_eq!(steps.state("RUN echo"), State::Cached);
}

#[test]
fn no_plan_of_faults_loses_or_corrupts_anything() {
    match std::env::var("KILN_FAULTS").ok().and_then(|plan| plan.parse().ok()) {
        Some(plan) => try_plan(plan),
        None => (0..PLANS).for_each(try_plan),
    }
}

#[test]
fn a_pull_that_is_broken_off_leaves_no_half_blob() {
    let registry = Registry::open();
    fill(&registry, "base:1", &[]);
    let layer = &Image::read(busybox().path()).layer_paths()[0];
    let hex = layer.file_name().expect("a name").to_string_lossy().into_owned();
    // So slow that it would take minutes.
    let slow = hex.clone();
    let proxy = FaultyProxy::start(&registry, move |request, _| match request {
        get if get.starts_with("GET") && get.ends_with(&slow) => Fault::Drip(5_000),
        _ => Fault::Nothing,
    });
    let engine = Engine::new();
    let context = Folder::with_dockerfile(&format!("FROM {}\nRUN true", proxy.name("base:1")), &[]);
    let mut child = engine.build(&context).args(["-otype=cacheonly"]).spawn();
    let on_its_way = || {
        let ingest = std::fs::read_dir(engine.root().join("content-v1/ingest")).into_iter().flatten();
        ingest.flatten().filter(|file| file.metadata().is_ok_and(|meta| meta.len() > 1000)).count()
    };
    while on_its_way() == 0 {
        assert!(child.try_wait().expect("asked").is_none(), "it ended");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    run_tool(tool("kill").args(["-INT", &child.id().to_string()]), b"");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let began = std::time::Instant::now();
    while on_its_way() > 0 {
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "a part of a blob stays");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    check_blobs(stored(engine.root()));
    assert!(stored(engine.root()).iter().all(|(digest, _)| !digest.ends_with(&hex)));
    proxy.heal();
    engine.build(&context).args(["-otype=cacheonly"]).ok();
}

#[test]
fn a_limit_is_told_while_it_is_waited_for_and_when_that_takes_too_long() {
    let registry = Registry::open();
    fill(&registry, "base:1", &[]);
    let proxy = FaultyProxy::start(&registry, |_, count| match count {
        0 => Fault::Refuse(429, Some("1")),
        _ => Fault::Refuse(429, Some("3600")),
    });
    let engine = Engine::new();
    let context = Folder::with_dockerfile(&format!("FROM {}\nRUN true", proxy.name("base:1")), &[]);
    let limit = format!("registry `{}` limits how often it is asked", proxy.host());
    let waits = format!("{limit}; trying again in 1 s");
    let hint = format!("{limit}: try again in 60 min, log in to raise the limit, or use a mirror");
    engine.build(&context).args(["-otype=cacheonly"]).fails(102, &[&waits, "429 Too Many Requests", &hint]);
}

/// What caches wait for is told in their own steps, as images tell it.
#[test]
fn caches_tell_what_they_wait_for() {
    let registry = Registry::open();
    let proxy = || {
        let seen = Mutex::new(HashSet::new());
        FaultyProxy::start(&registry, move |request, _| {
            match seen.lock().expect("held by nobody else").insert(request.to_owned()) {
                true => Fault::Refuse(429, Some("1")),
                false => Fault::Nothing,
            }
        })
    };
    // The steps that tell of a wait, by the beginning of their lines.
    let waiting = |told: &str, proxy: &FaultyProxy| -> HashSet<String> {
        let waits = format!("registry `{}` limits how often it is asked; trying again in 1 s", proxy.host());
        let number = |line: &str| line.split_once(' ').map(|(number, _)| number.to_owned());
        told.lines().filter(|line| line.contains(&waits)).filter_map(number).collect()
    };
    let step = |told: &str, name: &str| -> String {
        let line = told.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{told}"));
        line.split_once(' ').expect("a number").0.to_owned()
    };
    let context = Folder::with_dockerfile("FROM scratch\nCOPY Dockerfile /", &[]);
    let (to, from) = (proxy(), proxy());
    let cache = |proxy: &FaultyProxy| format!("type=registry,ref={}", proxy.name("cache:1"));
    let (engine, other) = (Engine::new(), Engine::new());
    let told = engine.build(&context).args(["-otype=cacheonly", "--cache-to", &cache(&to)]).ok().stderr;
    let exporting = step(&told, "exporting cache to registry");
    assert_eq!(waiting(&told, &to), HashSet::from([exporting]), "{told}");
    let told = other.build(&context).args(["-oout", "--cache-from", &cache(&from)]).ok().stderr;
    let waits = waiting(&told, &from);
    // The layer is fetched by the step that it is the result of.
    let expected = [step(&told, "importing cache manifest from"), step(&told, "COPY Dockerfile /")];
    assert_eq!(waits, HashSet::from(expected), "{told}");
}
