//! Runs the builds of all targets.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use errdefs::{Error, Result, ResultExt as _};
use futures_util::future::join_all;
use progress::SolveStatus;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::commands::bake::label::{self, Tellers};
use crate::commands::bake::shared::SharedFolders;
use crate::environment::Environment;
use crate::inputs::TARGET;
use crate::job::{Built, Common, Job, until};
use crate::links::Links;
use crate::settings::BuildSettings;

/// So many builds are at work at a time for each processor. Most of the time a build waits: for a registry, a disk, a
/// download of its steps. Some for each processor keep all of them busy; more would only hold memory, and end later.
const BUILDS_PER_PROCESSOR: usize = 4;
/// And so many at least: on a small machine it is the waiting that counts.
const FEWEST_BUILDS: usize = 8;

/// All builds, ready to run, by target.
pub(super) struct Builds<'s> {
    pub jobs: BTreeMap<&'s str, Job>,
    slots: Arc<Semaphore>,
    /// Served to the end.
    folders: SharedFolders,
}

/// How the builds went.
#[derive(Default)]
pub(super) struct Outcome {
    pub built: BTreeMap<String, Built>,
    /// In the order in which it happened; those that were broken off too.
    pub failed: Vec<(String, Error)>,
}

/// A target's bases, each with the options of the frontend that name it.
type Bases = BTreeMap<String, Vec<String>>;

impl<'s> Builds<'s> {
    /// Looks at all that the targets read and write, and finds the engines.
    pub(super) async fn prepare(
        settings: &'s BTreeMap<String, BuildSettings>,
        common: &Common<'_>,
        display: mpsc::Sender<SolveStatus>,
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let tellers = Arc::new(Tellers::default());
        let mut jobs = BTreeMap::new();
        for (number, (name, build)) in settings.iter().enumerate() {
            let sender = match settings.len() {
                1 => display.clone(),
                _ => label::labelled(number, name, &tellers, display.clone()),
            };
            let job = until(cancel, Job::prepare(build, common, sender)).await;
            jobs.insert(name.as_str(), job.with_context(|| format!("target {name}"))?);
        }
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let slots = Arc::new(Semaphore::new((processors * BUILDS_PER_PROCESSOR).max(FEWEST_BUILDS)));
        link(&mut jobs, &slots)?;
        let folders = SharedFolders::of(jobs.values_mut());
        Ok(Builds { jobs, slots, folders })
    }

    /// Runs them side by side. The first failure ends the others, unless all is to be built that can be. All that could
    /// still send to the display is gone when it returns.
    pub(super) async fn run(
        self,
        keep_going: bool,
        env: &Environment,
        cancel: &CancellationToken,
    ) -> Outcome {
        let Builds { jobs, slots, folders } = self;
        let outcome = Mutex::new(Outcome::default());
        let together = cancel.child_token();
        let (slots, outcome_of, together) = (&slots, &outcome, &together);
        join_all(jobs.into_iter().map(|(name, job)| async move {
            let done = run_one(job, slots, env, together).await;
            let mut outcome = outcome_of.lock().unwrap_or_else(PoisonError::into_inner);
            match done {
                Ok(built) => _ = outcome.built.insert(name.to_owned(), built),
                Err(e) => {
                    // A build that was broken off has somebody else's failure.
                    if !keep_going && !e.is_canceled() {
                        together.cancel();
                    }
                    outcome.failed.push((name.to_owned(), e));
                }
            }
        }))
        .await;
        drop(folders);
        outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builds that wait for others take their slots by themselves, while they run steps.
async fn run_one(
    job: Job,
    slots: &Arc<Semaphore>,
    env: &Environment,
    cancel: &CancellationToken,
) -> Result<Built> {
    let waits = job.parts.iter().any(|part| part.link.is_some());
    let slot = async { slots.acquire().await.map_err(|e| Error::internal(e.to_string())) };
    let _slot = if waits { None } else { Some(until(cancel, slot).await?) };
    job.run(env, cancel).await
}

/// Ties the builds of targets that are contexts of others to those.
fn link(jobs: &mut BTreeMap<&str, Job>, slots: &Arc<Semaphore>) -> Result<()> {
    let bases: BTreeMap<String, Bases> =
        jobs.iter().map(|(name, job)| ((*name).to_owned(), bases(job))).collect();
    let depends = |name: &str, base: &str| bases[name].contains_key(base);
    let is_tied = |name: &str| !bases[name].is_empty() || bases.keys().any(|other| depends(other, name));
    let mut links = Links::default();
    for (name, job) in jobs.iter().filter(|(name, _)| is_tied(name)) {
        job.parts.iter().for_each(|part| links.add(&part.node.name, name));
    }
    for (name, job) in jobs.iter_mut().filter(|(name, _)| is_tied(name)) {
        let dependents = || bases.keys().map(String::as_str).filter(|other| depends(other, name));
        for part in &mut job.parts {
            let link = links.link(&part.node.name, name, bases[*name].clone(), dependents(), slots);
            part.link = Some(link.with_context(|| format!("target {name}"))?);
        }
    }
    Ok(())
}

fn bases(job: &Job) -> Bases {
    let mut bases = Bases::new();
    let attrs = job.parts.iter().flat_map(|part| &part.request.frontend_attrs);
    for (key, value) in attrs.filter(|(key, _)| key.starts_with("context:")) {
        let Some(target) = value.strip_prefix(TARGET) else { continue };
        let named = bases.entry(target.to_owned()).or_default();
        if !named.contains(key) {
            named.push(key.clone());
        }
    }
    bases
}
