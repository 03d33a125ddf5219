//! What jobs get to see: the events of each vertex go to every job that includes it, under the digest and name that
//! the job knows it by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use oci::Digest;
use progress::{Event, Sink, Vertex};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All that one job was shown.
pub(crate) struct JobView {
    sink: Arc<dyn Sink>,
    /// `None` when the job has ended.
    shown: Mutex<Option<HashMap<Digest, Vertex>>>,
}

impl JobView {
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        JobView { sink, shown: Mutex::new(Some(HashMap::new())) }
    }

    /// Shows a vertex as it is now. Once it has started, what it did not need is shown as cached.
    fn update(&self, vertex: Vertex) {
        let mut shown = lock(&self.shown);
        let Some(shown) = shown.as_mut() else { return };
        shown.insert(vertex.digest.clone(), vertex.clone());
        if let Some(started) = vertex.started {
            for below in unneeded(shown, &vertex, started) {
                self.sink.emit(Event::Vertex(below));
            }
        }
        self.sink.emit(Event::Vertex(vertex));
    }

    fn knows(&self, digest: &Digest) -> bool {
        lock(&self.shown).as_ref().is_none_or(|s| s.contains_key(digest))
    }

    fn pass(&self, event: Event) {
        if !self.is_closed() {
            self.sink.emit(event);
        }
    }

    fn is_closed(&self) -> bool {
        lock(&self.shown).is_none()
    }

    /// Ends what had started; nothing is shown after it.
    pub fn close(&self) {
        let Some(shown) = lock(&self.shown).take() else { return };
        let mut open: Vec<Vertex> = shown.into_values().filter(|v| v.completed.is_none()).collect();
        open.retain(|v| v.started.is_some());
        open.sort_by(|a, b| (a.started, &a.digest).cmp(&(b.started, &b.digest)));
        for mut vertex in open {
            vertex.completed = Some(Timestamp::now());
            vertex.error = errdefs::Error::canceled().to_string();
            self.sink.emit(Event::Vertex(vertex));
        }
    }
}

/// Marks all below `vertex` that have not come to an end as cached; inputs before their consumers.
fn unneeded(shown: &mut HashMap<Digest, Vertex>, vertex: &Vertex, started: Timestamp) -> Vec<Vertex> {
    let mut marked = Vec::new();
    let mut rest = vertex.inputs.clone();
    while let Some(digest) = rest.pop() {
        let Some(below) = shown.get_mut(&digest) else { continue };
        if below.cached || below.completed.is_some() {
            continue;
        }
        below.cached = true;
        below.started = Some(started);
        below.completed = Some(started);
        rest.extend(below.inputs.iter().cloned());
        marked.push(below.clone());
    }
    marked.reverse();
    marked
}

/// Where the events of one active vertex go. It is the sink of the vertex's ops.
pub(crate) struct Fan {
    digest: Digest,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Now,
    listeners: Vec<Listener>,
}

#[derive(Clone, Default)]
struct Now {
    cached: bool,
    started: Option<Timestamp>,
    completed: Option<Timestamp>,
    error: String,
}

struct Listener {
    view: Arc<JobView>,
    /// The vertex as this job knows it, not started.
    vertex: Vertex,
    /// The job is shown the same work under another digest already: this one only starts and ends.
    echo: bool,
}

impl Listener {
    fn tell(&self, now: &Now) {
        let mut vertex = self.vertex.clone();
        vertex.started = now.started;
        vertex.completed = now.completed;
        vertex.cached = now.cached || (self.echo && now.completed.is_some() && now.error.is_empty());
        vertex.error.clone_from(&now.error);
        self.view.update(vertex);
    }
}

impl Fan {
    pub fn new(digest: Digest) -> Self {
        Fan { digest, state: Mutex::default() }
    }

    /// Shows the vertex to a job, once.
    pub fn show(&self, view: &Arc<JobView>, vertex: Vertex) {
        let mut state = lock(&self.state);
        state.listeners.retain(|l| !l.view.is_closed());
        let mut own = state.listeners.iter().filter(|l| Arc::ptr_eq(&l.view, view)).peekable();
        let echo = own.peek().is_some();
        if own.any(|l| l.vertex.digest == vertex.digest) {
            return;
        }
        let listener = Listener { view: view.clone(), vertex, echo };
        if state.now.started.is_some() || !view.knows(&listener.vertex.digest) {
            listener.tell(&state.now);
        }
        state.listeners.push(listener);
    }

    pub fn started(&self) {
        self.change(|now| *now = Now { started: Some(Timestamp::now()), ..Now::default() });
    }

    pub fn completed(&self, error: Option<&errdefs::Error>) {
        self.change(|now| {
            now.completed = Some(Timestamp::now());
            now.error = error.map(ToString::to_string).unwrap_or_default();
        });
    }

    /// The result came from a record that took from `since` until now to load.
    pub fn cached(&self, since: Timestamp) {
        self.change(|now| {
            let completed = Some(Timestamp::now());
            *now = Now { cached: true, started: Some(since), completed, error: String::new() };
        });
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        let mut state = lock(&self.state);
        change(&mut state.now);
        for listener in &state.listeners {
            listener.tell(&state.now);
        }
    }

    /// Shows the work of `leader` to all that were shown this vertex.
    pub fn follow(&self, leader: &Fan) {
        let followers = std::mem::take(&mut lock(&self.state).listeners);
        let mut state = lock(&leader.state);
        for mut follower in followers {
            follower.echo |= state.listeners.iter().any(|l| Arc::ptr_eq(&l.view, &follower.view));
            if state.now.started.is_some() {
                follower.tell(&state.now);
            }
            state.listeners.push(follower);
        }
    }
}

impl Sink for Fan {
    fn emit(&self, event: Event) {
        for listener in lock(&self.state).listeners.iter().filter(|l| !l.echo) {
            listener.view.pass(self.renamed(&event, &listener.vertex.digest));
        }
    }
}

impl Fan {
    /// The event as a job knows it that knows the vertex as `digest`. Vertices of an op's own stay as they are.
    fn renamed(&self, event: &Event, digest: &Digest) -> Event {
        let mut event = event.clone();
        let vertex = match &mut event {
            Event::Vertex(_) => return event,
            Event::Status(s) => &mut s.vertex,
            Event::Log(l) => &mut l.vertex,
            Event::Warning(w) => &mut w.vertex,
        };
        if *vertex == self.digest {
            vertex.clone_from(digest);
        }
        event
    }
}
