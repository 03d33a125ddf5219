//! What this engine says it can do. Only what is true stands here: clients change their requests by it.

use proto::apicaps::ApiCap;

/// Calls and forms of the bridge.
const BRIDGE: &[&str] = &[
    "solve.base",
    "resolveimage",
    "resolveimage.resolvemode",
    "readfile",
    "return",
    "returnmap",
    "readdir",
    "statfile",
    "importcaches",
    "proto.refarray",
    "reference.output",
    "frontend.inputs",
    "gateway.solve.metadata",
    "gateway.exec",
    "gateway.exec.extrahosts",
    "gateway.exec.secretenv",
    "gateway.exec.signals",
    "gateway.exec.filesystem",
    "frontend.caps",
    "gateway.solve.evaluate",
    "gateway.evaluate",
    "gateway.warnings",
    "reference.attestations",
    "source.metaresolver",
    "source.metaresolver.image.attestations",
    "source.metaresolver.http.checksumrequest",
];

pub fn bridge() -> Vec<ApiCap> {
    enabled(BRIDGE)
}

pub fn llb() -> Vec<ApiCap> {
    enabled(llb::caps::ALL)
}

fn enabled(ids: &[&str]) -> Vec<ApiCap> {
    ids.iter().map(|id| ApiCap { id: (*id).to_owned(), enabled: true, ..ApiCap::default() }).collect()
}
