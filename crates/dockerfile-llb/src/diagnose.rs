//! What can be said of a Dockerfile without asking anybody: every fault and every finding.
//!
//! It is the conversion of a build, with an engine that knows no files and for which each image exists and is empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dockerfile::Dockerfile;
use dockerfile::lint::{Finding, Linter, Settings, own, rules};
use errdefs::{Error, Fault, Result, ResultExt as _, SourceInfo};
use frontend::{
    Bridge, BuildResult, Container, ContainerRequest, FileInfo, FileRange, Ref, ResolveOptions,
    ResolvedImage, ResolvedSource, SolveRequest, SourceOptions, Warning,
};
use futures_util::FutureExt as _;
use llb::SourceOp;
use oci::{Digest, Platform};

use crate::config::Config;
use crate::convert::{self, Faults};
use crate::frontend::Client;
use crate::image::SCRATCH;

/// All that is wrong with a file, and all that is to be said of it, each from top to bottom.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    pub faults: Vec<Fault>,
    /// Of BuildKit's rules and of Kiln's own.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Looks at a file with the text of its ignore file.
    pub fn of(text: &[u8], ignore: &[u8]) -> Diagnosis {
        diagnose(text, &Config::default(), ignore)
    }
}

fn diagnose(text: &[u8], config: &Config, ignore: &[u8]) -> Diagnosis {
    let mut faults = Vec::new();
    let settings = settings(text).unwrap_or_else(|e| {
        faults.push(Fault { message: e.message().to_owned(), ranges: Vec::new() });
        Settings::default()
    });
    let mut lint = Linter::new(settings);
    let parsed = dockerfile::parse(text, &mut lint);
    faults.extend(
        parsed.errors.iter().map(|e| Fault { message: e.message().into(), ranges: e.ranges().into() }),
    );
    if !parsed.dockerfile.stages.is_empty() {
        faults.extend(convert(text, &parsed.dockerfile, config, ignore, &mut lint));
    }
    own::check(&parsed.dockerfile, &mut lint);
    faults.sort_by_key(|fault| fault.ranges.first().map(|r| r.start));
    faults.dedup();
    let mut findings = lint.into_findings();
    findings.retain(|finding| !may_come_from_an_image(finding, &parsed.dockerfile));
    findings.sort_by_key(|finding| finding.ranges.first().map(|r| r.start));
    Diagnosis { faults, findings }
}

/// The faults of `text` beside the one that `error` tells.
pub(crate) fn others(error: &Error, text: &[u8], config: &Config) -> Vec<Fault> {
    let mut faults = diagnose(text, config, b"").faults;
    faults.retain(|fault| fault.message != error.message());
    faults
}

fn settings(text: &[u8]) -> Result<Settings> {
    let own = dockerfile::find_directive("check", text);
    Settings::parse(own.as_ref().map_or("", |d| &d.value)).context("failed to parse check options")
}

/// Faults that show in the conversion.
fn convert(
    text: &[u8],
    dockerfile: &Dockerfile,
    config: &Config,
    ignore: &[u8],
    lint: &mut Linter,
) -> Vec<Fault> {
    let bridge = Arc::new(Nobody { ignore: Bytes::copy_from_slice(ignore) });
    let client = Client::without_context(bridge, config.clone(), BTreeMap::new());
    let info = SourceInfo { data: text.to_vec(), ..SourceInfo::default() };
    let request = convert::Request {
        client: &client,
        dockerfile,
        info: &info,
        source: Arc::default(),
        platform: None,
        all_stages: true,
    };
    let mut faults = Faults::Collected(Vec::new());
    // What ends it is no fault of the file: nobody is there to ask. Findings never fail it.
    let _ = convert::check(request, lint, &mut faults).now_or_never();
    let Faults::Collected(faults) = faults else { return Vec::new() };
    faults.iter().map(fault).collect()
}

fn fault(error: &Error) -> Fault {
    let ranges = error.source_location().map(|location| location.ranges.clone()).unwrap_or_default();
    Fault { message: error.message().to_owned(), ranges }
}

/// A variable that an image may set, unless the name is nearly that of one which is known.
fn may_come_from_an_image(finding: &Finding, file: &Dockerfile) -> bool {
    if finding.rule != rules::UNDEFINED_VAR || dockerfile::suggest::suggested(&finding.message).is_some() {
        return false;
    }
    let line = finding.ranges.first().map_or(0, |r| r.start.line);
    let at = file.stages.partition_point(|stage| stage.place.first_line() <= line);
    let mut base = at.checked_sub(1).map(|at| &file.stages[at]);
    while let Some(stage) = base {
        if stage.base == SCRATCH {
            return false;
        }
        let line = stage.place.first_line();
        let earlier = file.stages.iter().filter(|s| s.place.first_line() < line);
        base = earlier.rev().find(|s| !s.name.is_empty() && s.name == stage.base.to_lowercase());
    }
    true
}

/// An engine that has nothing but an ignore file.
struct Nobody {
    ignore: Bytes,
}

fn nobody() -> Error {
    Error::unimplemented("nothing is known here")
}

#[async_trait]
impl Bridge for Nobody {
    fn session_id(&self) -> &str {
        ""
    }

    fn platforms(&self) -> Vec<Platform> {
        vec![Platform::host()]
    }

    /// An image with one layer and without settings.
    async fn resolve_image_config(&self, reference: &str, options: ResolveOptions) -> Result<ResolvedImage> {
        let platform = options.platform.unwrap_or_else(Platform::host);
        let config = serde_json::json!({
            "os": platform.os,
            "architecture": platform.architecture,
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"")]},
        });
        let config = Bytes::from(config.to_string());
        Ok(ResolvedImage {
            reference: reference.to_owned(),
            digest: Digest::of(&config),
            config,
            chain: None,
        })
    }

    async fn resolve_source(&self, _: &SourceOp, _: SourceOptions) -> Result<ResolvedSource> {
        Err(nobody())
    }

    async fn solve(&self, _: SolveRequest) -> Result<BuildResult> {
        Ok(BuildResult::default())
    }

    async fn evaluate(&self, _: &Ref) -> Result<()> {
        Err(nobody())
    }

    async fn read_file(&self, _: &Ref, path: &str, _: Option<FileRange>) -> Result<Bytes> {
        match path {
            ".dockerignore" => Ok(self.ignore.clone()),
            _ => Err(Error::not_found(path.to_owned())),
        }
    }

    async fn read_dir(&self, _: &Ref, path: &str, _: &str) -> Result<Vec<FileInfo>> {
        Err(Error::not_found(path.to_owned()))
    }

    async fn stat_file(&self, _: &Ref, path: &str) -> Result<FileInfo> {
        Err(Error::not_found(path.to_owned()))
    }

    async fn warn(&self, _: &Digest, _: Warning) -> Result<()> {
        Ok(())
    }

    async fn new_container(&self, _: ContainerRequest) -> Result<Arc<dyn Container>> {
        Err(nobody())
    }
}
