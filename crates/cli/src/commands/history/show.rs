//! How builds are told of.

use std::time::Duration;

use client::BuildRecord;
use jiff::Timestamp;

/// gRPC's number of what was cancelled.
const CANCELED: i32 = 1;

pub(super) fn status(r: &BuildRecord) -> &'static str {
    match (&r.completed_at, &r.error) {
        (None, _) => "Running",
        (Some(_), None) => "Completed",
        (Some(_), Some(_)) => "Error",
    }
}

pub(super) fn is_canceled(r: &BuildRecord) -> bool {
    r.error.as_ref().is_some_and(|e| e.code == CANCELED || e.message.contains("context canceled"))
}

/// How long it took, or takes so far.
pub(super) fn took(r: &BuildRecord, now: Timestamp) -> Duration {
    let Some(from) = r.created_at else { return Duration::ZERO };
    let to = r.completed_at.unwrap_or(now);
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

pub(super) fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", took.as_secs_f64()),
        _ => format!("{}m {:2}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration(Duration::from_millis(1234)), "1.2s");
        assert_eq!(duration(Duration::from_secs(61)), "1m  1s");
        assert_eq!(duration(Duration::from_secs(3600)), "60m  0s");
    }
}
