//! One display for all targets of a bake: steps are told by the target that came to them first, once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::Digest;
use progress::SolveStatus;
use tokio::sync::mpsc;

use crate::nodes::labelled_name;

/// Status messages that wait for the display, of one target.
const BACKLOG: usize = 64;

/// Who tells which step.
#[derive(Default)]
pub(super) struct Tellers(Mutex<HashMap<Digest, Told>>);

struct Told {
    by: usize,
    /// It is over; nobody else tells it again.
    ended: bool,
}

impl Tellers {
    fn known(&self) -> MutexGuard<'_, HashMap<Digest, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves to a target what is its own to tell, with its name in front.
    fn filter(&self, by: usize, target: &str, status: &mut SolveStatus) {
        let mut known = self.known();
        let mut is_own =
            |digest: &Digest| known.entry(digest.clone()).or_insert(Told { by, ended: false }).by == by;
        status.vertexes.retain(|v| is_own(&v.digest));
        status.statuses.retain(|s| is_own(&s.vertex));
        status.logs.retain(|l| is_own(&l.vertex));
        status.warnings.retain(|w| is_own(&w.vertex));
        for vertex in &mut status.vertexes {
            vertex.name = labelled_name(target, &vertex.name);
            if let Some(group) = &mut vertex.progress_group {
                group.name = labelled_name(target, &group.name);
            }
            if let Some(told) = known.get_mut(&vertex.digest) {
                // What was broken off for one may go on for others.
                told.ended = vertex.completed.is_some() && vertex.error.is_empty();
            }
        }
    }

    /// What a target has not told to its end, others may.
    fn leave(&self, by: usize) {
        self.known().retain(|_, told| told.ended || told.by != by);
    }
}

/// A way to the display for a target of this number.
pub(super) fn labelled(
    number: usize,
    target: &str,
    tellers: &Arc<Tellers>,
    display: mpsc::Sender<SolveStatus>,
) -> mpsc::Sender<SolveStatus> {
    let (sender, mut messages) = mpsc::channel::<SolveStatus>(BACKLOG);
    let (target, tellers) = (target.to_owned(), Arc::clone(tellers));
    tokio::spawn(async move {
        while let Some(mut status) = messages.recv().await {
            tellers.filter(number, &target, &mut status);
            let is_empty = status.vertexes.is_empty()
                && status.statuses.is_empty()
                && status.logs.is_empty()
                && status.warnings.is_empty();
            if !is_empty && display.send(status).await.is_err() {
                break;
            }
        }
        tellers.leave(number);
    });
    sender
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use progress::{Vertex, VertexLog};

    use super::*;

    fn step(name: &str, is_over: bool) -> SolveStatus {
        let vertex = Vertex {
            digest: Digest::of("step"),
            inputs: Vec::new(),
            name: name.into(),
            cached: false,
            started: Some(Timestamp::UNIX_EPOCH),
            completed: is_over.then_some(Timestamp::UNIX_EPOCH),
            error: String::new(),
            progress_group: None,
        };
        let log = VertexLog {
            vertex: vertex.digest.clone(),
            timestamp: Timestamp::UNIX_EPOCH,
            stream: 1,
            data: "hi".into(),
        };
        SolveStatus { vertexes: vec![vertex], logs: vec![log], ..SolveStatus::default() }
    }

    fn told(tellers: &Tellers, by: usize, mut status: SolveStatus) -> String {
        tellers.filter(by, ["a", "b"][by], &mut status);
        status
            .vertexes
            .iter()
            .map(|v| v.name.clone())
            .chain(status.logs.iter().map(|_| " log".into()))
            .collect()
    }

    #[test]
    fn a_step_of_two_targets_is_told_once() {
        let tellers = Tellers::default();
        assert_eq!(told(&tellers, 0, step("[1/2] RUN x", false)), "[a 1/2] RUN x log");
        assert_eq!(told(&tellers, 1, step("[1/2] RUN x", false)), "");
        assert_eq!(told(&tellers, 0, step("[1/2] RUN x", true)), "[a 1/2] RUN x log");
        tellers.leave(0);
        assert_eq!(told(&tellers, 1, step("[1/2] RUN x", true)), "");
    }

    #[test]
    fn what_one_target_left_open_another_tells() {
        let tellers = Tellers::default();
        told(&tellers, 0, step("exporting", false));
        tellers.leave(0);
        assert_eq!(told(&tellers, 1, step("exporting", true)), "[b] exporting log");
    }
}
