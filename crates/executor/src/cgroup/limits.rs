//! Which files of a cgroup say what of [`Resources`].

use crate::Resources;

/// A file of a cgroup, of the controller it is named after, and what to write into it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub file: &'static str,
    pub value: String,
}

impl Setting {
    pub fn controller(&self) -> &'static str {
        self.file.split('.').next().unwrap_or_default()
    }
}

/// In the order in which the kernel takes them.
pub(super) fn v1(resources: &Resources) -> Vec<Setting> {
    let r = resources;
    let mut settings = Settings(Vec::new());
    settings.add(r.memory != 0, "memory.limit_in_bytes", r.memory);
    settings.add(r.memory_swap != 0, "memory.memsw.limit_in_bytes", r.memory_swap);
    settings.add(r.cpu_shares != 0, "cpu.shares", r.cpu_shares);
    settings.add(r.cpu_period != 0, "cpu.cfs_period_us", r.cpu_period);
    settings.add(r.cpu_quota != 0, "cpu.cfs_quota_us", r.cpu_quota);
    settings.add(!r.cpuset_cpus.is_empty(), "cpuset.cpus", &r.cpuset_cpus);
    settings.add(!r.cpuset_mems.is_empty(), "cpuset.mems", &r.cpuset_mems);
    settings.0
}

pub(super) fn v2(resources: &Resources) -> Vec<Setting> {
    const DEFAULT_PERIOD: u64 = 100_000;
    let r = resources;
    let mut settings = Settings(Vec::new());
    settings.add(r.memory != 0, "memory.max", or_max(r.memory));
    // Version 1 limits the sum of memory and swap, version 2 the swap alone.
    let swap = if r.memory_swap < 0 { -1 } else { (r.memory_swap - r.memory.max(0)).max(0) };
    settings.add(r.memory_swap != 0, "memory.swap.max", or_max(swap));
    // 2..=262144 becomes 1..=10000, as every OCI runtime converts it.
    let weight = 1 + (r.cpu_shares.clamp(2, 262_144) - 2) * 9_999 / 262_142;
    settings.add(r.cpu_shares != 0, "cpu.weight", weight);
    let period = if r.cpu_period == 0 { DEFAULT_PERIOD } else { r.cpu_period };
    let quota = if r.cpu_quota > 0 { r.cpu_quota.to_string() } else { "max".into() };
    settings.add(r.cpu_quota != 0 || r.cpu_period != 0, "cpu.max", format!("{quota} {period}"));
    settings.add(!r.cpuset_cpus.is_empty(), "cpuset.cpus", &r.cpuset_cpus);
    settings.add(!r.cpuset_mems.is_empty(), "cpuset.mems", &r.cpuset_mems);
    settings.0
}

struct Settings(Vec<Setting>);

impl Settings {
    fn add(&mut self, is_set: bool, file: &'static str, value: impl ToString) {
        if is_set {
            self.0.push(Setting { file, value: value.to_string() });
        }
    }
}

fn or_max(bytes: i64) -> String {
    if bytes < 0 { "max".into() } else { bytes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resources: Resources, expected_v1: &[&str], expected_v2: &[&str]) {
        let lines = |settings: Vec<Setting>| -> Vec<String> {
            settings.into_iter().map(|s| format!("{}={}", s.file, s.value)).collect()
        };
        assert_eq!((lines(v1(&resources)), lines(v2(&resources))), (owned(expected_v1), owned(expected_v2)));
    }

    fn owned(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn files_and_values() {
        check(Resources::default(), &[], &[]);
        check(
            Resources { memory: 100, memory_swap: 150, ..Resources::default() },
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=150"],
            &["memory.max=100", "memory.swap.max=50"],
        );
        check(
            Resources { memory: 100, memory_swap: -1, ..Resources::default() },
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=-1"],
            &["memory.max=100", "memory.swap.max=max"],
        );
        check(
            Resources { cpu_shares: 1024, cpu_quota: 50_000, ..Resources::default() },
            &["cpu.shares=1024", "cpu.cfs_quota_us=50000"],
            &["cpu.weight=39", "cpu.max=50000 100000"],
        );
        check(
            Resources {
                cpu_period: 7,
                cpuset_cpus: "0-1".into(),
                cpuset_mems: "0".into(),
                ..Resources::default()
            },
            &["cpu.cfs_period_us=7", "cpuset.cpus=0-1", "cpuset.mems=0"],
            &["cpu.max=max 7", "cpuset.cpus=0-1", "cpuset.mems=0"],
        );
    }
}
