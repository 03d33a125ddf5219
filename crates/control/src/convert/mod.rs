//! The border: wire types to the engine's words and back, whole, once.

mod history;
mod request;
mod run;
mod status;
mod usage;

pub(crate) use history::{change, history_event, query, record_from_wire};
pub(crate) use request::build_request;
pub(crate) use run::{optional_platform, run_request, window_size};
pub(crate) use status::{status_response, vertex_from_wire};
pub(crate) use usage::{device, gc_policy, prune_options, usage_record};

use jiff::Timestamp;
use oci::Platform;

pub(crate) fn timestamp(time: Timestamp) -> proto::Timestamp {
    // Before the epoch jiff counts nanoseconds down from the second, protobuf counts up.
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    match nanos {
        0.. => proto::Timestamp { seconds, nanos },
        _ => proto::Timestamp { seconds: seconds - 1, nanos: nanos + 1_000_000_000 },
    }
}

pub(crate) fn platform(platform: &Platform) -> proto::pb::Platform {
    proto::pb::Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        os_version: platform.os_version.clone(),
        os_features: platform.os_features.clone(),
    }
}
