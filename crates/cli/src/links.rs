//! Builds that go on from what others make: targets of a bake that are contexts of other targets, on one node.
//!
//! A build that others go on from is asked by the client, so that the client has its graph; the others get that graph
//! as an input of their frontend. The graph may ask for folders of the first one's session, and that build holds the
//! results of its steps: so it stays until the others have run. Four marks are passed, in this order:
//!
//! 1. *made*: the frontend has made the graph. Those who go on from it ask theirs; the caches that they read from are
//!    known to the engine then, before any step runs.
//! 2. *evaluated*: all steps have run.
//! 3. *done*: and so have those of all who go on from it. The build exports, and ends.
//! 4. *failed*, in place of any of these.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::{Graphs, Made, SolveRequest};
use errdefs::{Class, Code, Error, Result};
use serde_json::json;
use tokio::sync::{Semaphore, watch};

/// The key of an image config among the metadata of a result.
const CONFIG: &str = "containerimage.config";

/// How far a build is.
#[derive(Clone, Default)]
enum Mark {
    #[default]
    Waiting,
    Made(Arc<Made>),
    Evaluated(Arc<Made>),
    Done,
    Failed,
}

impl Mark {
    fn has_made(&self) -> bool {
        !matches!(self, Mark::Waiting)
    }

    fn has_evaluated(&self) -> bool {
        matches!(self, Mark::Evaluated(_) | Mark::Done | Mark::Failed)
    }

    fn is_over(&self) -> bool {
        matches!(self, Mark::Done | Mark::Failed)
    }
}

/// A build by its node and its target.
type Name = (String, String);

/// All builds of a bake that are tied to others.
#[derive(Default)]
pub(crate) struct Links(HashMap<Name, watch::Sender<Mark>>);

/// The place of one build among the others. Dropped early, it tells them that the build has failed.
pub(crate) struct Link {
    own: watch::Sender<Mark>,
    pub bases: Vec<Base>,
    dependents: Vec<watch::Receiver<Mark>>,
    /// How many builds may run steps at a time.
    slots: Arc<Semaphore>,
}

/// A build that this one goes on from.
#[derive(Clone)]
pub(crate) struct Base {
    target: String,
    /// Options of the frontend that name it: `context:NAME`.
    contexts: Vec<String>,
    mark: watch::Receiver<Mark>,
}

impl Links {
    pub(crate) fn add(&mut self, node: &str, target: &str) {
        self.0.entry((node.to_owned(), target.to_owned())).or_default();
    }

    fn mark(&self, node: &str, target: &str) -> Option<&watch::Sender<Mark>> {
        self.0.get(&(node.to_owned(), target.to_owned()))
    }

    /// The place of a build: `bases` are targets with the options that name them, `dependents` the targets that go on
    /// from it.
    ///
    /// # Errors
    /// A base is not built on this node.
    pub(crate) fn link<'t>(
        &self,
        node: &str,
        target: &str,
        bases: BTreeMap<String, Vec<String>>,
        dependents: impl Iterator<Item = &'t str>,
        slots: &Arc<Semaphore>,
    ) -> Result<Link> {
        let base = |(base, contexts): (String, Vec<String>)| match self.mark(node, &base) {
            Some(mark) => Ok(Base { target: base, contexts, mark: mark.subscribe() }),
            None => Err(Error::user(format!(
                "failed to use {base} as a context of {target} because they build on different nodes"
            ))
            .hint(format!("give `{base}` the platforms of `{target}`, or a node that builds those"))),
        };
        let own = self.mark(node, target).ok_or_else(|| Error::internal("a target that nobody knows"))?;
        Ok(Link {
            own: own.clone(),
            bases: bases.into_iter().map(base).collect::<Result<_>>()?,
            dependents: dependents
                .filter_map(|name| self.mark(node, name))
                .map(watch::Sender::subscribe)
                .collect(),
            slots: Arc::clone(slots),
        })
    }
}

impl Link {
    /// Waits for the graphs of the bases, and puts them into the request.
    ///
    /// # Errors
    /// A base has failed, or has no files.
    pub(crate) async fn go_on_from(&self, request: &mut SolveRequest) -> Result<()> {
        request.ask_frontend = true;
        for base in &self.bases {
            let mark = reached(&base.mark, Mark::has_made).await;
            let (Mark::Made(made) | Mark::Evaluated(made)) = mark else { return Err(base.failed()) };
            if made.is_empty() {
                let target = &base.target;
                return Err(Error::user(format!("the context {target} makes an image without files")).hint(
                    format!("no build goes on from that; let `{target}` make one, as `WORKDIR /` does"),
                ));
            }
            base.put(&made, request);
        }
        Ok(())
    }

    /// Takes the build from its graph to the end of its steps, and on until no other needs it.
    ///
    /// # Errors
    /// A step fails, or a base has failed.
    pub(crate) async fn carry(self, made: Arc<Made>) -> Result<()> {
        self.own.send_replace(Mark::Made(Arc::clone(&made)));
        for dependent in &self.dependents {
            reached(dependent, Mark::has_made).await;
        }
        for base in &self.bases {
            if let Mark::Failed = reached(&base.mark, Mark::has_evaluated).await {
                return Err(base.failed());
            }
        }
        // Not held while it waits: those that it waits for need one.
        let slot = self.slots.acquire().await;
        made.evaluate().await?;
        drop(slot);
        self.own.send_replace(Mark::Evaluated(made));
        for dependent in &self.dependents {
            reached(dependent, Mark::is_over).await;
        }
        self.own.send_replace(Mark::Done);
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.own.send_if_modified(|mark| {
            let fails = !mark.is_over();
            if fails {
                *mark = Mark::Failed;
            }
            fails
        });
    }
}

impl Base {
    /// Why nothing goes on from it, if it has failed.
    pub(crate) fn failure(&self) -> Option<Error> {
        matches!(*self.mark.borrow(), Mark::Failed).then(|| self.failed())
    }

    fn failed(&self) -> Error {
        let message = format!("not built: its context {} has failed", self.target);
        Error::new(Class::Canceled, Code::Canceled, message)
    }

    /// Puts what it made in the place of its name.
    fn put(&self, made: &Made, request: &mut SolveRequest) {
        // Inputs called `context` or `dockerfile` have a meaning of their own.
        let name = format!("target-{}", self.target);
        let mut put = |suffix: &str, graph: &llb::Definition, config: Option<&Vec<u8>>| {
            let input = format!("{name}{suffix}");
            for context in &self.contexts {
                request.frontend_attrs.insert(format!("{context}{suffix}"), format!("input:{input}"));
            }
            if let Some(config) = config {
                let metadata = json!({ CONFIG: STANDARD.encode(config) }).to_string();
                request.frontend_attrs.insert(format!("input-metadata:{input}"), metadata);
            }
            request.frontend_inputs.insert(input, graph.clone());
        };
        match &made.graphs {
            Graphs::None => {}
            Graphs::One(graph) => put("", graph, made.metadata.get(CONFIG)),
            Graphs::ByPlatform(graphs) => {
                for (platform, graph) in graphs {
                    let config = made.metadata.get(&format!("{CONFIG}/{platform}"));
                    put(&format!("::{platform}"), graph, config);
                }
                self.contexts.iter().for_each(|context| _ = request.frontend_attrs.remove(context));
            }
        }
    }
}

/// Waits until a build has come so far. One that is gone has failed.
async fn reached(mark: &watch::Receiver<Mark>, far: impl FnMut(&Mark) -> bool) -> Mark {
    let mut mark = mark.clone();
    mark.wait_for(far).await.map_or(Mark::Failed, |mark| mark.clone())
}
