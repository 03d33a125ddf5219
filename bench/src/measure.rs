//! What a timed build took: time, memory of the engine, bytes that it read and wrote.

use std::collections::HashMap;
use std::fs;
use std::time::Instant;

use anyhow::Result;

/// One timed build.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    pub seconds: f64,
    /// Highest resident memory of the engine's processes, in bytes.
    pub peak: u64,
    /// Bytes that the engine read by system calls.
    pub read: u64,
    /// Bytes that the engine had written to disk.
    pub written: u64,
    /// Bytes by which the file system of the store is fuller afterwards.
    pub grown: u64,
}

/// Measures `work`, which the process `engine` and its children do.
pub fn measure(engine: Option<u32>, work: impl FnOnce() -> Result<()>) -> Result<Sample> {
    let before = engine.map(usage).unwrap_or_default();
    for pid in engine.map(family).unwrap_or_default() {
        // Begins the high-water mark anew, see proc(5).
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
    let started = Instant::now();
    work()?;
    let seconds = started.elapsed().as_secs_f64();
    let after = engine.map(usage).unwrap_or_default();
    Ok(Sample {
        seconds,
        peak: after.peak,
        read: after.read.saturating_sub(before.read),
        written: after.written.saturating_sub(before.written),
        grown: 0,
    })
}

#[derive(Default)]
struct Usage {
    peak: u64,
    read: u64,
    written: u64,
}

fn usage(engine: u32) -> Usage {
    let mut sum = Usage::default();
    for pid in family(engine) {
        sum.peak += field(&format!("/proc/{pid}/status"), "VmHWM:") * 1024;
        sum.read += field(&format!("/proc/{pid}/io"), "rchar:");
        sum.written += field(&format!("/proc/{pid}/io"), "write_bytes:");
    }
    sum
}

/// Resident memory of the engine's processes now.
pub fn resident(engine: u32) -> u64 {
    family(engine).into_iter().map(|pid| field(&format!("/proc/{pid}/status"), "VmRSS:") * 1024).sum()
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|v| v.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A process and all its descendants.
fn family(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold anything; state and parent follow the last parenthesis.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let mut all = vec![root];
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        all.extend(children.get(pid).cloned().unwrap_or_default());
        at += 1;
    }
    all
}

/// The middle of the samples, each figure for itself.
pub fn median(samples: &[Sample]) -> Option<Sample> {
    if samples.is_empty() {
        return None;
    }
    let middle = samples.len() / 2;
    let mut seconds: Vec<f64> = samples.iter().map(|s| s.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let pick = |figure: fn(&Sample) -> u64| {
        let mut all: Vec<u64> = samples.iter().map(figure).collect();
        all.sort_unstable();
        all[middle]
    };
    Some(Sample {
        seconds: seconds[middle],
        // A peak is a peak: the highest counts.
        peak: samples.iter().map(|s| s.peak).max().unwrap_or(0),
        read: pick(|s| s.read),
        written: pick(|s| s.written),
        grown: pick(|s| s.grown),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_counts_and_the_highest_peak() {
        let sample = |seconds, peak| Sample { seconds, peak, ..Sample::default() };
        let middle = median(&[sample(3.0, 1), sample(1.0, 9), sample(2.0, 5)]).expect("there are some");
        assert_eq!((middle.seconds, middle.peak), (2.0, 9));
        assert!(median(&[]).is_none());
    }

    #[test]
    fn work_is_timed_and_its_process_looked_at() {
        let me = std::process::id();
        let sample = measure(Some(me), || {
            std::thread::sleep(std::time::Duration::from_millis(5));
            Ok(())
        });
        let sample = sample.expect("it is measured");
        assert!(sample.seconds >= 0.005 && sample.peak > 0, "{sample:?}");
        assert!(resident(me) > 0);
    }
}
