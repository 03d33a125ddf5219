//! Version 2: one directory has the files of all controllers.

use std::path::Path;

use jiff::Timestamp;

use crate::pressure::Pressure;
use crate::read;
use crate::sample::{CpuTime, Memory, Pids, Sample, Transfer};

/// The figures of the control group in a directory.
pub fn sample(dir: &Path) -> Sample {
    Sample {
        timestamp: Timestamp::now(),
        cpu: cpu(dir),
        memory: memory(dir),
        io: io(dir),
        pids: read::number(&dir.join("pids.current")).map(|n| Pids { current: Some(n) }),
        net: None,
    }
}

fn cpu(dir: &Path) -> Option<CpuTime> {
    let text = read::text(&dir.join("cpu.stat"))?;
    let mut cpu = CpuTime { pressure: Pressure::read(&dir.join("cpu.pressure")), ..CpuTime::default() };
    for (key, value) in read::pairs(&text) {
        let nanos = Some(value.saturating_mul(1000));
        match key {
            "usage_usec" => cpu.usage_nanos = nanos,
            "user_usec" => cpu.user_nanos = nanos,
            "system_usec" => cpu.system_nanos = nanos,
            "nr_periods" => cpu.nr_periods = Some(value),
            "nr_throttled" => cpu.nr_throttled = Some(value),
            "throttled_usec" => cpu.throttled_nanos = nanos,
            _ => {}
        }
    }
    Some(cpu)
}

fn memory(dir: &Path) -> Option<Memory> {
    let text = read::text(&dir.join("memory.stat"))?;
    let mut memory = Memory {
        peak: read::number(&dir.join("memory.peak")),
        swap_bytes: read::number(&dir.join("memory.swap.current")),
        pressure: Pressure::read(&dir.join("memory.pressure")),
        ..Memory::default()
    };
    for (key, value) in read::pairs(&text) {
        let field = match key {
            "anon" => &mut memory.anon,
            "file" => &mut memory.file,
            "kernel" => &mut memory.kernel,
            "kernel_stack" => &mut memory.kernel_stack,
            "pagetables" => &mut memory.page_tables,
            "sock" => &mut memory.sock,
            "vmalloc" => &mut memory.vmalloc,
            "shmem" => &mut memory.shmem,
            "file_mapped" => &mut memory.file_mapped,
            "file_dirty" => &mut memory.file_dirty,
            "file_writeback" => &mut memory.file_writeback,
            "slab" => &mut memory.slab,
            "pgscan" => &mut memory.pgscan,
            "pgsteal" => &mut memory.pgsteal,
            "pgfault" => &mut memory.pgfault,
            "pgmajfault" => &mut memory.pgmajfault,
            _ => continue,
        };
        *field = Some(value);
    }
    for (key, value) in read::pairs(&read::text(&dir.join("memory.events")).unwrap_or_default()) {
        match key {
            "low" => memory.low_events = value,
            "high" => memory.high_events = value,
            "max" => memory.max_events = value,
            "oom" => memory.oom_events = value,
            "oom_kill" => memory.oom_kill_events = value,
            _ => {}
        }
    }
    Some(memory)
}

fn io(dir: &Path) -> Option<Transfer> {
    let text = read::text(&dir.join("io.stat"))?;
    let mut io = Transfer { pressure: Pressure::read(&dir.join("io.pressure")), ..Transfer::default() };
    // `8:0 rbytes=1 wbytes=2 ...`
    for (key, value) in text.split_whitespace().filter_map(|field| field.split_once('=')) {
        let field = match key {
            "rbytes" => &mut io.read_bytes,
            "wbytes" => &mut io.write_bytes,
            "dbytes" => &mut io.discard_bytes,
            "rios" => &mut io.reads,
            "wios" => &mut io.writes,
            "dios" => &mut io.discards,
            _ => continue,
        };
        if let Ok(value) = value.parse() {
            read::add(field, value);
        }
    }
    Some(io)
}
