//! Control.Solve, inward.

use std::collections::BTreeMap;

use engine::{Attributed, BuildRequest, COMPATIBILITY, Work};
use errdefs::{Error, Result};
use llb::{Definition, Policy};
use proto::control as wire;

const DOCKERFILE: &str = "dockerfile.v0";

/// Takes a request as a whole, or says what cannot be done.
pub(crate) fn build_request(mut request: wire::SolveRequest) -> Result<BuildRequest> {
    refuse_what_is_missing(&request)?;
    if is_built_in(&request) {
        request.frontend = DOCKERFILE.into();
        request.frontend_attrs.remove("source");
    }
    let inputs = definitions(request.frontend_inputs)?;
    let attrs = request.frontend_attrs.clone();
    let work = match (request.definition, request.frontend.as_str()) {
        (Some(definition), frontend) if !frontend.is_empty() && !definition.def.is_empty() => {
            return Err(Error::user("cannot solve with both Definition and Frontend specified"));
        }
        (_, frontend) if !frontend.is_empty() => {
            Work::Frontend { name: request.frontend, opts: request.frontend_attrs, inputs }
        }
        // One without ops is scratch; none at all means that the client is its own frontend.
        (Some(definition), _) => Work::Definition(definition.try_into()?),
        (None, _) => Work::Client { inputs },
    };
    let mut exporters: Vec<_> =
        request.exporters.into_iter().map(|e| Attributed { kind: e.r#type, attrs: e.attrs }).collect();
    if exporters.is_empty() && !request.exporter_deprecated.is_empty() {
        let attrs = request.exporter_attrs_deprecated;
        exporters.push(Attributed { kind: request.exporter_deprecated, attrs });
    }
    let (cache_imports, cache_exports) = caches(request.cache.unwrap_or_default());
    Ok(BuildRequest {
        id: request.r#ref,
        work,
        session: request.session,
        exporters,
        session_exporters: request.enable_session_exporter,
        cache_imports,
        cache_exports,
        entitlements: request.entitlements,
        policies: request.source_policy.into_iter().map(Policy::try_from).collect::<Result<_>>()?,
        policy_session: Some(request.source_policy_session).filter(|id| !id.is_empty()),
        proxied: request.proxy_network,
        attrs,
        internal: request.internal,
    })
}

/// Whether the frontend is asked for as if it were an image, and the client gives none of that name.
fn is_built_in(request: &wire::SolveRequest) -> bool {
    let attrs = &request.frontend_attrs;
    let context = format!("context:{DOCKERFILE}");
    let is_given = |key: &String| *key == context || key.starts_with(&format!("{context}::"));
    request.frontend == "gateway.v0"
        && attrs.get("source").is_some_and(|source| source == DOCKERFILE)
        && !attrs.keys().any(is_given)
}

pub(crate) fn definitions(
    wire: BTreeMap<String, proto::pb::Definition>,
) -> Result<BTreeMap<String, Definition>> {
    wire.into_iter().map(|(name, definition)| Ok((name, definition.try_into()?))).collect()
}

fn refuse_what_is_missing(request: &wire::SolveRequest) -> Result<()> {
    if request.r#ref.is_empty() {
        return Err(Error::user("build has no ref"));
    }
    match request.compatibility_version {
        0 | COMPATIBILITY => {}
        version if version > COMPATIBILITY => {
            return Err(Error::user(format!(
                "unsupported compatibility-version {version}: upgrade buildkit (max supported: {COMPATIBILITY})"
            )));
        }
        version => {
            return Err(Error::user(format!(
                "unsupported compatibility-version {version} (supported: [{COMPATIBILITY}])"
            )));
        }
    }
    Ok(())
}

/// Imports and exports; the old fields count where the new ones are empty.
fn caches(cache: wire::CacheOptions) -> (Vec<Attributed>, Vec<Attributed>) {
    let entries = |entries: Vec<wire::CacheOptionsEntry>| -> Vec<_> {
        entries.into_iter().map(|e| Attributed { kind: e.r#type, attrs: e.attrs }).collect()
    };
    let registry = |reference: String, mut attrs: BTreeMap<String, String>| {
        attrs.insert("ref".into(), reference);
        Attributed { kind: "registry".into(), attrs }
    };
    let (mut imports, mut exports) = (entries(cache.imports), entries(cache.exports));
    for reference in cache.import_refs_deprecated {
        imports.push(registry(reference, BTreeMap::new()));
    }
    if !cache.export_ref_deprecated.is_empty() {
        exports.push(registry(cache.export_ref_deprecated, cache.export_attrs_deprecated));
    }
    (imports, exports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: wire::SolveRequest, refused: &str) {
        let request = wire::SolveRequest { r#ref: "id".into(), ..request };
        let error = build_request(request).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some(refused).filter(|text| !text.is_empty()));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let definition = proto::pb::Definition { def: vec![vec![1].into()], ..Default::default() };
        let default = wire::SolveRequest::default;
        check(default(), "");
        check(wire::SolveRequest { compatibility_version: 30, ..default() }, "");
        check(
            wire::SolveRequest { compatibility_version: 40, ..default() },
            "unsupported compatibility-version 40: upgrade buildkit (max supported: 30)",
        );
        check(
            wire::SolveRequest { compatibility_version: 10, ..default() },
            "unsupported compatibility-version 10 (supported: [30])",
        );
        check(
            wire::SolveRequest { definition: Some(definition), frontend: "x".into(), ..default() },
            "cannot solve with both Definition and Frontend specified",
        );
    }

    #[test]
    fn the_built_in_frontend_can_be_asked_for_as_an_image() {
        for (frontend, source, context, want) in [
            ("gateway.v0", "dockerfile.v0", "", ("dockerfile.v0", None)),
            ("gateway.v0", "dockerfile.v0", "context:base", ("dockerfile.v0", None)),
            ("gateway.v0", "docker/dockerfile", "", ("gateway.v0", Some("docker/dockerfile"))),
            ("gateway.v0", "dockerfile.v0", "context:dockerfile.v0", ("gateway.v0", Some("dockerfile.v0"))),
            (
                "gateway.v0",
                "dockerfile.v0",
                "context:dockerfile.v0::linux/arm64",
                ("gateway.v0", Some("dockerfile.v0")),
            ),
            ("dockerfile.v0", "dockerfile.v0", "", ("dockerfile.v0", Some("dockerfile.v0"))),
        ] {
            let attrs = [("source", source), (context, "x")].map(|(key, value)| (key.into(), value.into()));
            let request = wire::SolveRequest {
                r#ref: "id".into(),
                frontend: frontend.into(),
                frontend_attrs: attrs.into(),
                ..Default::default()
            };
            let build = build_request(request).expect("is fine");
            let Work::Frontend { name, opts, .. } = &build.work else { panic!("{:?}", build.work) };
            assert_eq!((name.as_str(), opts.get("source").map(String::as_str)), want);
            assert_eq!(*opts, build.attrs);
        }
    }

    #[test]
    fn old_fields_count_where_new_ones_are_empty() {
        let request = wire::SolveRequest {
            r#ref: "id".into(),
            exporter_deprecated: "oci".into(),
            cache: Some(wire::CacheOptions { export_ref_deprecated: "r/x".into(), ..Default::default() }),
            ..Default::default()
        };
        let build = build_request(request).expect("is fine");
        assert_eq!(build.exporters[0].kind, "oci");
        assert_eq!(build.cache_exports[0].attrs["ref"], "r/x");
    }
}
