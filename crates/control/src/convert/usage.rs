//! What takes up disk, outward, and what may go, inward.

use std::time::Duration;

use errdefs::{Error, Result};
use proto::control as wire;
use proto::worker::{CdiDevice, GcPolicy};
use refs::{Filter, PruneOptions, UsageRecord};

use crate::convert::timestamp;

pub(crate) fn usage_record(record: UsageRecord) -> wire::UsageRecord {
    wire::UsageRecord {
        id: record.id,
        mutable: record.mutable,
        in_use: record.in_use,
        size: i64::try_from(record.size).unwrap_or(i64::MAX),
        parent: String::new(),
        created_at: Some(timestamp(record.created_at)),
        last_used_at: record.last_used_at.map(timestamp),
        usage_count: record.usage_count.try_into().unwrap_or(i64::MAX),
        description: record.description,
        record_type: record.record_type.as_str().to_owned(),
        shared: record.shared,
        parents: record.parents,
    }
}

pub(crate) fn prune_options(request: wire::PruneRequest) -> Result<PruneOptions> {
    let bytes = |n: i64, what: &str| u64::try_from(n).map_err(|_| Error::user(format!("negative {what}")));
    let keep = u64::try_from(request.keep_duration).map_err(|_| Error::user("negative keep duration"))?;
    Ok(PruneOptions {
        filter: Filter::parse(&request.filter)?,
        all: request.all,
        keep_duration: Duration::from_nanos(keep),
        reserved_space: bytes(request.reserved_space, "reserved space")?,
        max_used_space: bytes(request.max_used_space, "max used space")?,
        min_free_space: bytes(request.min_free_space, "min free space")?,
    })
}

pub(crate) fn device(device: cdi::Device) -> CdiDevice {
    let cdi::Device { name, annotations, auto_allowed: auto_allow, .. } = device;
    CdiDevice { name, auto_allow, annotations, on_demand: false }
}

pub(crate) fn gc_policy(policy: &PruneOptions) -> GcPolicy {
    let bytes = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    GcPolicy {
        all: policy.all,
        filters: policy.filter.texts().to_vec(),
        keep_duration: i64::try_from(policy.keep_duration.as_nanos()).unwrap_or(i64::MAX),
        reserved_space: bytes(policy.reserved_space),
        max_used_space: bytes(policy.max_used_space),
        min_free_space: bytes(policy.min_free_space),
    }
}
