//! In-toto statements (in-toto attestation framework, v1).

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use frontend::Subject;
use oci::Digest;
use oci::json::{compact, to_vec};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Predicate;

const VERSION: &str = "https://in-toto.io/Statement/v1";
/// What somebody without a name is called.
const NAMELESS: &str = "_";

/// What was made of a result: an image by one of its names, a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Artifact {
    name: String,
    /// Hex, by algorithm.
    digest: BTreeMap<String, String>,
}

impl Artifact {
    pub fn new(name: String, digest: &Digest) -> Self {
        let digest = (digest.algorithm().to_owned(), digest.hex().to_owned());
        Artifact { name, digest: [digest].into() }
    }
}

#[derive(Serialize)]
struct Statement<'a> {
    #[serde(rename = "_type")]
    version: &'a str,
    #[serde(rename = "predicateType")]
    predicate_type: &'a str,
    subject: Vec<Artifact>,
    predicate: Box<RawValue>,
}

/// The JSON of a statement. Where it does not say what it is about, it is about `artifacts`.
pub fn statement(predicate: &Predicate, artifacts: &[Artifact]) -> Result<String> {
    let invalid = |e: &dyn std::fmt::Display| Error::user(format!("failed to marshal attestation: {e}"));
    let content = match &predicate.content[..] {
        [] => b"null",
        content => content,
    };
    let content: Box<RawValue> = serde_json::from_slice(content).map_err(|e| invalid(&e))?;
    let statement = Statement {
        version: VERSION,
        predicate_type: &predicate.predicate_type,
        subject: subjects(&predicate.subjects, artifacts)?,
        predicate: RawValue::from_string(compact(content.get())).map_err(|e| invalid(&e))?,
    };
    String::from_utf8(to_vec(&statement)).map_err(|e| invalid(&e))
}

fn subjects(subjects: &[Subject], artifacts: &[Artifact]) -> Result<Vec<Artifact>> {
    let subjects = if subjects.is_empty() { &[Subject::Result] } else { subjects };
    let mut all = Vec::new();
    for subject in subjects {
        match subject {
            Subject::Result => all.extend_from_slice(artifacts),
            Subject::NamedResult(name) => {
                let both = |a: &Artifact| [a.clone(), Artifact { name: name.clone(), ..a.clone() }];
                all.extend(artifacts.iter().flat_map(both));
            }
            Subject::Other { name, digests } => {
                let name = if name.is_empty() { NAMELESS } else { name }.to_owned();
                let digest = digests.iter().map(|digest| {
                    let parts = digest.split_once(':').map(|(a, hex)| (a.to_owned(), hex.to_owned()));
                    parts.ok_or_else(|| Error::user(format!("invalid digest `{digest}` of a subject")))
                });
                all.push(Artifact { name, digest: digest.collect::<Result<_>>()? });
            }
        }
    }
    Ok(all)
}
