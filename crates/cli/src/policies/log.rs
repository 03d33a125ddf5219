//! A vertex that shows what policies do: it is there while they speak, and ends when they have been silent for a moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use errdefs::Error;
use progress::{Sink, Step};
use tokio::runtime::Handle;

/// So long after the last word, the vertex ends.
const SILENCE: Duration = Duration::from_millis(500);

pub(crate) struct Log {
    sink: Arc<dyn Sink>,
    key: String,
    name: String,
    runtime: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    step: Option<Step>,
    /// How often somebody spoke.
    spoken: u64,
    closed: bool,
}

impl Log {
    /// To be made in a runtime. `key` is unique in the build.
    pub(crate) fn new(sink: Arc<dyn Sink>, key: &str, name: String) -> Self {
        let key = format!("policies {key}");
        Log { sink, key, name, runtime: Handle::current(), state: Mutex::default() }
    }

    fn start(&self) -> Step {
        Step::start(Arc::clone(&self.sink), &self.key, self.name.clone())
    }

    pub(crate) fn line(self: &Arc<Self>, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return;
        }
        state.spoken += 1;
        let step = state.step.get_or_insert_with(|| self.start());
        step.log(1, format!("{text}\n").into());
        let (log, spoken) = (Arc::clone(self), state.spoken);
        self.runtime.spawn(async move {
            tokio::time::sleep(SILENCE).await;
            log.end_if_silent(spoken);
        });
    }

    fn end_if_silent(&self, since: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.spoken == since
            && let Some(step) = state.step.take()
        {
            let _ = step.finish(Ok(()));
        }
    }

    /// Ends the vertex for good; with an error, if policies made the build fail.
    pub(crate) fn close(&self, error: Option<&Error>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        let step = match (state.step.take(), error) {
            (Some(step), _) => step,
            (None, Some(_)) => self.start(),
            (None, None) => return,
        };
        let _ = step.finish(error.map_or(Ok(()), |error| Err(error.clone())));
    }
}
