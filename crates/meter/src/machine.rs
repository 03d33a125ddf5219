//! The whole machine.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pressure::Pressure;
use crate::read;

/// Units of `/proc/stat` in a second: `USER_HZ`, which the kernel shows to programs as 100 on every platform.
const TICKS: f64 = 100.0;

/// The figures of one moment; sums count from the start of the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineSample {
    pub timestamp: Timestamp,
    #[serde(rename = "cpuStat", skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    #[serde(rename = "procStat", skip_serializing_if = "Option::is_none")]
    pub processes: Option<Processes>,
    #[serde(rename = "memoryStat", skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(rename = "cpuPressure", skip_serializing_if = "Option::is_none")]
    pub cpu_pressure: Option<Pressure>,
    #[serde(rename = "memoryPressure", skip_serializing_if = "Option::is_none")]
    pub memory_pressure: Option<Pressure>,
    #[serde(rename = "ioPressure", skip_serializing_if = "Option::is_none")]
    pub io_pressure: Option<Pressure>,
}

/// Seconds of all CPUs together.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cpu {
    pub user: f64,
    pub nice: f64,
    pub system: f64,
    pub idle: f64,
    pub iowait: f64,
    pub irq: f64,
    pub softirq: f64,
    pub steal: f64,
    pub guest: f64,
    #[serde(rename = "guestNice")]
    pub guest_nice: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Processes {
    pub context_switches: u64,
    pub process_created: u64,
    pub processes_running: u64,
}

/// Kibibytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    pub total: Option<u64>,
    pub free: Option<u64>,
    pub available: Option<u64>,
    pub buffers: Option<u64>,
    pub cached: Option<u64>,
    pub active: Option<u64>,
    pub inactive: Option<u64>,
    pub swap: Option<u64>,
    pub dirty: Option<u64>,
    pub writeback: Option<u64>,
    pub slab: Option<u64>,
}

/// The figures of now.
pub fn sample() -> MachineSample {
    let stat = read::text(Path::new("/proc/stat"));
    let pressure = |of: &str| Pressure::read(&Path::new("/proc/pressure").join(of));
    MachineSample {
        timestamp: Timestamp::now(),
        cpu: stat.as_deref().and_then(Cpu::parse),
        processes: stat.as_deref().map(Processes::parse),
        memory: read::text(Path::new("/proc/meminfo")).map(|text| Memory::parse(&text)),
        cpu_pressure: pressure("cpu"),
        memory_pressure: pressure("memory"),
        io_pressure: pressure("io"),
    }
}

impl Cpu {
    /// Since the start of the machine.
    pub fn read() -> Option<Self> {
        Cpu::parse(&read::text(Path::new("/proc/stat"))?)
    }

    /// Reads the first line of `/proc/stat`. Old kernels have fewer fields.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let mut numbers = line.split_whitespace().map_while(|n| n.parse::<f64>().ok());
        let mut next = || numbers.next().unwrap_or_default() / TICKS;
        Some(Cpu {
            user: next(),
            nice: next(),
            system: next(),
            idle: next(),
            iowait: next(),
            irq: next(),
            softirq: next(),
            steal: next(),
            guest: next(),
            guest_nice: next(),
        })
    }

    /// What came since an earlier reading.
    pub fn since(&self, earlier: &Cpu) -> Self {
        // Whole ticks again, which a difference of fractions is not.
        let f = |now: f64, then: f64| ((now - then) * TICKS).round() / TICKS;
        Cpu {
            user: f(self.user, earlier.user),
            nice: f(self.nice, earlier.nice),
            system: f(self.system, earlier.system),
            idle: f(self.idle, earlier.idle),
            iowait: f(self.iowait, earlier.iowait),
            irq: f(self.irq, earlier.irq),
            softirq: f(self.softirq, earlier.softirq),
            steal: f(self.steal, earlier.steal),
            guest: f(self.guest, earlier.guest),
            guest_nice: f(self.guest_nice, earlier.guest_nice),
        }
    }
}

impl Processes {
    fn parse(stat: &str) -> Self {
        let value =
            |name: &str| read::pairs(stat).find(|(key, _)| *key == name).map_or(0, |(_, value)| value);
        Processes {
            context_switches: value("ctxt"),
            process_created: value("processes"),
            processes_running: value("procs_running"),
        }
    }
}

impl Memory {
    fn parse(meminfo: &str) -> Self {
        let value = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        Memory {
            total: value("MemTotal"),
            free: value("MemFree"),
            available: value("MemAvailable"),
            buffers: value("Buffers"),
            cached: value("Cached"),
            active: value("Active"),
            inactive: value("Inactive"),
            swap: value("SwapTotal"),
            dirty: value("Dirty"),
            writeback: value("Writeback"),
            slab: value("Slab"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc_are_read() {
        let stat = "cpu  200 1 50 1000 10 2 3 4 5 6\ncpu0 1 1 1 1\nintr 5 0 0\nctxt 12\nbtime 1\nprocesses 7\nprocs_running 2\n";
        let cpu = Cpu::parse(stat).expect("told");
        assert_eq!((cpu.user, cpu.idle, cpu.guest_nice), (2.0, 10.0, 0.06));
        let later = Cpu { user: 2.3, ..cpu };
        assert_eq!(later.since(&cpu), Cpu { user: 0.3, ..Cpu::default() });
        let processes = Processes { context_switches: 12, process_created: 7, processes_running: 2 };
        assert_eq!(Processes::parse(stat), processes);
        let memory =
            Memory::parse("MemTotal:        100 kB\nMemFree: 7 kB\nSwapTotal: 0 kB\nActive(anon): 9 kB\n");
        assert_eq!(memory, Memory { total: Some(100), free: Some(7), swap: Some(0), ..Memory::default() });
    }

    #[test]
    fn the_machine_tells() {
        let sample = sample();
        assert!(sample.cpu.expect("told").user > 0.0);
        assert!(sample.memory.expect("told").total > Some(0));
        assert!(sample.processes.expect("told").process_created > 0);
    }
}
