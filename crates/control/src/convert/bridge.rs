//! The bridge's messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use errdefs::{Error, Position, Range, Result, SourceInfo, SourceLocation};
use frontend::{BuildResult, FileInfo, FileRange, Ref, Refs, ResolveOptions, SolveRequest, Warning};
use proto::gateway::{self as wire, result};
use proto::pb;

use crate::convert::platform_from;
use crate::convert::request::definitions;

pub(crate) fn solve_request(request: wire::SolveRequest) -> Result<SolveRequest> {
    if request.source_policies.iter().any(|p| !p.rules.is_empty()) {
        return Err(Error::unimplemented("source policies are not supported yet"));
    }
    if !request.cache_imports.is_empty() {
        return Err(Error::unimplemented("cache imports are not supported yet"));
    }
    let definition = request.definition.filter(|d| !d.def.is_empty());
    if definition.is_some() && !request.frontend.is_empty() {
        return Err(Error::user("cannot solve with both Definition and Frontend specified"));
    }
    Ok(SolveRequest {
        definition: definition.map(TryInto::try_into).transpose()?,
        frontend: request.frontend,
        opts: request.frontend_opt,
        inputs: definitions(request.frontend_inputs)?,
        evaluate: request.evaluate,
    })
}

/// How much of a result the client reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ResultForm {
    /// One ref, by itself.
    Bare,
    /// Ids of refs.
    Ids,
    /// Refs with their graphs.
    Full,
}

impl ResultForm {
    pub(crate) fn of(request: &wire::SolveRequest) -> Self {
        match (request.allow_result_return, request.allow_result_array_ref) {
            (false, _) => ResultForm::Bare,
            (true, false) => ResultForm::Ids,
            (true, true) => ResultForm::Full,
        }
    }
}

pub(crate) fn solve_response(result: BuildResult, form: ResultForm) -> Result<wire::SolveResponse> {
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
    let result = wire::Result { result: refs, metadata, attestations: BTreeMap::new() };
    Ok(wire::SolveResponse { r#ref: String::new(), result: Some(result) })
}

fn ref_to_wire(one: Ref) -> wire::Ref {
    wire::Ref { id: one.id, def: Some((*one.definition).clone().into()) }
}

/// A result that the client returns. Its refs are ids that the bridge gave out.
pub(crate) fn build_result(result: wire::Result) -> Result<BuildResult> {
    if !result.attestations.is_empty() {
        return Err(Error::unimplemented("attestations are not supported yet"));
    }
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
    let metadata = result.metadata.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect();
    Ok(BuildResult { refs, metadata })
}

fn ref_from(one: wire::Ref) -> Result<Ref> {
    let definition = one.def.map(TryInto::try_into).transpose()?.unwrap_or_default();
    Ok(Ref { id: one.id, definition: Arc::new(definition) })
}

pub(crate) fn file_range(range: Option<wire::FileRange>) -> Result<Option<FileRange>> {
    let convert = |range: wire::FileRange| {
        let number = |n: i64| u64::try_from(n).map_err(|_| Error::user("invalid file range"));
        Ok(FileRange { offset: number(range.offset)?, length: number(range.length)? })
    };
    range.map(convert).transpose()
}

pub(crate) fn stat(info: FileInfo) -> proto::fsutil::Stat {
    let stat = session::files::Stat {
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

pub(crate) fn path(path: Vec<u8>) -> Result<String> {
    String::from_utf8(path)
        .map_err(|e| Error::user(format!("invalid path `{}`", e.as_bytes().escape_ascii())))
}

/// The reference and the options of an image that is to be resolved.
pub(crate) fn resolve_image(request: wire::ResolveImageConfigRequest) -> Result<(String, ResolveOptions)> {
    const OCI_LAYOUT: i32 = 1;
    refuse_policies(&request.source_policies)?;
    let options = ResolveOptions {
        platform: request.platform.map(platform_from),
        resolve_mode: request.resolve_mode,
        log_name: request.log_name,
        session_id: request.session_id,
        store_id: request.store_id,
    };
    let reference = match request.resolver_type {
        OCI_LAYOUT => format!("oci-layout://{}", request.r#ref),
        _ => request.r#ref,
    };
    Ok((reference, options))
}

/// An image that a client wants to know more of.
pub(crate) struct ImageQuery {
    pub reference: String,
    pub options: ResolveOptions,
    pub wants_config: bool,
}

/// The source that is asked about, and what has to be resolved for it. Of a local folder nothing is known beyond its
/// name.
pub(crate) fn source_meta(
    request: wire::ResolveSourceMetaRequest,
) -> Result<(pb::SourceOp, Option<ImageQuery>)> {
    refuse_policies(&request.source_policies)?;
    let source = request.source.ok_or_else(|| Error::user("source required"))?;
    let image = request.image.unwrap_or_default();
    if image.attestation_chain || !image.resolve_attestations.is_empty() {
        return Err(Error::unimplemented("attestations are not supported yet"));
    }
    let attr = |key: &str| source.attrs.get(key).cloned().unwrap_or_default();
    let options = ResolveOptions {
        platform: request.platform.map(platform_from),
        resolve_mode: request.resolve_mode,
        log_name: request.log_name,
        session_id: attr("oci.session"),
        store_id: attr("oci.store"),
    };
    let reference = match source.identifier.split_once("://") {
        Some(("docker-image", reference)) => reference.to_owned(),
        Some(("oci-layout", _)) => source.identifier.clone(),
        Some(("local", _)) => return Ok((source, None)),
        Some((scheme, _)) => {
            return Err(Error::unimplemented(format!("sources of type `{scheme}` cannot be resolved yet")));
        }
        None => return Err(Error::user(format!("invalid source identifier `{}`", source.identifier))),
    };
    let query = ImageQuery { reference, options, wants_config: !image.no_config };
    Ok((source, Some(query)))
}

fn refuse_policies(policies: &[proto::sourcepolicy::Policy]) -> Result<()> {
    match policies.iter().any(|p| !p.rules.is_empty()) {
        true => Err(Error::unimplemented("source policies are not supported yet")),
        false => Ok(()),
    }
}

pub(crate) fn warning(request: wire::WarnRequest) -> Warning {
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
