//! Makes hard links on a thread of its own, while the builder decides on the next ones.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use errdefs::{Error, Result};

use super::TreeBuilder;
use super::place::copy_file;
use crate::sys;

/// Links that the thread is given at once; fewer in all are made without one.
const BATCH: usize = 256;
/// Batches that wait for the thread.
const QUEUE: usize = 8;

/// A link that is to be made.
#[derive(Debug)]
pub struct Link {
    pub from: PathBuf,
    pub to: PathBuf,
    pub ino: u64,
}

#[derive(Debug, Default)]
pub struct Linker {
    batch: Vec<Link>,
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    queue: SyncSender<Vec<Link>>,
    /// Gives the links that the file system could not make.
    thread: JoinHandle<Result<Vec<Link>>>,
}

impl Linker {
    pub fn push(&mut self, link: Link) -> Result<()> {
        self.batch.push(link);
        if self.batch.len() < BATCH {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start()?,
        };
        if worker.queue.send(batch).is_err() {
            // It ended early, and says why.
            return worker.end().map(drop);
        }
        self.worker = Some(worker);
        Ok(())
    }

    /// Waits until all links are there; gives those that the file system could not make.
    fn settle(&mut self) -> Result<Vec<Link>> {
        let mut failed = self.worker.take().map_or(Ok(Vec::new()), Worker::end)?;
        make(std::mem::take(&mut self.batch), &mut failed)?;
        Ok(failed)
    }
}

impl Drop for Linker {
    fn drop(&mut self) {
        // Nothing may come into the tree any more when it is removed.
        if let Some(worker) = self.worker.take() {
            let _failed_already = worker.end();
        }
    }
}

impl Worker {
    fn start() -> Result<Self> {
        let (queue, batches) = sync_channel::<Vec<Link>>(QUEUE);
        let thread = std::thread::Builder::new().name("linker".into()).spawn(move || {
            let mut failed = Vec::new();
            for batch in batches {
                make(batch, &mut failed)?;
            }
            Ok(failed)
        });
        Ok(Worker { queue, thread: thread.map_err(|e| Error::from(e).context("failed to start a thread"))? })
    }

    fn end(self) -> Result<Vec<Link>> {
        drop(self.queue);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn make(links: Vec<Link>, failed: &mut Vec<Link>) -> Result<()> {
    for link in links {
        if !sys::link(&link.from, &link.to)? {
            failed.push(link);
        }
    }
    Ok(())
}

impl TreeBuilder {
    /// Lets links be made behind the back of what follows, until they are [settled](Self::settle_links).
    pub(super) fn defer_links(&mut self) {
        self.linker.get_or_insert_default();
    }

    /// Waits for the links that were deferred. What could not be linked is copied.
    pub(super) fn settle_links(&mut self) -> Result<()> {
        let Some(linker) = &mut self.linker else { return Ok(()) };
        for link in linker.settle()? {
            self.tree.shared.remove(link.ino);
            copy_file(&link.from, &link.to, None)?;
        }
        Ok(())
    }
}
