//! Caches that one engine leaves to another.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{BuildKit, Engine, Folder, Registry, State, busybox, list_tar, run_tool, tool};

use State::{Cached, Ran};

/// What it builds is never the same twice.
const DOCKERFILE: &str = "FROM busybox AS base\nRUN head -c 100 /dev/urandom | sha256sum > /unique\nCOPY f /f\n\
                          FROM base AS side\nRUN cat /unique /f > /side\n\
                          FROM base\nCOPY --from=side /side /side\nRUN cat /side > /end\n";

const STEPS: &[&str] = &["RUN head", "COPY f", "RUN cat /unique", "COPY --from=side", "RUN cat /side"];

fn context() -> Folder {
    Folder::with_dockerfile(DOCKERFILE, &[("f", "f")])
}

/// The file that says which build it was.
fn end(tar: &[u8]) -> Vec<String> {
    list_tar(tar).into_iter().filter(|line| line.contains(" end ")).collect()
}

/// Exports from one engine, imports into another that has nothing; gives both results.
fn pass_on(to: &str, from: &str) -> (Vec<String>, Vec<String>) {
    let (one, other) = (Engine::new(), Engine::new());
    let first = one.build(&context()).args(["--cache-to", to]).tar();
    let second = other.build(&context()).args(["--cache-from", from]).tar();
    (end(&first), end(&second))
}

#[test]
fn what_one_engine_has_built_another_takes_over() {
    let (registry, folder) = (Registry::open(), Folder::new(&[]));
    let dir = |name: &str| folder.join(name).display().to_string();
    let at = |name: &str| format!("ref={}", registry.name(name));
    for (to, from) in [
        (format!("type=local,dest={},mode=max", dir("max")), format!("type=local,src={}", dir("max"))),
        (format!("type=local,dest={}", dir("min")), format!("type=local,src={}", dir("min"))),
        (format!("type=local,dest={},tag=t", dir("tag")), format!("type=local,src={},tag=t", dir("tag"))),
        (format!("type=registry,{},mode=max", at("c:max")), format!("type=registry,{}", at("c:max"))),
        (registry.name("c:min"), registry.name("c:min")),
        (
            format!("type=registry,{},mode=max,image-manifest=false,oci-mediatypes=false", at("c:index")),
            registry.name("c:index"),
        ),
        (
            format!("type=registry,{},compression=zstd,force-compression=true", at("c:zstd")),
            registry.name("c:zstd"),
        ),
    ] {
        let (first, second) = pass_on(&to, &from);
        assert!(!first.is_empty() && first == second, "{to} {from}: {first:?} {second:?}");
    }
}

#[test]
fn an_image_carries_its_cache() {
    let registry = Registry::open();
    for (name, flags) in
        [("a:1", ["--cache-to", "type=inline"]), ("b:1", ["--build-arg", "BUILDKIT_INLINE_CACHE=1"])]
    {
        let (one, other) = (Engine::new(), Engine::new());
        let name = registry.name(name);
        one.build(&context()).args(["--push", "-t", &name]).args(flags).ok();
        let first = end(&one.build(&context()).tar());
        let second = end(&other.build(&context()).args(["--cache-from", &name]).tar());
        assert!(!first.is_empty() && first == second, "{flags:?}: {first:?} {second:?}");
    }
}

#[test]
fn only_what_changed_is_run() {
    let (one, other, folder) = (Engine::new(), Engine::new(), Folder::new(&[]));
    let dir = folder.join("cache").display().to_string();
    one.build(&context()).args(["--cache-to", &format!("type=local,dest={dir},mode=max")]).tar();
    let from = ["--cache-from", &format!("type=local,src={dir}")];
    let changed =
        Folder::with_dockerfile(&DOCKERFILE.replace("cat /side > /end", "wc /side > /end"), &[("f", "f")]);
    let steps = other.build(&changed).args(["-otype=tar,dest=/dev/null"]).args(from).steps();
    steps.assert(&[
        ("RUN head", Cached),
        ("COPY f", Cached),
        ("RUN cat /unique", Cached),
        ("COPY --from=side", Cached),
        ("RUN wc", Ran),
    ]);
    // What was taken over is there without the cache, too.
    let steps = other.build(&changed).args(["-otype=tar,dest=/dev/null"]).steps();
    steps.assert(&[("COPY --from=side", Cached), ("RUN wc", Cached)]);
    // A stage that is to be built anew is, whatever there is; what is below it is not.
    let args = ["-otype=tar,dest=/dev/null", "--no-cache-filter", "side"];
    let steps = other.build(&context()).args(args).args(from).steps();
    steps.assert(&[("RUN head", Cached), ("RUN cat /unique", Ran)]);
}

/// Whether a store has a blob.
fn has_blob(engine: &Engine, hex: &str) -> bool {
    engine.root().join("content-v1/sha256").join(&hex[..2]).join(hex).exists()
        || engine.root().join("content-v1/sha256").join(&hex[..2]).join(&hex[2..]).exists()
}

#[test]
fn layers_come_when_a_step_reads_them() {
    let (one, other, folder) = (Engine::new(), Engine::new(), Folder::new(&[]));
    let dir = folder.join("cache");
    let flag = |key: &str| format!("type=local,{key}={}", dir.display());
    one.build(&context()).args(["--cache-to", &format!("{},mode=max", flag("dest"))]).tar();
    let layers = Cache::read(&dir).layers;
    assert!(layers.len() >= 4 && layers.iter().all(|layer| has_blob(&one, layer)), "{layers:?}");

    let context = context();
    let build = || other.build(&context).args(["--cache-from", &flag("src")]);
    build()
        .args(["-otype=cacheonly"])
        .steps()
        .assert(&STEPS.iter().map(|s| (*s, Cached)).collect::<Vec<_>>());
    assert_eq!(layers.iter().filter(|layer| has_blob(&other, layer)).count(), 0, "nothing was read");
    build().tar();
    assert!(layers.iter().any(|layer| has_blob(&other, layer)));
}

#[test]
fn a_cache_that_is_not_there_fails_no_build() {
    let (engine, registry) = (Engine::new(), Registry::open());
    let context = Folder::with_dockerfile("FROM scratch\nCOPY f /", &[("f", "f")]);
    let build = |args: &[&str]| engine.build(&context).args(["-otype=cacheonly"]).args(args);
    build(&["--cache-from", &registry.name("none:1")]).ok();
    build(&["--cache-from", "type=local,src=none"]).ok();
    build(&["--cache-to", "type=registry,ref=127.0.0.1:1/x,ignore-error=true"]).ok();
    build(&["--cache-to", "type=registry,ref=127.0.0.1:1/x"]).fails(1, &["127.0.0.1:1"]);
    build(&["--cache-to", "type=gha"]).fails(1, &["cache export of type `gha` is not supported yet"]);
    build(&["--cache-to", "type=local"]).fails(1, &["local cache exporter requires dest"]);
}

/// What a folder says of a cache.
struct Cache {
    /// Of each record: its digest, and the places and selectors of its inputs.
    records: Vec<String>,
    /// Digests of the layers' blobs.
    layers: Vec<String>,
}

impl Cache {
    fn read(dir: &Path) -> Self {
        let read = |path: PathBuf| -> Value {
            serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
        };
        let hex =
            |digest: &Value| digest.as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned();
        let blob = |digest: &Value| read(dir.join("blobs/sha256").join(hex(digest)));
        let manifest = blob(&read(dir.join("index.json"))["manifests"][0]["digest"]);
        let config = blob(&manifest["config"]["digest"]);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let input = |input: &Value| match hex(&input["selector"]) {
            selector if selector.is_empty() => input["link"].to_string(),
            selector => format!("{}/{selector}", input["link"]),
        };
        let record = |record: &Value| {
            let inputs = list(&record["inputs"]);
            let inputs = inputs.iter().map(|i| list(i).iter().map(input).collect::<Vec<_>>().join("|"));
            format!("{} {}", hex(&record["digest"]), inputs.collect::<Vec<_>>().join(" "))
                .trim_end()
                .to_owned()
        };
        Cache {
            records: list(&config["records"]).iter().map(record).collect(),
            layers: list(&manifest["layers"]).iter().map(|layer| hex(&layer["digest"])).collect(),
        }
    }
}

/// The records of a cache that BuildKit exports for `SCRATCH`.
const RECORDS: &[&str] = &[
    "048355190bfaf3140e943cd593d97c54ac7242d7fc47b1571ad2a1cc340135e8",
    "1238893cfe1bceff8eeda329783cf3857166421f36c7051bc9669b57a2c2f752 3 \
     4/84ea6f6e20fe9a5cc90d0c9f5ba128ad91544bda6071caf9c79ce48018b6ea13|5",
    "436a13d9b316f901e373b3bf9b84ad716f746d657c11d4e0c6c290d82c772fc0 1",
    "7f1c9b3a55916faa4ff6528a0107efef1ae3135ead4278b1383c95ec54333d2c \
     0|4/0d14f8a40a70018bd33c99caa72c75ae28ff484a2dce2ab89fdb9b8112dbce16",
    "c6927c22f6de5aed655a7eb45c7c4d04351fc3cadc61cdcc775539c8b1e0ebf1 6 0",
    "e3e62b7c5a3c8e12353bfc22fe055354ad35187ee63c198dcc1fd8e284467858",
    "f67fb237304ab278df73764040fede73b9743ca8a8d146240b311db4ebf93162 5",
];
const SCRATCH: &str = "FROM scratch AS first\nCOPY f /f\nCOPY g /dir/\nFROM scratch\nCOPY --from=first /dir/g /\n\
                       COPY --from=first --chown=7:8 /f /own\nWORKDIR /here\n";

#[test]
fn records_are_those_of_buildkit() {
    let (engine, folder) = (Engine::new(), Folder::new(&[]));
    let context = Folder::with_dockerfile(SCRATCH, &[("f", "one"), ("g", "two")]);
    let to = format!("type=local,dest={},mode=max", folder.join("cache").display());
    engine.build(&context).args(["-otype=cacheonly", "--cache-to", &to]).ok();
    assert_eq!(Cache::read(&folder.join("cache")).records, RECORDS);
}

/// Builds with BuildKit and a cache; gives what was built.
fn build_there(buildkit: &BuildKit, buildctl: &Path, context: &Folder, cache: String) -> Vec<String> {
    let mut buildctl = Command::new(buildctl);
    buildctl.arg("--addr").arg(buildkit.address());
    buildctl.args(["build", "--progress=plain", "--frontend=dockerfile.v0", "--output=type=tar"]);
    for name in ["context", "dockerfile"] {
        buildctl.arg("--local").arg(format!("{name}={}", context.path().display()));
    }
    end(&run_tool(buildctl.arg(cache), b""))
}

/// Where there is a real one, its caches are hits here, and the reverse.
#[test]
fn caches_are_exchanged_with_buildkit() {
    let Some((buildkit, buildctl)) = BuildKit::start("").zip(BuildKit::find("buildctl")) else { return };
    let build_there = |context: &Folder, cache| build_there(&buildkit, &buildctl, context, cache);
    let registry = Registry::open();
    let base = registry.name("busybox:1");
    let layout = busybox();
    let from = format!("oci:{}:latest", layout.path().display());
    let mut skopeo = tool("skopeo");
    run_tool(skopeo.args(["copy", "-q", "--dest-tls-verify=false", &from, &format!("docker://{base}")]), b"");
    let context = Folder::with_dockerfile(&DOCKERFILE.replace("busybox", &base), &[("f", "f")]);
    let kiln = |args: &[&str]| end(&Engine::new().build(&context).args(args).tar());
    for attrs in ["mode=max", "mode=min", "mode=max,image-manifest=false"] {
        let folder = Folder::new(&[]);
        let dir = |name: &str| folder.join(name).display().to_string();
        let theirs = build_there(&context, format!("--export-cache=type=local,dest={},{attrs}", dir("b")));
        let ours = kiln(&["--cache-from", &format!("type=local,src={}", dir("b"))]);
        assert!(!ours.is_empty() && ours == theirs, "{attrs}: BuildKit's cache here: {theirs:?} {ours:?}");

        let context = Folder::with_dockerfile(
            &DOCKERFILE
                .replace("busybox", &base)
                .replace("100", if attrs == "mode=max" { "101" } else { "102" }),
            &[("f", attrs)],
        );
        let to = ["--cache-to", &format!("type=local,dest={},{attrs}", dir("k"))];
        let ours = end(&Engine::new().build(&context).args(to).tar());
        let theirs = build_there(&context, format!("--import-cache=type=local,src={}", dir("k")));
        assert!(!ours.is_empty() && ours == theirs, "{attrs}: our cache in BuildKit: {ours:?} {theirs:?}");
    }
}
