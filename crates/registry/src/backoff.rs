//! When to try again.

use std::time::Duration;

use crate::config::Retry;

/// The waits between the tries of one request.
pub struct Backoff {
    retry: Retry,
    left: u32,
    wait: Duration,
}

/// Longest wait that a server may ask for: who is to wait longer is told so.
const LONGEST: Duration = Duration::from_secs(300);

impl Backoff {
    pub fn new(retry: Retry) -> Self {
        Backoff { retry, left: retry.attempts.saturating_sub(1), wait: retry.first_wait }
    }

    /// The wait before the next try; `None` where there is none. `asked` is what the server wants.
    pub fn next_wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let wait = asked.unwrap_or(self.wait);
        if self.left == 0 || wait > LONGEST {
            return None;
        }
        self.left -= 1;
        self.wait = (self.wait * 2).min(self.retry.longest_wait);
        Some(wait)
    }

    /// Waits before the next try; `false` where there is none.
    pub async fn pause(&mut self) -> bool {
        let Some(wait) = self.next_wait(None) else { return false };
        tokio::time::sleep(wait).await;
        true
    }

    /// Begins anew: it went well for a while.
    pub fn reset(&mut self) {
        *self = Self::new(self.retry);
    }
}
