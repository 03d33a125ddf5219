//! Text ops, and a sink that remembers.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use errdefs::{Error, Result};
use oci::Digest;
use progress::{Event, Sink};
use solver::{
    CacheMap, CacheMapPart, ContentKey, Dep, Domain, Edge, Job, MemoryKeys, MemoryResults, Op, OpContext,
    Options, ParallelClass, Scheduler, Vertex, VertexOptions,
};
use tokio::sync::Notify;

pub struct Text;

impl Domain for Text {
    type Value = String;
    type JobContext = String;
}

type Work =
    Box<dyn Fn(Cx, Vec<String>) -> Pin<Box<dyn Future<Output = Result<String>> + Send>> + Send + Sync>;

/// What a test op gets of its context.
pub type Cx = Arc<OpContext<Text>>;

pub struct TextOp {
    key: String,
    /// How many inputs count by content.
    content: usize,
    /// The key is not known at once.
    slow_key: bool,
    /// Told when the key, or what an input holds, is asked for; neither is ever known then.
    endless_key: Option<Arc<Notify>>,
    endless_content: Option<Arc<Notify>>,
    key_error: Option<&'static str>,
    content_error: Option<&'static str>,
    class: ParallelClass,
    work: Option<Work>,
}

pub struct Make {
    name: String,
    inputs: Vec<Edge<Text>>,
    op: TextOp,
    options: VertexOptions,
}

/// A vertex with the value `name(inputs)`.
pub fn vertex(name: &str, inputs: &[&Arc<Vertex<Text>>]) -> Make {
    let edge = |v: &&Arc<Vertex<Text>>| Edge { vertex: (*v).clone(), index: 0 };
    let op = TextOp {
        key: name.to_owned(),
        content: 0,
        slow_key: false,
        endless_key: None,
        endless_content: None,
        key_error: None,
        content_error: None,
        class: ParallelClass::Free,
        work: None,
    };
    Make {
        name: name.into(),
        inputs: inputs.iter().map(edge).collect(),
        op,
        options: VertexOptions::default(),
    }
}

impl Make {
    pub fn key(mut self, key: &str) -> Self {
        self.op.key = key.into();
        self
    }

    pub fn slow_key(mut self) -> Self {
        self.op.slow_key = true;
        self
    }

    pub fn endless_key(mut self, asked: &Arc<Notify>) -> Self {
        self.op.endless_key = Some(asked.clone());
        self
    }

    pub fn endless_content(mut self, asked: &Arc<Notify>) -> Self {
        self.op.endless_content = Some(asked.clone());
        self.content()
    }

    /// Inputs count by content.
    pub fn content(mut self) -> Self {
        self.op.content = self.inputs.len();
        self
    }

    pub fn key_fails(mut self, error: &'static str) -> Self {
        self.op.key_error = Some(error);
        self
    }

    pub fn content_fails(mut self, error: &'static str) -> Self {
        self.op.content_error = Some(error);
        self.content()
    }

    pub fn limited(mut self) -> Self {
        self.op.class = ParallelClass::Limited;
        self
    }

    pub fn work<F>(mut self, work: impl Fn(Cx, Vec<String>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String>> + Send + 'static,
    {
        self.op.work = Some(Box::new(move |cx, inputs| Box::pin(work(cx, inputs))));
        self
    }

    pub fn fails(self, error: &'static str) -> Self {
        self.work(move |_, _| async move { Err(Error::user(error)) })
    }

    pub fn done(self) -> Arc<Vertex<Text>> {
        let below: Vec<String> = self.inputs.iter().map(|e| e.vertex.digest.to_string()).collect();
        let digest = Digest::of(format!("{} {below:?}", self.name));
        let Make { name, inputs, op, options } = self;
        Arc::new(Vertex { digest, name, inputs, op: Arc::new(op), options })
    }
}

#[async_trait]
impl Op<Text> for TextOp {
    async fn cache_map(&self, _: &OpContext<Text>, _: usize) -> Result<CacheMapPart<Text>> {
        if self.slow_key {
            tokio::task::yield_now().await;
        }
        if let Some(asked) = &self.endless_key {
            asked.notify_one();
            return std::future::pending().await;
        }
        if let Some(error) = self.key_error {
            return Err(Error::user(error));
        }
        let mut map = CacheMap::new(Digest::of(&self.key));
        if self.content > 0 {
            let content: Arc<dyn ContentKey<Text>> =
                Arc::new(Content { error: self.content_error, endless: self.endless_content.clone() });
            map.deps =
                (0..self.content).map(|_| Dep { selector: None, content: Some(content.clone()) }).collect();
        }
        Ok(CacheMapPart::only(map))
    }

    async fn exec(&self, cx: &OpContext<Text>, inputs: Vec<String>) -> Result<Vec<Option<String>>> {
        let Some(work) = &self.work else {
            let value = if inputs.is_empty() {
                self.key.clone()
            } else {
                format!("{}({})", self.key, inputs.join(","))
            };
            return Ok(vec![Some(value)]);
        };
        Ok(vec![Some(work(Arc::new(cx.clone()), inputs).await?)])
    }

    fn parallel_class(&self) -> ParallelClass {
        self.class
    }
}

struct Content {
    error: Option<&'static str>,
    endless: Option<Arc<Notify>>,
}

#[async_trait]
impl ContentKey<Text> for Content {
    async fn key(&self, _: &OpContext<Text>, input: &String) -> Result<Option<Digest>> {
        if let Some(asked) = &self.endless {
            asked.notify_one();
            return std::future::pending().await;
        }
        match self.error {
            Some(error) => Err(Error::not_found(error)),
            None => Ok(Some(Digest::of(input))),
        }
    }
}

/// Remembers what it is told, as short lines.
#[derive(Default)]
pub struct Memory(Mutex<Vec<Event>>);

impl Sink for Memory {
    fn emit(&self, event: Event) {
        self.0.lock().expect("no test panics while it holds this").push(event);
    }
}

impl Memory {
    /// One line an event: `name`, `name started`, `name done`, `name CACHED`, `name ERROR ..`, `name: log`.
    pub fn lines(&self) -> Vec<String> {
        let events = self.0.lock().expect("no test panics while it holds this");
        let name = |digest: &Digest| {
            let named = events.iter().find_map(|e| match e {
                Event::Vertex(v) if v.digest == *digest => Some(v.name.clone()),
                _ => None,
            });
            named.unwrap_or_else(|| "?".into())
        };
        let line = |event: &Event| match event {
            Event::Vertex(v) => match (v.started, v.completed) {
                (None, _) => v.name.clone(),
                _ if !v.error.is_empty() => format!("{} ERROR {}", v.name, v.error),
                (_, Some(_)) if v.cached => format!("{} CACHED", v.name),
                (_, Some(_)) => format!("{} done", v.name),
                (_, None) => format!("{} started", v.name),
            },
            Event::Log(l) => format!("{}: {}", name(&l.vertex), String::from_utf8_lossy(&l.data)),
            Event::Status(s) => format!("{}: {} {}/{}", name(&s.vertex), s.id, s.current, s.total),
            Event::Warning(w) => format!("{}: {}", name(&w.vertex), w.short),
        };
        events.iter().map(line).collect()
    }

    pub fn take(&self) -> Vec<String> {
        let lines = self.lines();
        self.0.lock().expect("no test panics while it holds this").clear();
        lines
    }
}

pub struct World {
    pub scheduler: Scheduler<Text>,
    pub results: Arc<MemoryResults<String>>,
}

impl World {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let results = Arc::new(MemoryResults::default());
        World {
            scheduler: Scheduler::new(Arc::new(MemoryKeys::default()), results.clone(), options),
            results,
        }
    }

    pub fn job(&self, id: &str) -> (Job<Text>, Arc<Memory>) {
        let memory = Arc::new(Memory::default());
        (self.scheduler.job(id, Arc::new(id.to_owned()), memory.clone()), memory)
    }
}

pub fn edge(vertex: &Arc<Vertex<Text>>) -> Edge<Text> {
    Edge { vertex: vertex.clone(), index: 0 }
}
