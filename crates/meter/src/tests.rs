use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Sample, v1, v2};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    dir
}

/// Compares all but the time, and that it can be read back.
fn check(sample: &Sample, expected: &Value) {
    let mut told = serde_json::to_value(sample).expect("JSON");
    assert_eq!(&serde_json::from_value::<Sample>(told.clone()).expect("readable"), sample);
    told.as_object_mut().expect("an object").remove("timestamp");
    assert_eq!(&told, expected);
}

const STALLED: &str = "some avg10=1.00 avg60=0.50 avg300=0.10 total=7\n";

#[test]
fn a_group_of_version_2() {
    let dir = folder(&[
        (
            "cpu.stat",
            "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 1\nthrottled_usec 5\n",
        ),
        ("cpu.pressure", STALLED),
        (
            "memory.stat",
            "anon 1\nfile 2\nkernel 3\npagetables 4\nfile_dirty 5\nslab_reclaimable 9\nslab 6\npgfault 7\n",
        ),
        ("memory.peak", "4096\n"),
        ("memory.swap.current", "0\n"),
        ("memory.events", "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 0\n"),
        (
            "io.stat",
            "8:0 rbytes=10 wbytes=1 rios=2 wios=3 dbytes=0 dios=0\n8:16 rbytes=5 wbytes=1 rios=1 wios=1 dbytes=0 dios=0\n",
        ),
        ("pids.current", "2\n"),
    ]);
    let stall = json!({"avg10": 1.0, "avg60": 0.5, "avg300": 0.1, "total": 7});
    check(
        &v2::sample(dir.path()),
        &json!({
            "cpuStat": {
                "usageNanos": 30000, "userNanos": 20000, "systemNanos": 10000,
                "nrPeriods": 4, "nrThrottled": 1, "throttledNanos": 5000,
                "pressure": {"some": stall, "full": null},
            },
            "memoryStat": {
                "anon": 1, "file": 2, "kernel": 3, "pageTables": 4, "fileDirty": 5, "slab": 6, "pgfault": 7,
                "peak": 4096, "swapBytes": 0, "highEvents": 1, "maxEvents": 2, "oomEvents": 3, "oomKillEvents": 4,
            },
            "ioStat": {
                "readBytes": 15, "writeBytes": 2, "discardBytes": 0, "readIOs": 3, "writeIOs": 4, "discardIOs": 0,
            },
            "pidsStat": {"current": 2},
        }),
    );
}

#[test]
fn a_group_of_version_1() {
    let dir = folder(&[
        ("cpuacct/cpuacct.usage", "30\n"),
        ("cpuacct/cpuacct.usage_user", "20\n"),
        ("cpuacct/cpuacct.usage_sys", "10\n"),
        ("memory/memory.stat", "cache 2\nrss 1\nmapped_file 3\nswap 0\npgfault 7\ntotal_rss 9\n"),
        ("memory/memory.max_usage_in_bytes", "4096\n"),
        ("memory/memory.failcnt", "2\n"),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
        (
            "blkio/blkio.throttle.io_service_bytes",
            "8:0 Read 10\n8:0 Write 1\n8:0 Total 11\n8:16 Read 5\nTotal 16\n",
        ),
        ("pids/pids.current", "2\n"),
    ]);
    let dirs = ["cpuacct", "memory", "blkio", "pids"].map(|name| (name, dir.path().join(name)));
    let find = |name: &str| dirs.iter().find(|(known, _)| *known == name).map(|(_, path)| path.as_path());
    check(
        &v1::sample(find),
        &json!({
            "cpuStat": {"usageNanos": 30, "userNanos": 20, "systemNanos": 10},
            "memoryStat": {
                "anon": 1, "file": 2, "fileMapped": 3, "swapBytes": 0, "pgfault": 7,
                "peak": 4096, "maxEvents": 2, "oomKillEvents": 1,
            },
            "ioStat": {"readBytes": 15, "writeBytes": 1},
            "pidsStat": {"current": 2},
        }),
    );
}

#[test]
fn what_is_not_there_is_left_out() {
    check(&v2::sample(Path::new("/nowhere")), &json!({}));
    check(&v1::sample(|_| None), &json!({}));
}

proptest! {
    #[test]
    fn any_text_is_read(text in "([a-z0-9:= ]{0,20}\n){0,4}") {
        let files = ["cpu.stat", "cpu.pressure", "memory.stat", "io.stat", "pids.current"];
        let dir = folder(&files.map(|name| (name, text.as_str())));
        v2::sample(dir.path());
        v1::sample(|_| Some(dir.path()));
    }
}
