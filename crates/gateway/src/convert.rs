//! The bridge's messages.

mod attestation;

use std::collections::BTreeMap;
use std::sync::Arc;

use ::session::grpcerr;
pub use attestation::chain_to_wire;
use attestation::{attestations_from_wire, attestations_to_wire};
use bytes::Bytes;
use errdefs::{Error, Position, Range, Result, SourceInfo, SourceLocation};
use frontend::{
    BuildResult, CacheImport, ChecksumAlgorithm, ChecksumRequest, ContainerMount, ContainerRequest, FileInfo,
    FileRange, ProcessExit, ProcessRequest, Ref, Refs, ResolveOptions, SolveRequest, SourceMeta,
    SourceOptions, Warning, Worker,
};
use llb::{Definition, HostIp, Meta, Mount, NetMode, Policies, Policy, SecretEnv, SecurityMode, SourceOp};
use oci::Platform;
use proto::gateway::checksum_request::ChecksumAlgo;
use proto::gateway::{self as wire, result};
use proto::pb;
use proto::worker::WorkerRecord;

/// Bytes that a client may have counted behind a file.
const CHECKSUM_SUFFIX: usize = 4 << 10;

/// Graphs by name.
fn definitions(wire: BTreeMap<String, pb::Definition>) -> Result<BTreeMap<String, Definition>> {
    wire.into_iter().map(|(name, definition)| Ok((name, definition.try_into()?))).collect()
}

fn platform_from(platform: pb::Platform) -> Platform {
    Platform {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        os_version: platform.os_version,
        os_features: platform.os_features,
    }
}

pub fn platform(platform: &Platform) -> pb::Platform {
    pb::Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        os_version: platform.os_version.clone(),
        os_features: platform.os_features.clone(),
    }
}

/// Who runs the steps.
pub fn worker(worker: Worker) -> WorkerRecord {
    let platforms = worker.platforms.iter().map(platform).collect();
    WorkerRecord { id: worker.id, labels: worker.labels, platforms, ..WorkerRecord::default() }
}

pub fn solve_request(request: wire::SolveRequest) -> Result<SolveRequest> {
    let definition = request.definition.filter(|d| !d.def.is_empty());
    if definition.is_some() && !request.frontend.is_empty() {
        return Err(Error::user("cannot solve with both Definition and Frontend specified"));
    }
    Ok(SolveRequest {
        definition: definition.map(TryInto::try_into).transpose()?,
        frontend: request.frontend,
        opts: request.frontend_opt,
        inputs: definitions(request.frontend_inputs)?,
        cache_imports: cache_imports(request.cache_imports),
        policies: policies(request.source_policies)?,
        evaluate: request.evaluate,
    })
}

fn cache_imports(entries: Vec<wire::CacheOptionsEntry>) -> Vec<CacheImport> {
    entries.into_iter().map(|e| CacheImport { kind: e.r#type, attrs: e.attrs }).collect()
}

/// How much of a result the client reads.
#[derive(Debug, Clone, Copy)]
pub enum ResultForm {
    /// One ref, by itself.
    Bare,
    /// Ids of refs.
    Ids,
    /// Refs with their graphs.
    Full,
}

impl ResultForm {
    pub fn of(request: &wire::SolveRequest) -> Self {
        match (request.allow_result_return, request.allow_result_array_ref) {
            (false, _) => ResultForm::Bare,
            (true, false) => ResultForm::Ids,
            (true, true) => ResultForm::Full,
        }
    }
}

pub fn solve_response(result: BuildResult, form: ResultForm) -> Result<wire::SolveResponse> {
    let metadata = result.metadata.into_iter().map(|(key, value)| (key, value.to_vec())).collect();
    let refs = match (form, result.refs) {
        (ResultForm::Bare, Refs::None) => return Ok(wire::SolveResponse::default()),
        (ResultForm::Bare, Refs::Single(one)) => {
            return Ok(wire::SolveResponse { r#ref: one.id, result: None });
        }
        (ResultForm::Bare, Refs::Map(_)) => {
            return Err(Error::user("solve did not return default result"));
        }
        (_, Refs::None) => None,
        (ResultForm::Ids, Refs::Single(one)) => Some(result::Result::RefDeprecated(one.id)),
        (ResultForm::Ids, Refs::Map(map)) => {
            let refs = map.into_iter().map(|(platform, one)| (platform, one.id)).collect();
            Some(result::Result::RefsDeprecated(wire::RefMapDeprecated { refs }))
        }
        (ResultForm::Full, Refs::Single(one)) => Some(result::Result::Ref(ref_to_wire(one))),
        (ResultForm::Full, Refs::Map(map)) => {
            let refs = map.into_iter().map(|(platform, one)| (platform, ref_to_wire(one))).collect();
            Some(result::Result::Refs(wire::RefMap { refs }))
        }
    };
    let attestations = attestations_to_wire(result.attestations)?;
    let result = wire::Result { result: refs, metadata, attestations };
    Ok(wire::SolveResponse { r#ref: String::new(), result: Some(result) })
}

fn ref_to_wire(one: Ref) -> wire::Ref {
    wire::Ref { id: one.id, def: Some((*one.definition).clone().into()) }
}

/// A result that the client returns. Its refs are ids that the bridge gave out.
pub fn build_result(result: wire::Result) -> Result<BuildResult> {
    let bare = |id: String| Ref { id, ..Ref::default() };
    let refs = match result.result {
        None => Refs::None,
        Some(result::Result::RefDeprecated(id)) => Refs::Single(bare(id)),
        Some(result::Result::Ref(one)) => Refs::Single(ref_from(one)?),
        Some(result::Result::RefsDeprecated(ids)) => {
            Refs::Map(ids.refs.into_iter().map(|(key, id)| (key, bare(id))).collect())
        }
        Some(result::Result::Refs(refs)) => {
            let refs = refs.refs.into_iter().map(|(key, one)| Ok((key, ref_from(one)?)));
            Refs::Map(refs.collect::<Result<_>>()?)
        }
    };
    let attestations = attestations_from_wire(result.attestations)?;
    Ok(BuildResult { refs, metadata: bytes(result.metadata), attestations })
}

fn bytes(metadata: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Bytes> {
    metadata.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect()
}

fn ref_from(one: wire::Ref) -> Result<Ref> {
    let definition = one.def.map(TryInto::try_into).transpose()?.unwrap_or_default();
    Ok(Ref { id: one.id, definition: Arc::new(definition) })
}

pub fn file_range(range: Option<wire::FileRange>) -> Result<Option<FileRange>> {
    let convert = |range: wire::FileRange| {
        let number = |n: i64| u64::try_from(n).map_err(|_| Error::user("invalid file range"));
        Ok(FileRange { offset: number(range.offset)?, length: number(range.length)? })
    };
    range.map(convert).transpose()
}

pub fn stat(info: FileInfo) -> proto::fsutil::Stat {
    let stat = ::session::files::Stat {
        path: info.path.into_bytes(),
        mode: info.mode,
        uid: info.uid,
        gid: info.gid,
        size: info.size,
        mtime_ns: info.mtime_ns,
        linkname: info.linkname.into_bytes(),
        ..Default::default()
    };
    (&stat).into()
}

pub fn path(path: Vec<u8>) -> Result<String> {
    String::from_utf8(path)
        .map_err(|e| Error::user(format!("invalid path `{}`", e.as_bytes().escape_ascii())))
}

/// The reference and the options of an image that is to be resolved.
pub fn resolve_image(request: wire::ResolveImageConfigRequest) -> Result<(String, ResolveOptions)> {
    const OCI_LAYOUT: i32 = 1;
    let options = ResolveOptions {
        platform: request.platform.map(platform_from),
        resolve_mode: request.resolve_mode,
        log_name: request.log_name,
        session_id: request.session_id,
        store_id: request.store_id,
        policies: policies(request.source_policies)?,
        ..ResolveOptions::default()
    };
    let reference = match request.resolver_type {
        OCI_LAYOUT => format!("oci-layout://{}", request.r#ref),
        _ => request.r#ref,
    };
    Ok((reference, options))
}

/// What a client wants to know of a source.
pub enum Query {
    Image { reference: String, options: Box<ResolveOptions> },
    Other(SourceOptions),
}

/// The source that is asked about, and what has to be found out.
pub fn source_meta(request: wire::ResolveSourceMetaRequest) -> Result<(pb::SourceOp, Query)> {
    let policies = policies(request.source_policies)?;
    let source = request.source.ok_or_else(|| Error::user("source is required"))?;
    let image = request.image.unwrap_or_default();
    let wants_chain = image.attestation_chain || !image.resolve_attestations.is_empty();
    let checksum = request.http.and_then(|http| http.checksum_request);
    let checksum = checksum.map(checksum_request).transpose()?;
    let attr = |key: &str| source.attrs.get(key).cloned().unwrap_or_default();
    let options = ResolveOptions {
        platform: request.platform.map(platform_from),
        resolve_mode: request.resolve_mode,
        log_name: request.log_name,
        session_id: attr("oci.session"),
        store_id: attr("oci.store"),
        policies,
        no_config: image.no_config,
        attestations: wants_chain.then_some(image.resolve_attestations),
    };
    let reference = match source.identifier.split_once("://") {
        Some(("docker-image", reference)) => reference.to_owned(),
        Some(("oci-layout", _)) => source.identifier.clone(),
        Some(_) => {
            let objects = request.git.is_some_and(|git| git.return_object);
            let ResolveOptions { log_name, policies, .. } = options;
            return Ok((source, Query::Other(SourceOptions { log_name, objects, checksum, policies })));
        }
        None => return Err(Error::user(format!("invalid source identifier `{}`", source.identifier))),
    };
    Ok((source, Query::Image { reference, options: Box::new(options) }))
}

fn checksum_request(wire: wire::ChecksumRequest) -> Result<ChecksumRequest> {
    if wire.suffix.len() > CHECKSUM_SUFFIX {
        let text = format!("http checksum request suffix exceeds max size {CHECKSUM_SUFFIX}");
        return Err(Error::user(text));
    }
    let algorithm = match ChecksumAlgo::try_from(wire.algo) {
        Ok(ChecksumAlgo::Sha256) => ChecksumAlgorithm::Sha256,
        Ok(ChecksumAlgo::Sha384) => ChecksumAlgorithm::Sha384,
        Ok(ChecksumAlgo::Sha512) => ChecksumAlgorithm::Sha512,
        Err(_) => return Err(Error::user(format!("unsupported checksum algorithm {}", wire.algo))),
    };
    Ok(ChecksumRequest { algorithm, suffix: wire.suffix })
}

pub fn source_op(source: pb::SourceOp) -> SourceOp {
    SourceOp { identifier: source.identifier, attrs: source.attrs }
}

pub fn source_to_wire(source: SourceOp) -> pb::SourceOp {
    pb::SourceOp { identifier: source.identifier, attrs: source.attrs }
}

/// Puts what was found into a response.
pub fn add_meta(response: &mut wire::ResolveSourceMetaResponse, meta: SourceMeta) {
    match meta {
        SourceMeta::Plain => {}
        SourceMeta::Git(git) => {
            response.git = Some(wire::ResolveSourceGitResponse {
                checksum: git.checksum,
                r#ref: git.reference,
                commit_checksum: git.commit_checksum,
                commit_object: git.commit_object.to_vec(),
                tag_object: git.tag_object.to_vec(),
            });
        }
        SourceMeta::Http(http) => {
            response.http = Some(wire::ResolveSourceHttpResponse {
                checksum: http.digest.to_string(),
                filename: http.filename,
                last_modified: http.modified.map(|seconds| proto::Timestamp { seconds, nanos: 0 }),
                checksum_response: http
                    .checksum
                    .map(|(digest, request)| wire::ChecksumResponse { digest, suffix: request.suffix }),
            });
        }
    }
}

fn policies(wire: Vec<proto::sourcepolicy::Policy>) -> Result<Policies> {
    wire.into_iter().map(Policy::try_from).collect()
}

pub fn warning(request: wire::WarnRequest) -> Warning {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let source = request.info.map(|info| SourceLocation {
        info: SourceInfo {
            filename: info.filename,
            data: info.data,
            language: info.language,
            definition: Vec::new(),
        },
        ranges: request.ranges.iter().map(range).collect(),
    });
    Warning {
        level: request.level,
        short: text(&request.short),
        detail: request.detail.iter().map(|d| text(d)).collect(),
        url: request.url,
        source,
    }
}

fn range(range: &pb::Range) -> Range {
    let position = |p: Option<&pb::Position>| Position {
        line: p.map_or(0, |p| p.line.try_into().unwrap_or(0)),
        character: p.map_or(0, |p| p.character.try_into().unwrap_or(0)),
    };
    let start = position(range.start.as_ref());
    Range { start, end: range.end.as_ref().map_or(start, |end| position(Some(end))) }
}

/// What a client of old sends with its last Solve: JSON, whose values are base64.
pub fn exporter_attrs(json: &[u8]) -> Result<BTreeMap<String, Bytes>> {
    use base64::Engine as _;
    let invalid = |e: &dyn std::fmt::Display| Error::user(format!("invalid exporter attributes: {e}"));
    if json.is_empty() {
        return Ok(BTreeMap::new());
    }
    let texts: BTreeMap<String, String> = serde_json::from_slice(json).map_err(|e| invalid(&e))?;
    let decode = |(key, text): (String, String)| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| invalid(&e))?;
        Ok((key, Bytes::from(bytes)))
    };
    texts.into_iter().map(decode).collect()
}

/// The id of a container that is to be made, and what it shall be.
pub fn container_request(request: wire::NewContainerRequest) -> Result<(String, ContainerRequest)> {
    if request.container_id.is_empty() {
        return Err(Error::user("ContainerID required"));
    }
    let mount = |mut mount: pb::Mount| {
        let input = Some(std::mem::take(&mut mount.result_id)).filter(|id| !id.is_empty());
        let input = input.map(|id| Ref { id, ..Ref::default() });
        Ok(ContainerMount { mount: Mount::try_from(mount)?, input })
    };
    let container = ContainerRequest {
        mounts: request.mounts.into_iter().map(mount).collect::<Result<_>>()?,
        files: BTreeMap::new(),
        network: NetMode::try_from_wire(request.network)?,
        hostname: request.hostname,
        extra_hosts: request.extra_hosts.into_iter().map(HostIp::from).collect(),
        platform: request.platform.map(platform_from),
    };
    Ok((request.container_id, container))
}

pub fn process_request(init: wire::InitMessage) -> Result<ProcessRequest> {
    let meta: Meta = init.meta.ok_or_else(|| Error::user("a process has no meta"))?.into();
    Ok(ProcessRequest {
        args: meta.args,
        env: meta.env,
        secret_env: init.secretenv.into_iter().map(SecretEnv::from).collect(),
        cwd: meta.cwd,
        user: meta.user,
        tty: init.tty,
        security: SecurityMode::try_from_wire(init.security)?,
        remove_mount_stubs_recursive: meta.remove_mount_stubs_recursive,
    })
}

/// How a process ended, or why it did not start.
pub fn exit(end: Result<ProcessExit>, unknown: u32) -> wire::ExitMessage {
    let (code, error) = match end {
        Ok(exit) => (exit.code, exit.into_error()),
        Err(e) => (unknown, Some(e)),
    };
    wire::ExitMessage { code, error: error.as_ref().map(grpcerr::to_rpc) }
}
