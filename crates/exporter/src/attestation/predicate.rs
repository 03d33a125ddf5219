//! Reading what attestations say.

use std::collections::BTreeMap;

use bytes::Bytes;
use errdefs::{Code, Error, Result, ResultExt};
use frontend::{AttestationKind, Subject};
use oci::json::to_vec;
use provenance::PREDICATE_TYPES;
use refs::ImmutableRef;
use serde::Deserialize;
use snapshot::View;
use tokio_util::sync::CancellationToken;

use super::{Attestation, AttestationBody};
use crate::context::ExportContext;

/// Bytes of one file.
const LIMIT: u64 = 40 << 20;
/// Metadata: the name, without its ending, of the SBOM of the result itself among others.
const CORE: &str = "sbom-core";
/// Metadata: what one without a file is called.
const FILENAME: &str = "filename";

/// One statement's content, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate {
    pub predicate_type: String,
    pub subjects: Vec<Subject>,
    /// JSON; nothing for `null`.
    pub content: Bytes,
    path: String,
    core: Option<Bytes>,
}

impl Predicate {
    /// The name of its file.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it lists what the result itself holds.
    pub fn is_core_sbom(&self) -> bool {
        self.is_core(self.name())
    }

    fn is_core(&self, name: &str) -> bool {
        self.core.as_ref().is_some_and(|core| name.split('.').next().is_some_and(|n| n.as_bytes() == core))
    }
}

/// Reads all, bundles piece by piece. SBOMs of the result itself come first.
///
/// # Errors
/// A user error for what is no statement, or is not for frontends to say.
pub async fn predicates(attestations: Vec<&Attestation>, cx: &ExportContext) -> Result<Vec<Predicate>> {
    let mut all = Vec::new();
    for attestation in attestations {
        read(attestation, cx, &mut all).await?;
    }
    all.sort_by_key(|p| !p.is_core(&p.path));
    Ok(all)
}

async fn read(attestation: &Attestation, cx: &ExportContext, all: &mut Vec<Predicate>) -> Result<()> {
    let core = attestation.metadata.get(CORE).cloned();
    match (&attestation.kind, &attestation.body) {
        (AttestationKind::InToto { predicate_type, subjects }, body) => {
            let (path, content) = match body {
                AttestationBody::Inline(content) => (filename(attestation), content.clone()),
                AttestationBody::Late(late) => (filename(attestation), late.make().await?),
                AttestationBody::File { .. } if predicate_type.starts_with(PREDICATE_TYPES) => {
                    return Err(Error::user("frontend may not set provenance attestations"));
                }
                AttestationBody::File { reference, path } => {
                    (path.clone(), read_file(reference.as_ref(), path, cx).await?)
                }
            };
            if path.is_empty() {
                return Err(Error::user("attestation does not have set path"));
            }
            let (predicate_type, subjects) = (predicate_type.clone(), subjects.clone());
            all.push(Predicate { predicate_type, subjects, content, path, core });
        }
        (AttestationKind::Bundle { predicate_type }, AttestationBody::File { reference, path }) => {
            let view = view(reference.as_ref()).await?;
            let (wanted, path) = (predicate_type.clone(), path.clone());
            let read = cx.blocking(move |cancel| read_bundle(&view, &path, &wanted, core, cancel)).await;
            all.extend(read?);
        }
        (AttestationKind::Bundle { .. }, AttestationBody::Inline(_) | AttestationBody::Late(_)) => {
            return Err(Error::user("attestation bundle cannot have callback"));
        }
    }
    Ok(())
}

fn filename(attestation: &Attestation) -> String {
    let name = attestation.metadata.get(FILENAME);
    name.map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default()
}

async fn view(reference: Option<&ImmutableRef>) -> Result<View> {
    match reference {
        Some(reference) => reference.view().await,
        None => Err(Error::user("attestation does not have available content")),
    }
}

async fn read_file(reference: Option<&ImmutableRef>, path: &str, cx: &ExportContext) -> Result<Bytes> {
    let (view, path) = (view(reference).await?, path.to_owned());
    let read = cx.blocking(move |_| read_from(&view, &path));
    read.await.context("cannot read in-toto attestation")
}

fn read_from(view: &View, path: &str) -> Result<Bytes> {
    let bytes = view.read(path.as_bytes(), LIMIT).map_err(|e| match e.code() {
        Code::ResourceExhausted => Error::user(format!("{path} exceeds {LIMIT} bytes")),
        _ => e,
    })?;
    let missing = || Error::not_found(format!("open {path}: no such file or directory"));
    bytes.map(Bytes::from).ok_or_else(missing)
}

/// The statements of a directory, in the order of their names.
fn read_bundle(
    view: &View,
    path: &str,
    wanted: &str,
    core: Option<Bytes>,
    cancel: &CancellationToken,
) -> Result<Vec<Predicate>> {
    let mut all = Vec::new();
    for entry in view.read_dir(path.as_bytes())? {
        if cancel.is_cancelled() {
            return Err(Error::canceled());
        }
        let name = String::from_utf8(entry.name.into());
        let name =
            name.map_err(|e| Error::user(format!("invalid file name `{}`", e.as_bytes().escape_ascii())))?;
        let path = match path.trim_matches('/') {
            "" => name,
            dir => format!("{dir}/{name}"),
        };
        let statement = decode(&read_from(view, &path)?)?;
        let predicate_type = statement.predicate_type;
        if !wanted.is_empty() && predicate_type != wanted {
            return Err(Error::user(format!(
                "bundle entry {predicate_type} does not match required predicate type {wanted}"
            )));
        }
        if predicate_type.starts_with(PREDICATE_TYPES) {
            return Err(Error::user("frontend may not bundle provenance attestations"));
        }
        let subjects = statement.subject.unwrap_or_default().into_iter().map(Foreign::into_subject).collect();
        let content = to_vec(&statement.predicate).into();
        all.push(Predicate { predicate_type, subjects, content, path, core: core.clone() });
    }
    Ok(all)
}

/// A statement that somebody else wrote.
#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "predicateType", default)]
    predicate_type: String,
    subject: Option<Vec<Foreign>>,
    #[serde(default)]
    predicate: serde_json::Value,
}

#[derive(Deserialize)]
struct Foreign {
    #[serde(default)]
    name: String,
    digest: Option<BTreeMap<String, String>>,
}

impl Foreign {
    fn into_subject(self) -> Subject {
        let digests = self.digest.unwrap_or_default().into_iter();
        let digests = digests.map(|(algorithm, hex)| format!("{algorithm}:{hex}")).collect();
        Subject::Other { name: self.name, digests }
    }
}

fn decode(bytes: &[u8]) -> Result<Statement> {
    let mut documents = serde_json::Deserializer::from_slice(bytes).into_iter();
    let statement = documents.next().ok_or_else(|| Error::user("cannot decode in-toto statement: EOF"))?;
    let statement = statement.map_err(|e| Error::user(format!("cannot decode in-toto statement: {e}")))?;
    match documents.next() {
        None => Ok(statement),
        Some(_) => Err(Error::user("in-toto statement is not a single JSON object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_single_documents() {
        for (given, expected) in [
            (r#"{"predicateType":"t","subject":null,"predicate":{"b":1,"a":[]}} "#, Ok(r#"{"a":[],"b":1}"#)),
            ("{}", Ok("null")),
            ("", Err("cannot decode in-toto statement: EOF")),
            ("{} {}", Err("in-toto statement is not a single JSON object")),
            ("{} x", Err("in-toto statement is not a single JSON object")),
            ("[", Err("cannot decode in-toto statement: EOF while parsing a list at line 1 column 1")),
        ] {
            let read = decode(given.as_bytes()).map(|statement| statement.predicate.to_string());
            assert_eq!(read.map_err(|e| e.to_string()), expected.map(str::to_owned).map_err(str::to_owned));
        }
    }
}
