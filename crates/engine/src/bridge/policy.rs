//! Which sources a build may fetch, and what it fetches instead.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use errdefs::{Detail, Error, Result, ResultExt as _};
use frontend::{ResolveOptions, ResolvedImage, ResolvedSource, SourceOptions};
use futures_util::future::try_join_all;
use gateway::{Lookup, Verdict};
use llb::{Definition, Graph, OpKind, Policies, SourceOp};
use network::{Judge, Judgement};
use oci::{Digest, Platform};

use super::{BuildBridge, Inner};

/// How often a client may replace one source.
const MOST_CHANGES: usize = 10;
/// How long the session of a policy may take to appear.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the sources of one build are judged by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub policies: Policies,
    /// The session of the client that judges too.
    pub session: Option<String>,
    /// Steps reach the network through proxies only, and what they fetch is judged like sources.
    pub proxied: bool,
}

impl BuildBridge {
    /// The graph with the sources that the policies put into it; `more` come after those of the build.
    pub(super) async fn govern(&self, definition: Definition, more: &Policies) -> Result<Definition> {
        let definition = match self.inner.rules.proxied && !definition.is_empty() {
            true => definition.proxied()?,
            false => definition,
        };
        if definition.is_empty() || self.lets_all_pass(more) {
            return Ok(definition);
        }
        let mut others = HashMap::new();
        let graph = Graph::load(&definition)?;
        let judged = graph.order.iter().map(async |digest| {
            let op = &graph.ops[digest].op;
            let OpKind::Source(source) = &op.kind else { return Ok::<_, Error>((digest, None)) };
            let other = self.judge(source, op.platform.as_ref(), more).await;
            Ok((digest, other.map_err(|e| locate(&definition, &graph, digest, e))?))
        });
        for (digest, other) in try_join_all(judged).await? {
            others.extend(other.map(|other| (digest.clone(), other)));
        }
        if others.is_empty() { Ok(definition) } else { definition.with_sources(others) }
    }

    /// What is to be resolved where an image is asked for; `None` is that image.
    ///
    /// # Errors
    /// User errors: one for an image that is not allowed, and one with [`Detail::NoImage`].
    pub(super) async fn judged_image(
        &self,
        reference: &str,
        options: &ResolveOptions,
    ) -> Result<Option<String>> {
        if self.lets_all_pass(&options.policies) {
            return Ok(None);
        }
        let identifier = match reference.contains("://") {
            true => reference.to_owned(),
            false => format!("docker-image://{reference}"),
        };
        let source = SourceOp { identifier, ..SourceOp::default() };
        let judged = self.judge(&source, options.platform.as_ref(), &options.policies).await;
        let Some(other) = judged.context("could not resolve image due to policy")? else { return Ok(None) };
        match other.identifier.split_once("://") {
            Some(("docker-image", image)) => Ok(Some(image.to_owned())),
            Some(("oci-layout", _)) => Ok(Some(other.identifier)),
            _ => {
                let (asked, other) = (source.identifier, other.identifier);
                let text = format!("ref mutated by policy to non-image: {asked} -> {other}");
                Err(Error::user(text).with_detail(Detail::NoImage { identifier: other }))
            }
        }
    }

    fn lets_all_pass(&self, more: &Policies) -> bool {
        let rules = &self.inner.rules;
        rules.session.is_none() && rules.policies.is_empty() && more.is_empty()
    }

    /// What is to be fetched in the place of a source; `None` is the source itself.
    ///
    /// # Errors
    /// A user error for a source that is not allowed.
    pub(super) async fn judge(
        &self,
        source: &SourceOp,
        platform: Option<&Platform>,
        more: &Policies,
    ) -> Result<Option<SourceOp>> {
        if self.lets_all_pass(more) {
            return Ok(None);
        }
        let policies = self.inner.rules.policies.and(more);
        let asked = with_whole_name(source.clone());
        let mut now = asked.clone();
        for _ in 0..MOST_CHANGES {
            now = policies.apply(now)?;
            let Some(id) = &self.inner.rules.session else { return Ok((now != asked).then_some(now)) };
            let client = self.inner.context.sessions.get(id, PATIENCE).await?;
            match gateway::ask_policy(&client, &now, platform, &Ungoverned(self)).await? {
                Verdict::Allow => return Ok((now != asked).then_some(now)),
                Verdict::Convert(other) => now = with_whole_name(other),
            }
        }
        Err(Error::user("too many policy requests"))
    }
}

/// Judges what steps fetch as sources of HTTP. It does not keep the build.
pub(super) struct ProxyJudge(Weak<Inner>);

impl BuildBridge {
    pub(super) fn proxy_judge(&self) -> ProxyJudge {
        ProxyJudge(Arc::downgrade(&self.inner))
    }
}

#[async_trait]
impl Judge for ProxyJudge {
    async fn judge(&self, url: &str) -> Judgement {
        let Some(inner) = self.0.upgrade() else { return Judgement::Denied("the build has ended".into()) };
        let frame = Arc::clone(&inner.root);
        let source = SourceOp { identifier: url.to_owned(), ..SourceOp::default() };
        match (BuildBridge { inner, frame }).judge(&source, None, &Policies::default()).await {
            Ok(None) => Judgement::Allowed,
            Ok(Some(other)) if other.attrs.is_empty() => Judgement::Replaced(other.identifier),
            Ok(Some(_)) => Judgement::Denied(
                "a policy adds attributes to it, which a request of a step cannot have".into(),
            ),
            Err(e) => Judgement::Denied(e.to_string()),
        }
    }
}

/// Says where a source is asked for: its own place, or that of the first op that uses it.
fn locate(definition: &Definition, graph: &Graph, digest: &Digest, error: Error) -> Error {
    let uses = |at: &&Digest| graph.ops[*at].inputs.iter().any(|input| input.digest == *digest);
    let user = graph.order.iter().find(uses);
    let places = std::iter::once(digest).chain(user).map(|at| definition.source.locations(at));
    let places = places.into_iter().find(|places| !places.is_empty()).unwrap_or_default();
    places.into_iter().fold(error, |error, place| error.with_detail(Detail::Source(place)))
}

/// Rules name sources by their whole names.
fn with_whole_name(mut source: SourceOp) -> SourceOp {
    source.identifier = source::whole_name(&source);
    source
}

/// Answers the questions of a policy: they are not judged again.
struct Ungoverned<'a>(&'a BuildBridge);

#[async_trait]
impl Lookup for Ungoverned<'_> {
    async fn image(&self, reference: &str, options: ResolveOptions) -> Result<ResolvedImage> {
        self.0.look_up_image(reference, &options).await
    }

    async fn source(&self, source: &SourceOp, options: SourceOptions) -> Result<ResolvedSource> {
        self.0.look_up_source(source, &options).await
    }
}
