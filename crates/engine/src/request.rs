//! What a client asks for, in the engine's own words.

use std::collections::BTreeMap;

use llb::{Definition, Policies};
use oci::Descriptor;
use serde::{Deserialize, Serialize};

/// One build.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// The id that the client chose; Status and the bridge find the build by it.
    pub id: String,
    pub work: Work,
    /// The client's session.
    pub session: String,
    pub exporters: Vec<Attributed>,
    /// The session of the client picks more of them, once it knows the result.
    pub session_exporters: bool,
    pub cache_imports: Vec<Attributed>,
    pub cache_exports: Vec<Attributed>,
    /// What the client allows: `network.host`, `security.insecure`.
    pub entitlements: Vec<String>,
    /// What the sources of the build are judged by.
    pub policies: Policies,
    /// The session of a client that judges them too.
    pub policy_session: Option<String>,
    /// Steps reach the network only through proxies, which ask the policies and keep account.
    pub proxied: bool,
    /// Options for a frontend, also where the client is its own: for the record of the build.
    pub attrs: BTreeMap<String, String>,
    /// Leaves no record.
    pub internal: bool,
}

/// Where the result of a build comes from.
#[derive(Debug, Clone)]
pub enum Work {
    /// The client is its own frontend: it talks to the bridge and returns a result.
    Client {
        inputs: BTreeMap<String, Definition>,
    },
    Definition(Definition),
    Frontend {
        name: String,
        opts: BTreeMap<String, String>,
        inputs: BTreeMap<String, Definition>,
    },
}

/// A type and its attributes: an exporter, a cache.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributed {
    pub kind: String,
    pub attrs: BTreeMap<String, String>,
}

/// What a build answers: `containerimage.digest` and the like.
#[derive(Debug, Clone, Default)]
pub struct BuildResponse {
    pub exporter: BTreeMap<String, String>,
    /// What exporters made, by their place in the request; some make nothing that has a name.
    pub results: BTreeMap<u32, Descriptor>,
    /// What images say of themselves, by platform: statements in the store.
    pub attestations: BTreeMap<String, Vec<Descriptor>>,
}

impl Default for Work {
    fn default() -> Self {
        Work::Client { inputs: BTreeMap::new() }
    }
}
