use std::collections::BTreeMap;

use proto::control as pb;

use crate::source_policy::SourcePolicy;

/// A build.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SolveRequest {
    /// Unique; see [`new_id`].
    pub id: String,
    /// Names the folder that the session's files come from, so that the engine knows it again.
    pub shared_key: String,
    /// A graph, in place of a frontend.
    pub definition: Option<llb::Definition>,
    pub frontend: String,
    pub frontend_attrs: BTreeMap<String, String>,
    /// Graphs that the frontend may use by name, as `input:NAME`.
    pub frontend_inputs: BTreeMap<String, llb::Definition>,
    pub exporters: Vec<Exporter>,
    pub cache_imports: Vec<CacheEntry>,
    pub cache_exports: Vec<CacheEntry>,
    pub entitlements: Vec<String>,
    pub source_policy: Option<SourcePolicy>,
    /// The client asks the frontend itself; see [`SolveResponse::metadata`].
    pub ask_frontend: bool,
    /// Steps reach the network through a proxy that keeps account.
    pub proxy_network: bool,
    /// Leave no trace in the history.
    pub internal: bool,
}

/// Where a result goes. The index in the request is the exporter's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exporter {
    pub kind: String,
    pub attrs: BTreeMap<String, String>,
}

/// A remote cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    pub kind: String,
    pub attrs: BTreeMap<String, String>,
}

/// What exporters answered, by key, as `containerimage.digest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SolveResponse {
    pub exporter_response: BTreeMap<String, String>,
    /// What the frontend said of its result, where the client asked it itself.
    pub metadata: BTreeMap<String, Vec<u8>>,
}

impl SolveRequest {
    pub(crate) fn to_wire(&self, session: &str) -> pb::SolveRequest {
        let entry = |e: &CacheEntry| pb::CacheOptionsEntry { r#type: e.kind.clone(), attrs: e.attrs.clone() };
        let exporters: Vec<_> = self
            .exporters
            .iter()
            .map(|e| pb::Exporter { r#type: e.kind.clone(), attrs: e.attrs.clone() })
            .collect();
        let first = exporters.first().cloned().unwrap_or_default();
        pb::SolveRequest {
            r#ref: self.id.clone(),
            session: session.to_owned(),
            // A build without work waits for what its client returns.
            frontend: if self.ask_frontend { String::new() } else { self.frontend.clone() },
            definition: self.definition.clone().filter(|_| !self.ask_frontend).map(Into::into),
            frontend_attrs: self.frontend_attrs.clone(),
            frontend_inputs: if self.ask_frontend { BTreeMap::new() } else { self.inputs_to_wire() },
            exporter_deprecated: first.r#type,
            exporter_attrs_deprecated: first.attrs,
            exporters,
            cache: Some(pb::CacheOptions {
                imports: self.cache_imports.iter().map(entry).collect(),
                exports: self.cache_exports.iter().map(entry).collect(),
                ..pb::CacheOptions::default()
            }),
            entitlements: self.entitlements.clone(),
            source_policy: self.source_policy.clone().map(|policy| policy.0),
            proxy_network: self.proxy_network,
            internal: self.internal,
            ..pb::SolveRequest::default()
        }
    }
}

impl SolveRequest {
    pub(crate) fn inputs_to_wire(&self) -> BTreeMap<String, proto::pb::Definition> {
        self.frontend_inputs.iter().map(|(name, graph)| (name.clone(), graph.clone().into())).collect()
    }
}

/// A fresh id of 25 letters and digits, as BuildKit makes them.
pub fn new_id() -> String {
    const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut raw = [0u8; 25];
    let mut filled = 0;
    while filled < raw.len() {
        // An interrupted call is tried again; small reads never fail otherwise.
        filled +=
            rustix::rand::getrandom(&mut raw[filled..], rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    raw.iter().map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let (a, b) = (new_id(), new_id());
        assert_ne!(a, b);
        assert!(a.len() == 25 && a.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{a}");
    }

    #[test]
    fn the_first_exporter_is_told_in_the_old_fields_too() {
        let request = SolveRequest {
            exporters: vec![
                Exporter { kind: "oci".into(), attrs: BTreeMap::from([("name".into(), "x".into())]) },
                Exporter { kind: "local".into(), attrs: BTreeMap::new() },
            ],
            ..SolveRequest::default()
        };
        let wire = request.to_wire("s");
        assert_eq!((wire.exporter_deprecated.as_str(), wire.exporters.len()), ("oci", 2));
        assert_eq!(wire.exporter_attrs_deprecated["name"], "x");
    }
}
