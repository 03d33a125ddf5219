//! When to try again.

use std::time::Duration;

use http::Response;
use http::header::RETRY_AFTER;

use crate::config::Retry;

/// The waits between the tries of one request.
pub struct Backoff {
    retry: Retry,
    left: u32,
    wait: Duration,
}

/// Longest wait that a server may ask for.
const LONGEST: Duration = Duration::from_secs(60);

impl Backoff {
    pub fn new(retry: Retry) -> Self {
        Backoff { retry, left: retry.attempts.saturating_sub(1), wait: retry.first_wait }
    }

    /// Waits before the next try; `false` where there is none.
    pub async fn pause(&mut self, asked: Option<Duration>) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        tokio::time::sleep(asked.unwrap_or(self.wait)).await;
        self.wait = (self.wait * 2).min(self.retry.longest_wait);
        true
    }

    /// Whether an answer says to come back later, and when, if it says that.
    pub fn asked<B>(response: &Response<B>) -> Option<Option<Duration>> {
        if !matches!(response.status().as_u16(), 408 | 429 | 500 | 502 | 503 | 504) {
            return None;
        }
        let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        Some(after.map(|seconds| Duration::from_secs(seconds).min(LONGEST)))
    }
}
