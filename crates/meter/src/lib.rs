//! What control groups and the machine use: CPU, memory, input and output, pids, network, pressure.
//!
//! ```text
//! v1::sample, v2::sample   the figures of one control group (kernel documentation, admin-guide/cgroup-v1 and cgroup-v2)
//! Traffic::read            those of the calling process's network
//! machine::sample          those of all (proc_stat(5), proc_meminfo(5))
//! Series                   when to take samples, and which to keep
//! ```
//!
//! As JSON they have BuildKit's names. A figure that the kernel does not give is left out.
//!
//! Never: decides whether anybody wants to know.

pub mod machine;
mod pressure;
mod read;
mod sample;
mod series;
mod traffic;
pub mod v1;
pub mod v2;

pub use machine::{Cpu, MachineSample};
pub use pressure::{Pressure, Stall};
pub use sample::{CpuTime, Memory, Pids, Sample, Transfer, Usage};
pub use series::Series;
pub use traffic::Traffic;

#[cfg(test)]
mod tests;
