//! What this engine says it can do. Only what is true stands here: clients change their requests by it.

use proto::apicaps::ApiCap;

/// Calls and forms of the bridge. `gateway.exec` and its kin are not among them.
const BRIDGE: &[&str] = &[
    "solve.base",
    "resolveimage",
    "resolveimage.resolvemode",
    "readfile",
    "return",
    "returnmap",
    "readdir",
    "statfile",
    "proto.refarray",
    "reference.output",
    "frontend.inputs",
    "gateway.solve.metadata",
    "frontend.caps",
    "gateway.solve.evaluate",
    "gateway.evaluate",
    "gateway.warnings",
    "source.metaresolver",
];

pub(crate) fn bridge() -> Vec<ApiCap> {
    enabled(BRIDGE)
}

pub(crate) fn llb() -> Vec<ApiCap> {
    enabled(llb::caps::ALL)
}

fn enabled(ids: &[&str]) -> Vec<ApiCap> {
    ids.iter().map(|id| ApiCap { id: (*id).to_owned(), enabled: true, ..ApiCap::default() }).collect()
}
