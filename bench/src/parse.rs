//! How long a long Dockerfile takes from its text to its graph, in this process: no engine and no disk are in it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use dockerfile::lint::{Linter, Settings, own};
use dockerfile_llb::{Diagnosis, DockerfileFrontend};
use errdefs::Error;
use frontend::{
    Bridge, BuildResult, Container, ContainerRequest, FileInfo, FileRange, Frontend as _, FrontendRequest,
    Ref, Refs, ResolveOptions, ResolvedImage, ResolvedSource, SolveRequest, SourceOptions, Warning,
};
use oci::{Digest, Platform};

use crate::table;

const LINES: usize = 5_000;
const STAGES: usize = 51;

/// Prints medians.
pub(crate) fn parse(runs: usize) -> Result<()> {
    let text = dockerfile(STAGES);
    let lines = text.lines().count();
    ensure!(lines >= LINES, "the file has {lines} lines");
    let bytes = text.as_bytes();
    let parsed = dockerfile::parse(bytes, &mut Linter::default());
    ensure!(parsed.errors.is_empty(), "the file has faults: {:?}", parsed.errors);
    let formatted = dockerfile::format::format(bytes, Default::default());
    ensure!(formatted.is_ok(), "the file cannot be formatted");
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let ops = runtime.block_on(lower(&text))?;
    ensure!(ops > lines / 10, "the graph has {ops} ops");

    println!("| Dockerfile of {lines} lines, {STAGES} stages, {ops} ops | median |\n| --- | --- |");
    let row = |title: &str, work: &mut dyn FnMut()| {
        println!("| {title} | {} |", table::seconds(median(runs, work)))
    };
    row("parse", &mut || drop(dockerfile::parse(bytes, &mut Linter::new(Settings::silent()))));
    row("parse and lint", &mut || {
        let mut lint = Linter::default();
        let parsed = dockerfile::parse(bytes, &mut lint);
        own::check(&parsed.dockerfile, &mut lint);
    });
    row("parse, lint and lower to LLB", &mut || drop(runtime.block_on(lower(&text))));
    row("all faults and findings, as editors ask for them", &mut || drop(Diagnosis::of(bytes, b"")));
    row("format", &mut || drop(dockerfile::format::format(bytes, Default::default())));
    println!();
    Ok(())
}

/// In seconds.
fn median(runs: usize, work: &mut dyn FnMut()) -> f64 {
    let mut times: Vec<f64> = Vec::with_capacity(runs);
    for _ in 0..runs.max(1) {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The number of ops in the graph of the whole file.
async fn lower(text: &str) -> Result<usize> {
    let bridge = Arc::new(Nothing { text: Bytes::copy_from_slice(text.as_bytes()) });
    let result = DockerfileFrontend.solve(bridge, FrontendRequest::default()).await?;
    match result.refs {
        Refs::Single(reference) => Ok(reference.definition.ops.len()),
        _ => Ok(0),
    }
}

/// A file of stages of a hundred lines each: what people write, and more of it. The last stage needs all others.
fn dockerfile(stages: usize) -> String {
    let mut text =
        String::from("# syntax=docker/dockerfile:1\nARG RELEASE=12\nARG REGISTRY=docker.io/library\n");
    for stage in 0..stages {
        stage_of(stage, &mut text);
    }
    text.push_str("\nFROM scratch AS result\n");
    for stage in 0..stages {
        let _ = writeln!(text, "COPY --from=stage-{stage} /out/{stage} /out/{stage}");
    }
    text
}

fn stage_of(stage: usize, text: &mut String) {
    let base = match stage % 5 {
        0 => "${REGISTRY}/debian:${RELEASE}-slim".to_owned(),
        _ => format!("stage-{}", stage - 1),
    };
    let _ = write!(
        text,
        "\n# Builds part {stage}.\nFROM {base} AS stage-{stage}\nARG RELEASE\nARG VERSION=1.{stage}\n\
         ENV PREFIX=/opt/${{RELEASE:-none}} \\\n    PART={stage} \\\n    PATH=\"$PREFIX/bin:$PATH\"\n\
         LABEL org.example.part=\"$PART\" org.example.version=${{VERSION}}\nWORKDIR $PREFIX/src\n"
    );
    for step in 0..8 {
        let _ = write!(
            text,
            "COPY --link parts/{stage}/{step}/*.c ./{step}/\n\
             RUN --mount=type=cache,target=/root/.cache,id=part-{stage} \\\n    --network=none \\\n    set -eux; \\\n\
             # the compiler first\n    cc -O2 -DVERSION=\"$VERSION\" \\\n        -o $PREFIX/bin/part-{step} \\\n\
                     {step}/*.c; \\\n    strip $PREFIX/bin/part-{step}\n"
        );
    }
    let _ = write!(text, "RUN <<EOF\nset -e\nmkdir -p /out\n");
    for step in 0..4 {
        let _ = writeln!(text, "cp \"$PREFIX/bin/part-{step}\" /out/");
    }
    let _ = write!(
        text,
        "EOF\nCOPY <<-conf /etc/part.conf\n\tname = $PART\n\tversion = ${{VERSION%.*}}\n\tconf\n\n"
    );
    let _ = write!(text, "EXPOSE 80{stage:02}/tcp\nUSER nobody\nCMD [\"/out/part\", \"--serve\"]\n");
}

/// An engine that has one file, and for which every image exists and is empty.
struct Nothing {
    text: Bytes,
}

#[async_trait]
impl Bridge for Nothing {
    fn session_id(&self) -> &str {
        ""
    }

    fn platforms(&self) -> Vec<Platform> {
        vec![Platform::host()]
    }

    async fn resolve_image_config(&self, name: &str, _: ResolveOptions) -> errdefs::Result<ResolvedImage> {
        let config = Bytes::from_static(br#"{"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#);
        Ok(ResolvedImage { reference: name.to_owned(), digest: Digest::of(&config), config, chain: None })
    }

    async fn resolve_source(&self, _: &llb::SourceOp, _: SourceOptions) -> errdefs::Result<ResolvedSource> {
        Err(Error::unimplemented("there are no sources"))
    }

    async fn solve(&self, request: SolveRequest) -> errdefs::Result<BuildResult> {
        let definition = request.definition.unwrap_or_default();
        let reference = Ref { id: "1".to_owned(), definition: definition.into() };
        Ok(BuildResult { refs: Refs::Single(reference), ..BuildResult::default() })
    }

    async fn evaluate(&self, _: &Ref) -> errdefs::Result<()> {
        Ok(())
    }

    async fn read_file(&self, _: &Ref, path: &str, _: Option<FileRange>) -> errdefs::Result<Bytes> {
        match path {
            "Dockerfile" => Ok(self.text.clone()),
            path => Err(Error::not_found(path.to_owned())),
        }
    }

    async fn read_dir(&self, _: &Ref, path: &str, _: &str) -> errdefs::Result<Vec<FileInfo>> {
        Err(Error::not_found(path.to_owned()))
    }

    async fn stat_file(&self, _: &Ref, path: &str) -> errdefs::Result<FileInfo> {
        Err(Error::not_found(path.to_owned()))
    }

    async fn warn(&self, _: &Digest, _: Warning) -> errdefs::Result<()> {
        Ok(())
    }

    async fn new_container(&self, _: ContainerRequest) -> errdefs::Result<Arc<dyn Container>> {
        Err(Error::unimplemented("nothing runs here"))
    }
}
