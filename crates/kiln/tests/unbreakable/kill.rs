//! `kill -9` of the engine.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Engine, is_alive, tool};
use crate::rounds::{Chance, rounds};
use crate::work::{Reported, Work};

/// Clients that build at the same time.
const CLIENTS: u64 = 3;
/// What an engine that died leaves is gone this long after the start of the next.
const SWEPT_WITHIN: Duration = Duration::from_secs(1);

/// Kills after which another store is begun, so that the last starts are like the first.
const KILLS_OF_A_STORE: u32 = 25;

#[test]
fn nothing_that_was_reported_is_lost() {
    let mut chance = Chance::new();
    let mut tally = Tally::default();
    let mut left = rounds(5);
    while left > 0 {
        let kills = left.min(KILLS_OF_A_STORE);
        kill_often(kills, &mut chance, &mut tally);
        left -= kills;
    }
    let Tally { mut starts, reported, cut_off, checked } = tally;
    starts.sort();
    let (median, longest) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    println!(
        "{reported} builds reported, {cut_off} cut off, {checked} checks; {} starts seen, swept within {longest:?}, median {median:?}",
        starts.len()
    );
    assert!(median < SWEPT_WITHIN, "{starts:?}");
}

#[derive(Default)]
struct Tally {
    starts: Vec<Duration>,
    reported: usize,
    cut_off: usize,
    checked: usize,
}

/// Kills the engine on one store again and again.
fn kill_often(kills: u32, chance: &mut Chance, tally: &mut Tally) {
    let engine = Engine::new();
    let mut reported: Vec<Reported> = Vec::new();
    for round in 0..kills {
        assert!(engine.run("du").status.success());
        let (cut, family) = kill_while_building(&engine, chance, round % 4 == 3, &mut reported);
        tally.cut_off += cut;
        tally.starts.extend(check_start(&engine, &family));
        // The last of this round, and some of all.
        let some = (0..3).map(|_| chance.below(reported.len().max(1) as u64) as usize);
        let last = reported.len().saturating_sub(3)..reported.len();
        for i in last.chain(some).filter(|i| *i < reported.len()) {
            reported[i].check(&engine);
            tally.checked += 1;
        }
    }
    reported.iter().for_each(|result| result.check(&engine));
    tally.checked += reported.len();
    tally.reported += reported.len();
}

/// Clients build until the engine is killed at a random moment, alone or with all its processes. Gives how many builds
/// that cut off, and what the processes were.
fn kill_while_building(
    engine: &Engine,
    chance: &mut Chance,
    with_family: bool,
    reported: &mut Vec<Reported>,
) -> (usize, Vec<u32>) {
    let kinds: Vec<u64> = (0..CLIENTS).map(|_| chance.below(1000)).collect();
    let moment = Duration::from_millis(50 + chance.below(2000));
    let (over, ended, cut_off) = (AtomicBool::new(false), Mutex::new(Vec::new()), Mutex::new(0));
    let mut family = Vec::new();
    std::thread::scope(|scope| {
        for kind in kinds {
            let (over, ended, cut_off) = (&over, &ended, &cut_off);
            scope.spawn(move || {
                for kind in kind.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    match Work::new(kind).run(engine) {
                        Ok(result) => ended.lock().expect("no panic").push(result),
                        Err(told) if over.load(Ordering::SeqCst) => {
                            assert!(told.contains("ERROR"), "a client that is cut off says so: {told}");
                            *cut_off.lock().expect("no panic") += 1;
                        }
                        Err(told) => panic!("it failed before the engine was killed:\n{told}"),
                    }
                }
            });
        }
        // Not to wait for something, but to come at a moment that nobody chose.
        std::thread::sleep(moment);
        let pid = engine.pid().expect("it runs");
        family = engine.processes();
        over.store(true, Ordering::SeqCst);
        kill(if with_family { &family } else { std::slice::from_ref(&pid) });
    });
    reported.extend(ended.into_inner().expect("no panic"));
    (cut_off.into_inner().expect("no panic"), family)
}

fn kill(pids: &[u32]) {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    // One may have ended meanwhile.
    let _ = tool("kill").arg("-9").args(pids).status();
}

/// Starts the engine and waits until nothing is left of the one before, whose processes were `family`. Gives how long
/// that took; nothing where a client, who found no engine, was quicker to start one.
fn check_start(engine: &Engine, family: &[u32]) -> Option<Duration> {
    let runs = engine.pid().is_some();
    let began = Instant::now();
    assert!(engine.run("du").status.success());
    loop {
        let left = leftovers(engine, family);
        if left.is_empty() {
            return (!runs).then(|| began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(20), "left: {left:?}");
        std::thread::yield_now();
    }
}

/// What is half done, while no build runs: mounts, processes, cgroups, files.
fn leftovers(engine: &Engine, family: &[u32]) -> Vec<String> {
    let mut left = engine.mounts();
    for dir in ["tmp", "mounts", "content-v1/ingest"] {
        let names = names_in(&engine.root().join(dir));
        left.extend(names.into_iter().filter(|name| name != "empty").map(|name| format!("{dir}/{name}")));
    }
    left.extend(cgroups_of(engine).iter().map(|path| path.display().to_string()));
    left.extend(family.iter().filter(|pid| is_alive(**pid)).map(|pid| format!("process {pid}")));
    left
}

fn cgroups_of(engine: &Engine) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let place = engine.root().metadata().expect("the store is there");
    let name = format!("kiln/{:x}-{:x}", place.dev(), place.ino());
    let mut hierarchies = vec![PathBuf::from("/sys/fs/cgroup")];
    let mounts = Path::new("/sys/fs/cgroup");
    hierarchies.extend(names_in(mounts).iter().map(|name| mounts.join(name)));
    let own = hierarchies.into_iter().map(|hierarchy| hierarchy.join(&name));
    own.flat_map(|dir| names_in(&dir).into_iter().map(move |name| dir.join(name)))
        .filter(|path| path.is_dir())
        .collect()
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
