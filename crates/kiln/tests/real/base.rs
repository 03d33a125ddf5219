//! Images that others are built on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{Engine, Folder, run_tool, tool};

/// What builds the others.
const TOOLS: &str = r#"FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates cargo-web gcc golang-go libc6-dev make npm python3-pip python3-venv rpm zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
"#;

/// Flags that make the names `debian:bookworm-slim` and `tools` known to a build.
pub fn contexts() -> &'static [String] {
    static CONTEXTS: OnceLock<Vec<String>> = OnceLock::new();
    CONTEXTS.get_or_init(|| {
        let (base, tools) = (target().join("debian-base"), target().join("debian-tools"));
        let base_flag = format!("debian:bookworm-slim=oci-layout://{}", base.display());
        once(&base, |place| {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/debian-base");
            let engine = Engine::new();
            let mut command = Command::new(script);
            command.arg(env!("CARGO_BIN_EXE_kiln")).arg(place).env("KILN_ROOT", engine.root());
            run_tool(&mut command, b"");
        });
        once(&tools, |place| {
            let engine = Engine::new();
            let folder = Folder::with_dockerfile(TOOLS, &[]);
            let archive = folder.join("tools.tar");
            let output = format!("type=oci,compression=zstd,name=tools:latest,dest={}", archive.display());
            engine
                .build(&folder)
                .args(["--build-context", &base_flag, "--provenance=false", "-o", &output])
                .ok();
            fs::create_dir_all(place).expect("made");
            run_tool(tool("tar").arg("-xf").arg(&archive).arg("-C").arg(place), b"");
        });
        let tools_flag = format!("tools=oci-layout://{}", tools.display());
        [base_flag, tools_flag].into_iter().flat_map(|flag| ["--build-context".to_owned(), flag]).collect()
    })
}

/// Makes a layout that is not there. What is half made has another name.
fn once(place: &Path, make: impl FnOnce(&Path)) {
    // Tests are processes of their own.
    let lock = fs::File::create(place.with_extension("lock")).expect("a file");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    if !place.join("index.json").exists() {
        let half = place.with_extension("half");
        let _ = fs::remove_dir_all(&half);
        make(&half);
        fs::rename(&half, place).expect("renamed");
    }
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_kiln"));
    program.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists()).expect("a target folder").to_owned()
}
