//! Is the client still there.

use std::time::Duration;

use errdefs::{Error, Result};
use proto::health::HealthCheckRequest;
use proto::health::health_client::HealthClient;
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;

use crate::grpcerr;

/// When to ask, how long to wait, and how often to forgive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    interval: Duration,
    timeout: Duration,
    failures: u32,
}

impl Policy {
    /// BuildKit's rhythm: a slow line that is busy with a large context must not end a session.
    pub(crate) fn new(custom: Option<Duration>) -> Self {
        match custom.map(|d| d.max(Duration::from_secs(1))) {
            Some(custom) => Policy { interval: custom, timeout: custom, failures: 1 },
            None => {
                Policy { interval: Duration::from_secs(5), timeout: Duration::from_secs(15), failures: 2 }
            }
        }
    }
}

/// Asks until the peer fails to answer too often; gives the last failure.
pub(crate) async fn watch(channel: Channel, policy: Policy) -> Error {
    let mut client = HealthClient::new(channel);
    let (mut failed, mut took) = (0, Duration::ZERO);
    loop {
        tokio::time::sleep(policy.interval).await;
        let started = Instant::now();
        let limit = policy.timeout.max(took.mul_f64(1.5));
        let result = check(&mut client, limit).await;
        took = started.elapsed();
        match result {
            Ok(()) => failed = 0,
            Err(e) => {
                failed += 1;
                tracing::warn!(error = %e, failed, "session health check failed");
                if failed >= policy.failures {
                    return e.context("session healthcheck failed fatally");
                }
            }
        }
    }
}

async fn check(client: &mut HealthClient<Channel>, limit: Duration) -> Result<()> {
    match timeout(limit, client.check(HealthCheckRequest::default())).await {
        Ok(answer) => answer.map(|_| ()).map_err(grpcerr::from_status),
        Err(_) => {
            Err(Error::environment("context deadline exceeded").with_code(errdefs::Code::DeadlineExceeded))
        }
    }
}
