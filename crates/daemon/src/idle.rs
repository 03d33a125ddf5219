//! Notices that nobody uses the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Who has left for so long does not come back at once.
const SETTLED: Duration = Duration::from_millis(500);

/// Counts open connections.
#[derive(Clone, Default)]
pub struct Clients(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: AtomicUsize,
    changed: Notify,
}

/// One open connection; it ends when this is dropped.
pub struct Client(Arc<Inner>);

impl Clients {
    pub fn enter(&self) -> Client {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
        Client(Arc::clone(&self.0))
    }

    /// Returns as soon as somebody is connected.
    async fn somebody_comes(&self) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.0.open.load(Ordering::SeqCst) > 0 {
                return;
            }
            changed.await;
        }
    }

    /// Returns once nobody has been connected for `timeout`.
    pub async fn idle_for(&self, timeout: Duration) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.0.open.load(Ordering::SeqCst) > 0 {
                changed.await;
            } else if tokio::time::timeout(timeout, changed).await.is_err() {
                return;
            }
        }
    }
}

/// Pieces of memory of this size, in bytes, are no part of the heap.
const LARGE: libc::c_int = 256 << 10;

/// Lets large pieces come from the system and go back to it at once. By itself the allocator would soon keep them, and each
/// thread's heap would stay as large as the most that it ever held.
pub fn keep_large_pieces_apart() {
    // SAFETY: the call takes numbers alone and may be made at any time, from any thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Gives memory back to the machine whenever the last client has left: after a crowd of builds the allocator keeps much
/// of what they used. Never ends.
pub async fn give_back_memory(clients: Clients) {
    loop {
        clients.idle_for(SETTLED).await;
        let trimmed = tokio::task::spawn_blocking(|| {
            // SAFETY: the call takes no pointers and may be made at any time, from any thread.
            unsafe { libc::malloc_trim(0) }
        });
        // That it could not run does no harm.
        let _ = trimmed.await;
        clients.somebody_comes().await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_counts_from_the_last_client() {
        let clients = Clients::default();
        let client = clients.enter();
        let waiting = tokio::spawn({
            let clients = clients.clone();
            async move { clients.idle_for(Duration::from_secs(60)).await }
        });
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(!waiting.is_finished());
        drop(client);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert!(waiting.is_finished());
    }
}
