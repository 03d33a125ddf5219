//! Removes layers behind everybody's back: one may hold many files.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use errdefs::Result;
use snapshot::{LayerId, Leftover};

use crate::ledger::Ledger;

/// A layer, and whether the ledger lacks it.
type Job = (LayerId, Arc<AtomicBool>);

/// A thread that removes layers. Dropped, it finishes what it was given.
pub struct Janitor {
    queue: Mutex<Option<Sender<Rubbish>>>,
    thread: Option<JoinHandle<()>>,
}

enum Rubbish {
    Layer(Job),
    /// Of an earlier run.
    Leftover(Leftover),
    /// Answers when all before it is gone.
    Last(Sender<()>),
}

impl Janitor {
    pub fn start(snapshots: Arc<snapshot::Store>, ledger: Arc<Ledger>) -> Result<Self> {
        let (sender, queue) = channel::<Rubbish>();
        let thread = std::thread::Builder::new().name("refs-janitor".into()).spawn(move || {
            for rubbish in queue {
                let (name, removed) = match rubbish {
                    Rubbish::Layer((layer, uncounted)) => {
                        (layer.to_string(), ledger.remove(&snapshots, &layer, &uncounted).map(drop))
                    }
                    Rubbish::Leftover(leftover) => ("of an earlier run".to_owned(), leftover.remove()),
                    Rubbish::Last(answer) => {
                        // Whoever asked may have lost patience.
                        let _ = answer.send(());
                        continue;
                    }
                };
                if let Err(e) = removed {
                    tracing::warn!(layer = name, "a layer is not removed: {e}");
                }
            }
        })?;
        Ok(Janitor { queue: Mutex::new(Some(sender)), thread: Some(thread) })
    }

    /// Removes a layer, which was counted or not.
    pub fn remove(&self, layer: LayerId, uncounted: Arc<AtomicBool>) {
        self.send(Rubbish::Layer((layer, uncounted)));
    }

    pub fn remove_leftover(&self, leftover: Leftover) {
        self.send(Rubbish::Leftover(leftover));
    }

    /// Waits until all that was given so far is gone; says whether that was within `patience`.
    pub fn finish(&self, patience: Duration) -> bool {
        let (answer, done) = channel();
        self.send(Rubbish::Last(answer));
        done.recv_timeout(patience).is_ok()
    }

    fn send(&self, rubbish: Rubbish) {
        if let Some(queue) = &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            // What it does not get is swept at the next start.
            let _ = queue.send(rubbish);
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the janitor panicked");
        }
    }
}
