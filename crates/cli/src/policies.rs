//! Policies in Rego around a build: which files they are, where these lie, and how they judge and tell.

mod files;
mod groups;
mod host;
mod log;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use client::{Client, Inquiry};
use errdefs::{Detail, Error, Result, ResultExt as _};
use llb::caps;
use oci::Platform;
use policy::{Answer, CAP_PROXY, Env, Policy, PolicyFlag, Request};
use progress::Sink;
use session::{Attachables, Judge};
use tokio::sync::OnceCell;

use crate::settings::BuildSettings;

pub(crate) use files::{Files, Place, read_below};
pub(crate) use groups::{DefaultFile, groups};
pub(crate) use host::Host;
pub(crate) use log::Log;

/// The engine, when a policy wants to know something of it. It is asked over a build of its own, opened when needed.
pub(crate) struct Engine {
    client: Client,
    attachables: Mutex<Attachables>,
    inquiry: OnceCell<Inquiry>,
}

impl Engine {
    pub(crate) fn new(client: Client, attachables: Attachables) -> Self {
        Engine { client, attachables: Mutex::new(attachables), inquiry: OnceCell::new() }
    }

    pub(crate) async fn inquiry(&self) -> Result<&Inquiry> {
        let open = || {
            let attachables = self.attachables.lock().unwrap_or_else(PoisonError::into_inner).again();
            self.client.inquire(attachables, None)
        };
        self.inquiry.get_or_try_init(open).await
    }

    /// What its first worker builds for.
    pub(crate) async fn platform(&self) -> Result<Platform> {
        let workers = self.client.workers().await?;
        let first = workers.first().and_then(|worker| worker.platforms.first());
        let first = first.ok_or_else(|| Error::environment("no workers available in the builder"))?;
        first.parse().map_err(|e: oci::platform::InvalidPlatform| Error::environment(e.to_string()))
    }
}

/// All policies of one build on one engine.
pub(crate) struct Policies {
    judges: Arc<Judges>,
    log: Arc<Log>,
    /// Steps are to reach the network through a proxy.
    pub proxied: bool,
}

/// Policies, one after the other.
struct Judges {
    policies: Vec<Policy>,
    /// What was wrong with a policy.
    failure: Mutex<Option<Error>>,
    /// Sources that were denied, and what was said of them.
    denied: Mutex<Vec<(String, Vec<String>)>>,
}

impl Policies {
    /// Reads the policies of a build; `None` where it has none.
    ///
    /// # Errors
    /// User errors for flags that do not go together, for files that are missing or wrong, and for engines that cannot
    /// do what is asked for.
    pub(crate) async fn prepare(
        settings: &BuildSettings,
        place: &Place,
        client: &Client,
        attachables: Attachables,
        sink: Arc<dyn Sink>,
        key: &str,
    ) -> Result<Option<Self>> {
        let groups = groups(place.default.clone(), &settings.policies)?;
        let engine = Arc::new(Engine::new(client.clone(), attachables));
        let files = Arc::new(Files::new(place.clone(), Arc::clone(&engine)));
        let mut loaded = Vec::new();
        for group in groups {
            let read = files.load(&group.files).await?;
            if !read.is_empty() {
                loaded.push((group, read));
            }
        }
        if loaded.is_empty() {
            return Ok(None);
        }
        let names: Vec<&str> =
            loaded.iter().flat_map(|(_, files)| files).map(|file| file.name.as_str()).collect();
        let log = Arc::new(Log::new(sink, key, format!("loading policies {}", names.join(", "))));
        let env = env(settings, place);
        let platform = engine.platform().await?;
        let mut proxied = false;
        let mut policies = Vec::new();
        for (group, read) in loaded {
            if group.strict && !engine.inquiry().await?.supports(caps::SOURCE_POLICY_SESSION) {
                return Err(Error::user(
                    "strict policy is not supported by the current BuildKit daemon, please upgrade to version v0.27+",
                ));
            }
            let host =
                Host::new(Arc::clone(&files), Arc::clone(&engine), Some(Arc::clone(&log)), group.level);
            let policy = Policy::new(read, env.clone(), Some(platform.clone()), Arc::new(host));
            proxied |= wants_proxy(&policy).await.inspect_err(|e| log.close(Some(e)))?;
            policies.push(policy);
        }
        if proxied {
            if !engine.inquiry().await?.supports(caps::EXEC_META_NETWORK_PROXY) {
                return Err(Error::user(
                    "network proxy requested by policy is not supported by the current BuildKit daemon, please \
                     upgrade to version v0.31+",
                ));
            }
            log.line("policy enabled network proxy");
        }
        let judges = Judges { policies, failure: Mutex::default(), denied: Mutex::default() };
        Ok(Some(Policies { judges: Arc::new(judges), log, proxied }))
    }

    pub(crate) fn offer(&self, attachables: Attachables) -> Attachables {
        attachables.judge(Arc::clone(&self.judges) as Arc<dyn Judge>)
    }

    /// Ends the display, and says what was wrong with a policy where the build failed by that.
    pub(crate) fn finish<T>(&self, result: Result<T>) -> Result<T> {
        let failure = self.judges.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Err(error) = result else {
            self.log.close(None);
            return result;
        };
        let error = match failure {
            Some(failure) if !error.is_canceled() => failure.context("failed to evaluate policy"),
            _ => error,
        };
        let denied = self.judges.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let text = error.to_string();
        let by = denied
            .iter()
            .find(|(id, _)| text.contains(&format!("source {id:?} not allowed by policy: action DENY")));
        let told = error.details().iter().any(|detail| matches!(detail, Detail::Denied { .. }));
        let error = match by {
            // BuildKit does not always pass on what was said.
            Some((_, messages)) if !told && !messages.is_empty() => {
                error.with_detail(Detail::Denied { messages: messages.clone() })
            }
            _ => error,
        };
        self.log.close((told || by.is_some()).then_some(&error));
        Err(error)
    }
}

#[async_trait]
impl Judge for Judges {
    async fn judge(&self, request: Request) -> Result<Answer> {
        for policy in &self.policies {
            let (policy, asked) = (policy.clone(), request.clone());
            let judged = tokio::task::spawn_blocking(move || policy.check(&asked)).await;
            let judged = judged.map_err(|e| Error::internal(format!("a policy broke off: {e}")))?;
            match judged {
                Ok(Answer::Allow) => {}
                Ok(answer) => {
                    if let Answer::Deny { messages } = &answer {
                        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
                        denied.push((request.known.source.identifier, messages.clone()));
                    }
                    return Ok(answer);
                }
                Err(e) => {
                    let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(e.clone());
                    return Err(e);
                }
            }
        }
        Ok(Answer::Allow)
    }
}

async fn wants_proxy(policy: &Policy) -> Result<bool> {
    let policy = policy.clone();
    let caps = tokio::task::spawn_blocking(move || policy.caps()).await;
    let caps = caps.map_err(|e| Error::internal(format!("a policy broke off: {e}")))?;
    let caps = caps.context("failed to evaluate policy caps")?;
    Ok(caps.get(CAP_PROXY) == Some(&true))
}

/// What the policies see of the build.
fn env(settings: &BuildSettings, place: &Place) -> Env {
    let attrs = &settings.frontend.attrs;
    let named = |prefix: &str| {
        let prefix = prefix.to_owned();
        attrs
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())))
    };
    Env {
        args: named("build-arg:").map(|(name, value)| (name, Some(value))).collect(),
        labels: named("label:").collect(),
        filename: place.filename.clone(),
        target: attrs.get("target").cloned().unwrap_or_default(),
        ..Env::default()
    }
}

/// `--policy`, each.
pub(crate) fn flags(values: &[String]) -> Result<Vec<PolicyFlag>> {
    let flag = |value: &String| {
        let fields = crate::flags::fields(value)?;
        let flag = PolicyFlag::of_fields(fields.iter().map(String::as_str));
        flag.with_context(|| format!("failed to read `--policy {value}`"))
            .map_err(|e| e.hint("a policy is named as in `--policy filename=policy.rego`"))
    };
    values.iter().map(flag).collect()
}
