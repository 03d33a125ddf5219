//! Power cuts: the store lies on a disk that loses what was not flushed, and the machine starts anew.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::harness::{Engine, Folder, is_alive, tool};
use crate::rounds::{Chance, rounds};
use crate::work::{Reported, Work};

/// What was built this long before, with nothing after it, is durable.
const SETTLED: Duration = Duration::from_secs(5);

/// The boots of a machine: a file shows what the kernel would show of the present one.
struct Boots(Folder);

impl Boots {
    fn new() -> Self {
        Boots(Folder::new(&[("boot", "")]))
    }

    /// An engine on the disk, in another boot than all before.
    fn engine(&self, number: u32, disk: &Disk) -> Engine {
        self.0.write("boot", format!("00000000-0000-4000-8000-{number:012}\n"));
        let file = self.0.join("boot");
        let script =
            format!("mount --bind {} /proc/sys/kernel/random/boot_id && exec \"$@\"", file.display());
        Engine::at(&disk.store()).wrapped(&["/usr/bin/unshare", "--mount", "/bin/sh", "-c", &script, "sh"])
    }
}

#[test]
fn what_is_served_after_a_power_cut_is_whole() {
    let (disk, boots, mut chance) = (Disk::ext4(2048, &[]), Boots::new(), Chance::new());
    let (mut settled, mut reported) = (Vec::new(), Vec::new());
    let (mut kept, mut lost, mut all) = (0, 0, 0);
    let cuts = rounds(2);
    for round in 0..=cuts {
        let engine = boots.engine(round, &disk);
        // What was built before the cut: served or built again, it is whole.
        let mut check = |result: &Reported| {
            let was_kept = result.was_kept(&engine);
            *if was_kept { &mut kept } else { &mut lost } += 1;
            was_kept
        };
        for result in &settled {
            assert!(check(result), "what was settled is lost");
        }
        reported.iter().for_each(|result| _ = check(result));
        if round < cuts {
            let quiet = Duration::from_millis(chance.below(3000))
                + if round % 2 == 0 { SETTLED } else { Duration::ZERO };
            let first =
                (0..3).map(|_| Work::new(chance.below(1000)).run(&engine).expect("it builds")).collect();
            // Longer or shorter than it takes until they are durable.
            std::thread::sleep(quiet);
            reported = build_until_cut(&disk, &engine, &mut chance);
            settled = Vec::new();
            match quiet >= SETTLED {
                true => settled = first,
                false => reported.extend(first),
            }
            all += settled.len() + reported.len();
        } else {
            engine.stop();
            let check = engine.run("engine check");
            assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
        }
    }
    println!("{cuts} power cuts, {all} builds: {kept} were found again, {lost} were not, none was wrong");
}

/// Clients build until the power goes. The disk is there again after it, and the engine is not.
fn build_until_cut(disk: &Disk, engine: &Engine, chance: &mut Chance) -> Vec<Reported> {
    let moment = Duration::from_millis(chance.below(2500));
    let kinds = [chance.below(1000), chance.below(1000)];
    let (over, ended) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let mut family = Vec::new();
    std::thread::scope(|scope| {
        for kind in kinds {
            let (over, ended) = (&over, &ended);
            scope.spawn(move || {
                for kind in kind.. {
                    match Work::new(kind).run(engine) {
                        _ if over.load(Ordering::SeqCst) => return,
                        Ok(result) => ended.lock().expect("no panic").push(result),
                        Err(told) => panic!("it failed before the power went:\n{told}"),
                    }
                }
            });
        }
        // Not to wait for something, but to come at a moment that nobody chose.
        std::thread::sleep(moment);
        family = engine.processes();
        over.store(true, Ordering::SeqCst);
        disk.cut();
        let pids: Vec<String> = family.iter().map(u32::to_string).collect();
        // One may have ended meanwhile.
        let _ = tool("kill").arg("-9").args(pids).status();
    });
    // Clients that found no engine may have started another, in vain on such a disk.
    family.extend(engine.processes());
    let began = Instant::now();
    while family.iter().any(|pid| is_alive(*pid)) {
        assert!(began.elapsed() < Duration::from_secs(30), "{family:?} live on");
        let pids: Vec<String> = family.iter().map(u32::to_string).collect();
        let _ = tool("kill").arg("-9").args(pids).status();
        std::thread::yield_now();
    }
    disk.unmount();
    disk.mount();
    ended.into_inner().expect("no panic")
}
