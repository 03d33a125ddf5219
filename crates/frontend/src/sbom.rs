//! Lists of what a file system holds, made by the engine itself or by an image that the client names (BuildKit,
//! docs/attestations/sbom-protocol.md).
//!
//! A scanner that is an image finds a file system mounted, and others that it was made with beside it. It leaves
//! statements in a folder, which is the bundle of the attestation.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use errdefs::{Error, Result};
use llb::{
    ExecOp, Meta, Mount, MountType, NONE, Node, Op, OpKind, OpMetadata, Output, SourceOp, TmpfsOpt, caps,
};
use oci::{ImageConfig, Platform, Reference};
use serde::{Deserialize, Serialize};

use crate::{
    Attestation, AttestationBody, AttestationKind, Bridge, BuildResult, LateBody, Ref, Refs, ResolveOptions,
    SolveRequest,
};

/// The predicate type of what scanners make.
pub const SPDX: &str = "https://spdx.dev/Document";

/// The name of the list of the result itself.
pub const CORE: &str = "sbom";
const SOURCES: &str = "/run/src";
const DESTINATION: &str = "/run/out/";
const DEFAULT: &str = "docker/buildkit-syft-scanner:stable-1";

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanOptions {
    /// The engine's own scanner, which needs no image.
    BuiltIn,
    /// An image, and what goes to it as `BUILDKIT_SCAN_<name>`.
    Image { generator: Reference, params: BTreeMap<String, String> },
}

impl ScanOptions {
    /// From the options of the attestation. Parameters are for an image: where there are some and no name, they are for
    /// the one that BuildKit would take.
    pub fn new(mut options: BTreeMap<String, String>) -> Result<Self> {
        // Clients repeat what kind of attestation it is.
        if options.keys().all(|key| key == "type") {
            return Ok(ScanOptions::BuiltIn);
        }
        let generator = options.remove("generator").unwrap_or_else(|| DEFAULT.into());
        if generator.is_empty() {
            return Err(Error::user("sbom generator cannot be empty"));
        }
        let parsed = generator.parse::<Reference>();
        let parsed =
            parsed.map_err(|e| Error::user(format!("failed to parse sbom generator {generator}: {e}")))?;
        Ok(ScanOptions::Image { generator: parsed.with_default_tag(), params: options })
    }
}

/// Who scans.
#[derive(Debug, Clone)]
pub enum Scanner {
    BuiltIn,
    Image(Box<ImageScanner>),
}

/// An image that scans.
#[derive(Debug, Clone)]
pub struct ImageScanner {
    reference: String,
    platform: Platform,
    config: ImageConfig,
    params: BTreeMap<String, String>,
}

/// What is to be scanned; nothing is scratch.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    pub core: Option<Output>,
    /// What the result was made with, by name.
    pub extras: BTreeMap<String, Option<Output>>,
    pub ignore_cache: bool,
    /// When a list was made that says so, in seconds since 1970; `None` is now.
    pub epoch: Option<i64>,
}

/// What the engine is to list of a platform beside the result: in the metadata of a result, which also comes back from
/// clients that are between the frontend and the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToList {
    /// Ids of refs, by the names of lists; empty for scratch.
    pub extras: BTreeMap<String, String>,
    /// As [`Scan::epoch`].
    pub epoch: Option<i64>,
}

/// The key of [`ToList`]; a platform follows.
const TO_LIST: &str = "kiln.sbom/";

impl ToList {
    /// Takes it out of a result.
    pub fn take(result: &mut BuildResult, platform: &str) -> Option<Self> {
        let json = result.metadata.remove(&format!("{TO_LIST}{platform}"))?;
        serde_json::from_slice(&json).ok()
    }
}

impl Scanner {
    /// # Errors
    /// When the image is not there, or is none that could scan.
    pub async fn find(
        bridge: &dyn Bridge,
        options: &ScanOptions,
        platform: Platform,
        resolve_mode: &str,
    ) -> Result<Self> {
        match options {
            ScanOptions::BuiltIn => Ok(Scanner::BuiltIn),
            ScanOptions::Image { generator, params } => {
                let image = ImageScanner::find(bridge, generator, params, platform, resolve_mode).await?;
                Ok(Scanner::Image(Box::new(image)))
            }
        }
    }

    /// Has a platform of a result listed: by the engine when the result is there, or by an image when somebody exports it.
    pub async fn scan(
        &self,
        bridge: &dyn Bridge,
        platform: &str,
        scan: Scan,
        result: &mut BuildResult,
    ) -> Result<()> {
        match self {
            Scanner::Image(image) => {
                let made = solve(bridge, Some(image.scan(platform, scan))).await?;
                result.attestations.entry(platform.to_owned()).or_default().push(scanned(made));
            }
            Scanner::BuiltIn => {
                let mut wanted = ToList { epoch: scan.epoch, ..ToList::default() };
                for (name, tree) in scan.extras {
                    wanted.extras.insert(format!("{CORE}-{name}"), solve(bridge, tree).await?.id);
                }
                let json = oci::json::to_vec(&wanted);
                result.metadata.insert(format!("{TO_LIST}{platform}"), json.into());
            }
        }
        Ok(())
    }
}

async fn solve(bridge: &dyn Bridge, output: Option<Output>) -> Result<Ref> {
    let Some(output) = output else { return Ok(Ref::default()) };
    let request = SolveRequest { definition: Some(output.marshal()), ..SolveRequest::default() };
    match bridge.solve(request).await?.refs {
        Refs::Single(reference) => Ok(reference),
        Refs::None => Ok(Ref::default()),
        Refs::Map(_) => Err(Error::internal("a graph gave a map of results")),
    }
}

impl ImageScanner {
    async fn find(
        bridge: &dyn Bridge,
        generator: &Reference,
        params: &BTreeMap<String, String>,
        platform: Platform,
        resolve_mode: &str,
    ) -> Result<Self> {
        let resolve = ResolveOptions {
            platform: Some(platform.clone()),
            resolve_mode: resolve_mode.to_owned(),
            ..ResolveOptions::default()
        };
        let found = bridge.resolve_image_config(&generator.to_string(), resolve).await?;
        let reference = found.reference;
        let config: ImageConfig = serde_json::from_slice(&found.config)
            .map_err(|e| Error::user(format!("invalid config of scanner {reference}: {e}")))?;
        let scanner = ImageScanner { reference, platform, config, params: params.clone() };
        match scanner.args().is_empty() {
            true => Err(Error::user(format!("scanner {} does not have cmd", scanner.reference))),
            false => Ok(scanner),
        }
    }

    fn args(&self) -> Vec<String> {
        let run = &self.config.config;
        [&run.entrypoint, &run.cmd].into_iter().flatten().flatten().cloned().collect()
    }

    /// The graph of a scan, shown under `name`: its output is the bundle.
    fn scan(&self, name: &str, scan: Scan) -> Output {
        let mut inputs = Inputs::default();
        let mut mounts = vec![
            Mount { dest: "/".into(), input: inputs.add(Some(self.image())), output: 0, ..Mount::default() },
            Mount { dest: DESTINATION.into(), input: NONE, output: 1, ..Mount::default() },
        ];
        let readonly =
            |dest: String, input| Mount { dest, input, output: NONE, readonly: true, ..Mount::default() };
        mounts.push(readonly(core(), inputs.add(scan.core)));
        let env = self.env(!scan.extras.is_empty());
        for (name, extra) in scan.extras {
            mounts.push(readonly(format!("{SOURCES}/extras/{CORE}-{name}"), inputs.add(extra)));
        }
        mounts.push(Mount {
            dest: "/tmp".into(),
            input: NONE,
            output: NONE,
            mount_type: MountType::Tmpfs,
            tmpfs: Some(TmpfsOpt::default()),
            ..Mount::default()
        });
        let cwd = match self.config.config.working_dir.as_str() {
            "" => "/",
            dir => dir,
        };
        let meta = Meta {
            args: self.args(),
            env,
            cwd: cwd.to_owned(),
            remove_mount_stubs_recursive: true,
            ..Meta::default()
        };
        let op = OpKind::Exec(Box::new(ExecOp { meta, mounts, ..ExecOp::default() }));
        let mut metadata = OpMetadata::named(format!("[{name}] generating sbom using {}", self.reference));
        metadata.ignore_cache = scan.ignore_cache;
        for cap in [
            caps::EXEC_META_BASE,
            caps::EXEC_META_SETS_DEFAULT_PATH,
            caps::EXEC_MOUNT_BIND,
            caps::EXEC_MOUNT_TMPFS,
        ] {
            metadata.need(cap);
        }
        Arc::new(Node::new(self.op(op), inputs.list, metadata)).output(1)
    }

    fn op(&self, kind: OpKind) -> Op {
        Op { kind, platform: Some(self.platform.clone()), constraints: Vec::new() }
    }

    fn image(&self) -> Output {
        let identifier = format!("docker-image://{}", self.reference);
        let op = OpKind::Source(SourceOp { identifier, ..SourceOp::default() });
        let mut metadata = OpMetadata::default();
        metadata.need(caps::SOURCE_IMAGE);
        Arc::new(Node::new(self.op(op), Vec::new(), metadata)).output(0)
    }

    /// That of the image, and where what lies. The last that is said of a name holds.
    fn env(&self, has_extras: bool) -> Vec<String> {
        let given = self.config.config.env.iter().map(|line| match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (line.clone(), String::new()),
        });
        let mut env: Vec<(String, String)> = Vec::new();
        let own = [("DESTINATION", DESTINATION.to_owned()), ("SOURCE", core())];
        let extras = has_extras.then(|| ("SOURCE_EXTRAS", format!("{SOURCES}/extras")));
        let params = self.params.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let scan = own.into_iter().chain(extras).chain(params);
        for (name, value) in given.chain(scan.map(|(name, value)| (format!("BUILDKIT_SCAN_{name}"), value))) {
            match env.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => env.push((name, value)),
            }
        }
        env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

fn core() -> String {
    format!("{SOURCES}/core/{CORE}")
}

/// Equal inputs share an index.
#[derive(Default)]
struct Inputs {
    list: Vec<Output>,
}

impl Inputs {
    fn add(&mut self, input: Option<Output>) -> i64 {
        let Some(input) = input else { return NONE };
        let same =
            |known: &Output| known.index() == input.index() && known.node().digest() == input.node().digest();
        let at = self.list.iter().position(same).unwrap_or_else(|| {
            self.list.push(input);
            self.list.len() - 1
        });
        at as i64
    }
}

/// What an image says.
fn scanned(reference: Ref) -> Attestation {
    Attestation {
        kind: AttestationKind::Bundle { predicate_type: SPDX.into() },
        metadata: metadata().collect(),
        body: AttestationBody::File { reference, path: String::new() },
    }
}

/// What the engine says: a list that `body` makes.
pub fn listed(name: &str, body: Arc<dyn LateBody>) -> Attestation {
    let filename = ("filename".to_owned(), Bytes::from(format!("{name}.spdx.json")));
    Attestation {
        kind: AttestationKind::InToto { predicate_type: SPDX.into(), subjects: Vec::new() },
        metadata: metadata().chain([filename]).collect(),
        body: AttestationBody::Late(body),
    }
}

/// By which exporters know a list, and that of the result itself among others.
fn metadata() -> impl Iterator<Item = (String, Bytes)> {
    let metadata = [("reason", "sbom"), ("sbom-core", CORE)];
    metadata.into_iter().map(|(key, value)| (key.to_owned(), Bytes::from_static(value.as_bytes())))
}

impl BuildResult {
    /// Whether the frontend has said what it holds.
    pub fn has_sbom(&self) -> bool {
        self.attestations.values().flatten().any(|attestation| attestation.kind.predicate_type() == SPDX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<ScanOptions> {
        let fields = text.split_whitespace().filter_map(|word| word.split_once('='));
        ScanOptions::new(fields.map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    #[test]
    fn scanners_are_built_in_or_images() {
        for (given, expected) in [
            ("", Ok("built in")),
            ("type=sbom", Ok("built in")),
            ("ARG=1", Ok("docker.io/docker/buildkit-syft-scanner:stable-1")),
            ("generator=a/b ARG=1", Ok("docker.io/a/b:latest")),
            ("generator=", Err("sbom generator cannot be empty")),
            (
                "generator=A",
                Err(
                    "failed to parse sbom generator A: invalid reference format: repository name (library/A) must be lowercase",
                ),
            ),
        ] {
            let read = options(given).map(|options| match options {
                ScanOptions::BuiltIn => "built in".to_owned(),
                ScanOptions::Image { generator, .. } => generator.to_string(),
            });
            let read = read.map_err(|e| e.to_string());
            assert_eq!(read, expected.map(str::to_owned).map_err(str::to_owned), "{given}");
        }
    }

    fn scanner(config: &str, params: [(&str, &str); 2]) -> ImageScanner {
        ImageScanner {
            reference: "docker.io/a/b:latest".into(),
            platform: Platform::new("linux", "amd64", ""),
            config: serde_json::from_str(config).expect("a config"),
            params: params.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    #[test]
    fn a_scan_is_one_step() {
        let config =
            r#"{"config":{"Env":["A=1","BUILDKIT_SCAN_X=old"],"Entrypoint":["/scan"],"Cmd":["all"]}}"#;
        let scanner = scanner(config, [("X", "2"), ("Y", "a=b")]);
        let source = |name: &str| {
            let source = SourceOp { identifier: format!("local://{name}"), ..SourceOp::default() };
            let op = Op { kind: OpKind::Source(source), platform: None, constraints: Vec::new() };
            Some(Arc::new(Node::new(op, Vec::new(), OpMetadata::default())).output(0))
        };
        let extras = [("context".to_owned(), source("core")), ("stage".to_owned(), None)].into();
        let scan = scanner
            .scan("linux/amd64", Scan { core: source("core"), extras, ignore_cache: true, epoch: None });
        assert_eq!(scan.index(), 1);
        let (op, metadata) = (scan.node().op(), scan.node().metadata());
        assert!(metadata.ignore_cache);
        assert_eq!(
            metadata.description["llb.customname"],
            "[linux/amd64] generating sbom using docker.io/a/b:latest"
        );
        let OpKind::Exec(exec) = &op.kind else { panic!("{op:?}") };
        assert_eq!((exec.meta.args.join(" "), exec.meta.cwd.as_str()), ("/scan all".to_owned(), "/"));
        let mounts: Vec<_> =
            exec.mounts.iter().map(|m| format!("{} {} {}", m.dest, m.input, m.output)).collect();
        assert_eq!(
            mounts,
            [
                "/ 0 0",
                "/run/out/ -1 1",
                "/run/src/core/sbom 1 -1",
                "/run/src/extras/sbom-context 1 -1",
                "/run/src/extras/sbom-stage -1 -1",
                "/tmp -1 -1",
            ]
        );
        let env = "A=1 BUILDKIT_SCAN_X=2 BUILDKIT_SCAN_DESTINATION=/run/out/ BUILDKIT_SCAN_SOURCE=/run/src/core/sbom \
            BUILDKIT_SCAN_SOURCE_EXTRAS=/run/src/extras BUILDKIT_SCAN_Y=a=b";
        assert_eq!(exec.meta.env.join(" "), env);
    }

    #[test]
    fn what_scans_say_is_known() {
        let mut result = BuildResult::default();
        assert!(!result.has_sbom());
        result.attestations.insert(String::new(), vec![scanned(Ref::default())]);
        assert!(result.has_sbom());
    }

    #[test]
    fn what_the_engine_is_to_list_travels_with_the_result() {
        let mut result = BuildResult::default();
        assert_eq!(ToList::take(&mut result, "linux/amd64"), None);
        let json = br#"{"extras":{"sbom-context":"id-1"},"epoch":5}"#;
        result.metadata.insert("kiln.sbom/linux/amd64".into(), Bytes::from_static(json));
        let extras = [("sbom-context".to_owned(), "id-1".to_owned())].into();
        assert_eq!(ToList::take(&mut result, "linux/amd64"), Some(ToList { extras, epoch: Some(5) }));
        assert!(result.metadata.is_empty());
    }
}
