use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::machine::Cpu;
use crate::pressure::Pressure;
use crate::traffic::Traffic;

/// What a control group used while it was there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Usage {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// What the whole machine did meanwhile.
    #[serde(rename = "sysCPUStat", skip_serializing_if = "Option::is_none")]
    pub machine: Option<Cpu>,
}

/// The figures of one moment; sums count from the beginning of the group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sample {
    pub timestamp: Timestamp,
    #[serde(rename = "cpuStat", skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuTime>,
    #[serde(rename = "memoryStat", skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(rename = "ioStat", skip_serializing_if = "Option::is_none")]
    pub io: Option<Transfer>,
    #[serde(rename = "pidsStat", skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    #[serde(rename = "netStat", skip_serializing_if = "Option::is_none")]
    pub net: Option<Traffic>,
}

/// Nanoseconds, and numbers of periods of a quota.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuTime {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_nanos: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_nanos: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_nanos: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nr_periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nr_throttled: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_nanos: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// Bytes, and numbers of what happened.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_tables: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sock: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmalloc: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_mapped: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_dirty: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_writeback: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgscan: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgsteal: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgfault: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgmajfault: Option<u64>,
    /// The most that there ever was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub low_events: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub high_events: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max_events: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub oom_events: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub oom_kill_events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// What went to and from block devices, all of them together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Transfer {
    #[serde(rename = "readBytes", skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    #[serde(rename = "writeBytes", skip_serializing_if = "Option::is_none")]
    pub write_bytes: Option<u64>,
    #[serde(rename = "discardBytes", skip_serializing_if = "Option::is_none")]
    pub discard_bytes: Option<u64>,
    #[serde(rename = "readIOs", skip_serializing_if = "Option::is_none")]
    pub reads: Option<u64>,
    #[serde(rename = "writeIOs", skip_serializing_if = "Option::is_none")]
    pub writes: Option<u64>,
    #[serde(rename = "discardIOs", skip_serializing_if = "Option::is_none")]
    pub discards: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pids {
    /// Processes and threads that there are now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
