//! Version 1: each controller has a directory, in a hierarchy of its own. It knows nothing of pressure.

use std::path::Path;

use jiff::Timestamp;

use crate::read;
use crate::sample::{CpuTime, Memory, Pids, Sample, Transfer};

/// The figures of the control group whose directory for a controller `dir` gives.
pub fn sample<'a>(dir: impl Fn(&str) -> Option<&'a Path>) -> Sample {
    let pids = dir("pids").and_then(|dir| read::number(&dir.join("pids.current")));
    Sample {
        timestamp: Timestamp::now(),
        cpu: cpu(dir("cpuacct"), dir("cpu")),
        memory: dir("memory").and_then(memory),
        io: dir("blkio").and_then(io),
        pids: pids.map(|n| Pids { current: Some(n) }),
        net: None,
    }
}

fn cpu(account: Option<&Path>, quota: Option<&Path>) -> Option<CpuTime> {
    let nanos = |name: &str| read::number(&account?.join(name));
    let mut cpu = CpuTime {
        usage_nanos: nanos("cpuacct.usage"),
        user_nanos: nanos("cpuacct.usage_user"),
        system_nanos: nanos("cpuacct.usage_sys"),
        ..CpuTime::default()
    };
    let text = quota.and_then(|dir| read::text(&dir.join("cpu.stat"))).unwrap_or_default();
    for (key, value) in read::pairs(&text) {
        match key {
            "nr_periods" => cpu.nr_periods = Some(value),
            "nr_throttled" => cpu.nr_throttled = Some(value),
            "throttled_time" => cpu.throttled_nanos = Some(value),
            _ => {}
        }
    }
    (cpu != CpuTime::default()).then_some(cpu)
}

fn memory(dir: &Path) -> Option<Memory> {
    let text = read::text(&dir.join("memory.stat"))?;
    let number = |name: &str| read::number(&dir.join(name));
    let mut memory = Memory {
        peak: number("memory.max_usage_in_bytes"),
        kernel: number("memory.kmem.usage_in_bytes"),
        sock: number("memory.kmem.tcp.usage_in_bytes"),
        max_events: number("memory.failcnt").unwrap_or_default(),
        ..Memory::default()
    };
    for (key, value) in read::pairs(&text) {
        let field = match key {
            "rss" => &mut memory.anon,
            "cache" => &mut memory.file,
            "shmem" => &mut memory.shmem,
            "mapped_file" => &mut memory.file_mapped,
            "dirty" => &mut memory.file_dirty,
            "writeback" => &mut memory.file_writeback,
            "swap" => &mut memory.swap_bytes,
            "pgfault" => &mut memory.pgfault,
            "pgmajfault" => &mut memory.pgmajfault,
            _ => continue,
        };
        *field = Some(value);
    }
    let events = read::text(&dir.join("memory.oom_control")).unwrap_or_default();
    let kills = read::pairs(&events).find(|(key, _)| *key == "oom_kill");
    memory.oom_kill_events = kills.map_or(0, |(_, value)| value);
    Some(memory)
}

fn io(dir: &Path) -> Option<Transfer> {
    let bytes = read::text(&dir.join("blkio.throttle.io_service_bytes"))?;
    let operations = read::text(&dir.join("blkio.throttle.io_serviced")).unwrap_or_default();
    let mut io = Transfer::default();
    add_kinds(&bytes, [&mut io.read_bytes, &mut io.write_bytes, &mut io.discard_bytes]);
    add_kinds(&operations, [&mut io.reads, &mut io.writes, &mut io.discards]);
    Some(io)
}

/// Adds up lines such as `8:0 Read 512`.
fn add_kinds(text: &str, [reads, writes, discards]: [&mut Option<u64>; 3]) {
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, kind, value] = fields[..] else { continue };
        let sum = match kind {
            "Read" => &mut *reads,
            "Write" => &mut *writes,
            "Discard" => &mut *discards,
            _ => continue,
        };
        if let Ok(value) = value.parse() {
            read::add(sum, value);
        }
    }
}
