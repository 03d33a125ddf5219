//! Removes layers behind everybody's back: one may hold many files.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use errdefs::Result;
use snapshot::LayerId;

/// A thread that removes layers. Dropped, it finishes what it was given.
pub struct Janitor {
    queue: Mutex<Option<Sender<LayerId>>>,
    thread: Option<JoinHandle<()>>,
}

impl Janitor {
    pub fn start(snapshots: Arc<snapshot::Store>) -> Result<Self> {
        let (sender, queue) = channel::<LayerId>();
        let thread = std::thread::Builder::new().name("refs-janitor".into()).spawn(move || {
            for layer in queue {
                if let Err(e) = snapshots.remove(&layer) {
                    tracing::warn!(%layer, "a layer is not removed: {e}");
                }
            }
        })?;
        Ok(Janitor { queue: Mutex::new(Some(sender)), thread: Some(thread) })
    }

    pub fn remove(&self, layer: LayerId) {
        if let Some(queue) = &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            // What it does not get is swept at the next start.
            let _ = queue.send(layer);
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
