//! Sources, questions and answers of policies on the wire.

use oci::Platform;
use policy::{
    Algorithm, Answer, Blob, Chain, GitMeta, HttpMeta, ImageMeta, Known, Question, Request, Source,
};
use proto::gateway as wire;
use proto::gateway::checksum_request::ChecksumAlgo;
use proto::pb;
use proto::policysession::check_policy_response::Result as Verdict;
use proto::policysession::{CheckPolicyRequest, DecisionResponse, DenyMessage};
use proto::sourcepolicy::PolicyAction;

/// What an engine shows; nothing where it names no source.
pub(crate) fn request(wire: CheckPolicyRequest) -> Option<Request> {
    let platform = wire.platform.map(|p| Platform::new(&p.os, &p.architecture, &p.variant));
    Some(Request { known: known(wire.source?)?, platform })
}

/// What an engine knows of a source; nothing where it does not say of which.
pub fn known(wire: wire::ResolveSourceMetaResponse) -> Option<Known> {
    let pb::SourceOp { identifier, attrs } = wire.source?;
    let image = wire.image.map(|image| ImageMeta {
        digest: image.digest,
        config: image.config,
        chain: image.attestation_chain.map(chain),
    });
    let git = wire.git.map(|git| GitMeta {
        reference: git.r#ref,
        checksum: git.checksum,
        commit_checksum: git.commit_checksum,
        commit_object: git.commit_object,
        tag_object: git.tag_object,
    });
    let http = wire.http.map(|http| HttpMeta {
        checksum: http.checksum,
        with_suffix: http.checksum_response.map(|response| (response.digest, response.suffix)),
    });
    Some(Known { source: Source { identifier, attrs }, image, git, http })
}

fn chain(wire: wire::AttestationChain) -> Chain {
    let blob = |blob: wire::Blob| Blob {
        annotations: blob.descriptor.map(|descriptor| descriptor.annotations).unwrap_or_default(),
        data: blob.data,
    };
    Chain {
        attestation_manifest: wire.attestation_manifest,
        signature_manifests: wire.signature_manifests,
        blobs: wire.blobs.into_iter().map(|(digest, wire)| (digest, blob(wire))).collect(),
    }
}

/// A question as an engine takes it.
pub fn question(question: &Question) -> wire::ResolveSourceMetaRequest {
    let image = question.image.as_ref().map(|image| wire::ResolveSourceImageRequest {
        no_config: !image.config,
        attestation_chain: image.chain,
        resolve_attestations: image.statements.clone(),
    });
    let git = question.git.map(|git| wire::ResolveSourceGitRequest { return_object: git.objects });
    let http = question.http.as_ref().map(|http| {
        let algo = match http.algorithm {
            Algorithm::Sha256 => ChecksumAlgo::Sha256,
            Algorithm::Sha384 => ChecksumAlgo::Sha384,
            Algorithm::Sha512 => ChecksumAlgo::Sha512,
        };
        let checksum = wire::ChecksumRequest { algo: algo.into(), suffix: http.suffix.clone() };
        wire::ResolveSourceHttpRequest { checksum_request: Some(checksum) }
    });
    let platform = question.platform.as_ref().map(|platform| pb::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        ..pb::Platform::default()
    });
    wire::ResolveSourceMetaRequest {
        source: Some(source(question.source.clone())),
        platform,
        image,
        git,
        http,
        ..wire::ResolveSourceMetaRequest::default()
    }
}

fn source(source: Source) -> pb::SourceOp {
    pb::SourceOp { identifier: source.identifier, attrs: source.attrs }
}

pub(crate) fn answer(answer: Answer) -> Verdict {
    let decide = |action: PolicyAction| DecisionResponse { action: action.into(), ..Default::default() };
    Verdict::Decision(match answer {
        Answer::Ask(asked) => return Verdict::Request(question(&asked)),
        Answer::Allow => decide(PolicyAction::Allow),
        Answer::Convert(other) => {
            DecisionResponse { update: Some(source(other)), ..decide(PolicyAction::Convert) }
        }
        Answer::Deny { messages } => {
            let deny_messages = messages.into_iter().map(|message| DenyMessage { message }).collect();
            DecisionResponse { deny_messages, ..decide(PolicyAction::Deny) }
        }
    })
}
