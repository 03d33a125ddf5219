//! Policies of clients: a source is shown to the client, which allows, denies or replaces it, and may ask more first.

use async_trait::async_trait;
use errdefs::{Detail, Error, Result};
use frontend::{Bridge, ResolveOptions, ResolvedImage, ResolvedSource, SourceOptions};
use llb::SourceOp;
use oci::Platform;
use proto::gateway::{ResolveSourceImageResponse, ResolveSourceMetaRequest, ResolveSourceMetaResponse};
use proto::pb;
use proto::policysession::check_policy_response::Result as Answer;
use proto::policysession::{CheckPolicyRequest, DecisionResponse};
use proto::sourcepolicy::PolicyAction;

use crate::convert;

/// How often a client may ask about one source.
const MOST_QUESTIONS: usize = 10;

/// What a client's policy makes of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// Something else is to be fetched, and shown again.
    Convert(SourceOp),
}

/// Finds out about sources.
#[async_trait]
pub trait Lookup: Send + Sync {
    async fn image(&self, reference: &str, options: ResolveOptions) -> Result<ResolvedImage>;

    async fn source(&self, source: &SourceOp, options: SourceOptions) -> Result<ResolvedSource>;
}

#[async_trait]
impl Lookup for dyn Bridge {
    async fn image(&self, reference: &str, options: ResolveOptions) -> Result<ResolvedImage> {
        self.resolve_image_config(reference, options).await
    }

    async fn source(&self, source: &SourceOp, options: SourceOptions) -> Result<ResolvedSource> {
        self.resolve_source(source, options).await
    }
}

/// Asks a client about a source for a platform.
///
/// # Errors
/// A user error with [`Detail::Denied`] where the client does not allow it.
pub async fn ask(
    client: &::session::Session,
    source: &SourceOp,
    platform: Option<&Platform>,
    lookup: &(impl Lookup + ?Sized),
) -> Result<Verdict> {
    let shown = convert::source_to_wire(source.clone());
    let mut request = CheckPolicyRequest {
        platform: platform.map(convert::platform),
        source: Some(ResolveSourceMetaResponse { source: Some(shown.clone()), ..Default::default() }),
        ..CheckPolicyRequest::default()
    };
    for _ in 0..MOST_QUESTIONS {
        match client.check_policy(request.clone()).await?.result {
            None => return Err(Error::user("no decision in policy response")),
            Some(Answer::Decision(decision)) => return verdict(&shown, decision),
            Some(Answer::Request(question)) => {
                same_source(&shown, question.source.as_ref())?;
                let found = meta(lookup, question).await.map_err(|e| {
                    e.context(format_args!("error resolving source metadata from policy request"))
                })?;
                // What is judged is the source as it was asked for.
                request.source = Some(ResolveSourceMetaResponse { source: Some(shown.clone()), ..found });
            }
        }
    }
    Err(Error::user("too many policy requests"))
}

fn same_source(shown: &pb::SourceOp, asked: Option<&pb::SourceOp>) -> Result<()> {
    let asked = asked.ok_or_else(|| Error::user("source is required"))?;
    if asked.identifier != shown.identifier {
        let text = format!(
            "policy requested different source identifier: {:?} != {:?}",
            asked.identifier, shown.identifier
        );
        return Err(Error::user(text));
    }
    match asked.attrs == shown.attrs {
        true => Ok(()),
        false => Err(Error::user("policy requested different source attrs")),
    }
}

fn verdict(shown: &pb::SourceOp, decision: DecisionResponse) -> Result<Verdict> {
    match PolicyAction::try_from(decision.action) {
        Ok(PolicyAction::Allow) => Ok(Verdict::Allow),
        Ok(PolicyAction::Convert) => match decision.update {
            Some(update) => Ok(Verdict::Convert(convert::source_op(update))),
            None => Err(Error::user("convert action requires updated source")),
        },
        denied => {
            let action = denied.map_or_else(|_| decision.action.to_string(), |a| a.as_str_name().to_owned());
            let text = format!("source {:?} not allowed by policy: action {action}", shown.identifier);
            let messages: Vec<_> = decision.deny_messages.into_iter().map(|m| m.message).collect();
            let error = Error::user(text);
            Err(if messages.is_empty() { error } else { error.with_detail(Detail::Denied { messages }) })
        }
    }
}

/// What is known of a source.
pub(crate) async fn meta(
    lookup: &(impl Lookup + ?Sized),
    request: ResolveSourceMetaRequest,
) -> Result<ResolveSourceMetaResponse> {
    let (mut source, query) = convert::source_meta(request)?;
    let mut response = ResolveSourceMetaResponse::default();
    match query {
        convert::Query::Image { reference, options } => {
            let found = lookup.image(&reference, *options).await;
            if let Some(other) = found.as_ref().err().and_then(Error::no_image) {
                source.identifier = other.to_owned();
                return Ok(ResolveSourceMetaResponse { source: Some(source), ..response });
            }
            let found = found?;
            response.image = Some(ResolveSourceImageResponse {
                digest: found.digest.to_string(),
                config: found.config.to_vec(),
                attestation_chain: found.chain.map(convert::chain_to_wire),
            });
            if source.identifier.starts_with("docker-image://") {
                source.identifier = format!("docker-image://{}", found.reference);
            }
        }
        convert::Query::Other(options) => {
            let found = lookup.source(&convert::source_op(source), options).await?;
            source = convert::source_to_wire(found.source);
            convert::add_meta(&mut response, found.meta);
        }
    }
    response.source = Some(source);
    Ok(response)
}
