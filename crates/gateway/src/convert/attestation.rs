//! What is said about results.

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use frontend::{Attestation, AttestationBody, AttestationChain, AttestationKind, Subject};
use proto::gateway as wire;

use super::{bytes, ref_from, ref_to_wire};

type ByPlatform<T> = BTreeMap<String, T>;

pub(super) fn attestations_to_wire(
    all: ByPlatform<Vec<Attestation>>,
) -> Result<ByPlatform<wire::Attestations>> {
    let convert = |(platform, attestations): (String, Vec<Attestation>)| {
        let attestation = attestations.into_iter().map(to_wire).collect::<Result<_>>()?;
        Ok((platform, wire::Attestations { attestation }))
    };
    all.into_iter().map(convert).collect()
}

fn to_wire(attestation: Attestation) -> Result<wire::Attestation> {
    let AttestationBody::File { reference, path } = attestation.body else {
        return Err(Error::internal("attestation callback cannot be sent through gateway"));
    };
    let (kind, predicate, subjects) = match attestation.kind {
        AttestationKind::InToto { predicate_type, subjects } => {
            (wire::AttestationKind::InToto, predicate_type, subjects)
        }
        AttestationKind::Bundle { predicate_type } => {
            (wire::AttestationKind::Bundle, predicate_type, Vec::new())
        }
    };
    Ok(wire::Attestation {
        kind: kind.into(),
        metadata: attestation.metadata.into_iter().map(|(key, value)| (key, value.to_vec())).collect(),
        r#ref: (!reference.id.is_empty()).then(|| ref_to_wire(reference)),
        path,
        in_toto_predicate_type: predicate,
        in_toto_subjects: subjects.into_iter().map(subject_to_wire).collect(),
    })
}

fn subject_to_wire(subject: Subject) -> wire::InTotoSubject {
    let (kind, name, digest) = match subject {
        Subject::Result => (wire::InTotoSubjectKind::Self_, String::new(), Vec::new()),
        Subject::NamedResult(name) => (wire::InTotoSubjectKind::Self_, name, Vec::new()),
        Subject::Other { name, digests } => (wire::InTotoSubjectKind::Raw, name, digests),
    };
    wire::InTotoSubject { kind: kind.into(), digest, name }
}

pub(super) fn attestations_from_wire(
    all: ByPlatform<wire::Attestations>,
) -> Result<ByPlatform<Vec<Attestation>>> {
    let convert = |(platform, attestations): (String, wire::Attestations)| {
        let attestations = attestations.attestation.into_iter().map(from_wire).collect::<Result<_>>()?;
        Ok((platform, attestations))
    };
    all.into_iter().map(convert).collect()
}

fn from_wire(attestation: wire::Attestation) -> Result<Attestation> {
    let predicate_type = attestation.in_toto_predicate_type;
    let kind = match wire::AttestationKind::try_from(attestation.kind) {
        Ok(wire::AttestationKind::InToto) => {
            let subjects = attestation.in_toto_subjects.into_iter().map(subject_from_wire);
            AttestationKind::InToto { predicate_type, subjects: subjects.collect::<Result<_>>()? }
        }
        Ok(wire::AttestationKind::Bundle) => AttestationKind::Bundle { predicate_type },
        Err(_) => return Err(Error::user(format!("unknown attestation kind {}", attestation.kind))),
    };
    // One without a ref says nothing, which is for those to tell who read it.
    let reference = attestation.r#ref.map(ref_from).transpose()?.unwrap_or_default();
    let body = AttestationBody::File { reference, path: attestation.path };
    Ok(Attestation { kind, metadata: bytes(attestation.metadata), body })
}

fn subject_from_wire(subject: wire::InTotoSubject) -> Result<Subject> {
    Ok(match wire::InTotoSubjectKind::try_from(subject.kind) {
        Ok(wire::InTotoSubjectKind::Self_) if subject.name.is_empty() => Subject::Result,
        Ok(wire::InTotoSubjectKind::Self_) => Subject::NamedResult(subject.name),
        Ok(wire::InTotoSubjectKind::Raw) => Subject::Other { name: subject.name, digests: subject.digest },
        Err(_) => {
            return Err(Error::user(format!("unknown attestation subject type {}", subject.kind)));
        }
    })
}

/// What is said of an image that lies somewhere.
pub fn chain_to_wire(chain: AttestationChain) -> wire::AttestationChain {
    let blobs = chain.blobs.into_iter().map(|(descriptor, data)| {
        let named = wire::Descriptor {
            media_type: descriptor.media_type,
            digest: descriptor.digest.to_string(),
            size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
            annotations: descriptor.annotations,
        };
        (named.digest.clone(), wire::Blob { descriptor: Some(named), data: data.to_vec() })
    });
    wire::AttestationChain {
        root: chain.root.to_string(),
        image_manifest: chain.image_manifest.to_string(),
        attestation_manifest: chain.attestation_manifest.map(|d| d.to_string()).unwrap_or_default(),
        signature_manifests: chain.signature_manifests.iter().map(ToString::to_string).collect(),
        blobs: blobs.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(kind: i32, subjects: Vec<wire::InTotoSubject>) -> ByPlatform<wire::Attestations> {
        let attestation = wire::Attestation {
            kind,
            metadata: [("reason".to_owned(), b"sbom".to_vec())].into(),
            r#ref: Some(wire::Ref { id: "r".into(), def: Some(proto::pb::Definition::default()) }),
            path: "/a".into(),
            in_toto_predicate_type: "type".into(),
            in_toto_subjects: subjects,
        };
        [("linux/amd64".to_owned(), wire::Attestations { attestation: vec![attestation] })].into()
    }

    fn subject(kind: i32, name: &str, digests: &[&str]) -> wire::InTotoSubject {
        let digest = digests.iter().map(|d| (*d).to_owned()).collect();
        wire::InTotoSubject { kind, digest, name: name.into() }
    }

    #[test]
    fn attestations_go_both_ways() {
        let subjects = vec![subject(0, "", &[]), subject(0, "a", &[]), subject(1, "b", &["sha256:1"])];
        for given in [sample(0, subjects), sample(1, Vec::new())] {
            let read = attestations_from_wire(given.clone()).expect("valid");
            assert_eq!(attestations_to_wire(read).expect("files"), given);
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (given, expected) in [
            (sample(7, Vec::new()), "unknown attestation kind 7"),
            (sample(0, vec![subject(9, "", &[])]), "unknown attestation subject type 9"),
        ] {
            assert_eq!(attestations_from_wire(given).expect_err("unknown").to_string(), expected);
        }
    }

    #[test]
    fn what_the_engine_says_itself_stays_with_it() {
        let kind = AttestationKind::Bundle { predicate_type: String::new() };
        let body = AttestationBody::Inline(bytes::Bytes::new());
        let own = Attestation { kind, metadata: BTreeMap::new(), body };
        assert!(attestations_to_wire([(String::new(), vec![own])].into()).is_err());
    }
}
