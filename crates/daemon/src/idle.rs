//! Notices that nobody uses the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

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
