//! Many builds on one engine, at once and in a row: what they share is done once, what they are told is right, and
//! afterwards the engine is as it was before.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::harness::{CgroupParent, Engine, Folder, Vitals, run_tool, tool};

/// What the allocator keeps of many threads' memory, and the logs of the last builds, which are kept for a while. It does
/// not grow with the number of rounds.
const SPARE_MEMORY: u64 = 32 << 20;

/// The database file keeps the size it once had, and fills what is free in it again.
const SPARE_DISK: u64 = 8 << 20;

/// No crowd takes longer, whatever it does.
const PATIENCE: Duration = Duration::from_secs(240);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// xorshift64*.
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
}

/// A step that takes some time, and notes in a cache mount when it has ended.
fn counted(name: &str, command: &str) -> String {
    format!("RUN --mount=type=cache,target=/count {command}; sleep 0.3; echo {name} >> /count/ran\n")
}

/// All variants share the first steps, and what one of two stages makes.
fn context(variant: usize) -> Folder {
    let uuid = "cat /proc/sys/kernel/random/uuid";
    let dockerfile = format!(
        "FROM busybox AS base\nARG ROUND\nCOPY f /f\n{}{}FROM base AS side\n{}FROM base\n{}COPY --from=side /side /side\n\
         {}FROM scratch\nCOPY --from=2 /one /two /side /own /",
        counted("one", &format!("{uuid} > /one")),
        counted("two", &format!("{uuid} > /two")),
        counted("side", &format!("cat /one /two > /side && {uuid} >> /side")),
        counted(&format!("early{variant}"), &format!("{uuid} > /early")),
        counted(&format!("own{variant}"), "cat /early /side > /own"),
    );
    Folder::with_dockerfile(&dockerfile, &[("f", "the same for all")])
}

/// Clients at once, of which the second half is broken off at random moments.
fn crowd(engine: &Engine, clients: usize, round: u64, parent: &str) {
    const VARIANTS: usize = 8;
    let contexts: Vec<Folder> = (0..VARIANTS).map(context).collect();
    let out = Folder::new(&[]);
    let spawn = |i: usize| {
        let dest = format!("type=local,dest={}", out.join(&i.to_string()).display());
        let build = engine.build(&contexts[i % VARIANTS]).args(["-o", &dest, "--cgroup-parent", parent]);
        build.args(["--build-arg", &format!("ROUND={round}"), "--progress=quiet"]).spawn()
    };
    let began = Instant::now();
    let mut state = 0x9E37_79B9 + round;
    let stays: Vec<Child> = (0..clients / 2).map(spawn).collect();
    let mut leaves: Vec<(Instant, Child)> = (clients / 2..clients)
        .map(|i| {
            let child = spawn(i);
            (Instant::now() + Duration::from_millis(random(&mut state, 4000)), child)
        })
        .collect();
    leaves.sort_by_key(|(when, _)| *when);
    for (when, mut child) in leaves {
        std::thread::sleep(when.saturating_duration_since(Instant::now()));
        let signal = ["-INT", "-KILL"][random(&mut state, 2) as usize];
        // One that has ended already is no fault.
        if child.try_wait().expect("it can be asked").is_none() {
            run_tool(tool("kill").args([signal, &child.id().to_string()]), b"");
        }
        child.wait().expect("it ends");
    }
    for child in stays {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());

    let read = |i: usize, name: &str| out.read(&format!("{i}/{name}"));
    for i in 0..clients / 2 {
        for name in ["one", "two"] {
            assert_eq!(read(i, name), read(0, name), "shared by all");
        }
        assert!(read(i, "side").starts_with(&(read(i, "one") + &read(i, "two"))));
        assert_eq!(read(i, "own"), read(i % VARIANTS, "own"), "shared by a variant");
        assert!(read(i, "own").ends_with(&read(i, "side")));
    }
    let show = "FROM busybox AS count\nARG ROUND\n\
                RUN --mount=type=cache,target=/count sort /count/ran > /ran; rm /count/ran; echo $ROUND\n\
                FROM scratch\nCOPY --from=count /ran /";
    let args = ["-o", &format!("type=local,dest={}", out.join("count").display()), "--build-arg"];
    engine.build(&Folder::with_dockerfile(show, &[])).args(args).args([&format!("ROUND={round}")]).ok();
    let mut ran: Vec<String> = vec!["one".into(), "side".into(), "two".into()];
    ran.extend((0..VARIANTS).flat_map(|v| [format!("early{v}"), format!("own{v}")]));
    ran.sort();
    assert_eq!(out.read("count/ran").lines().collect::<Vec<_>>(), ran, "each step runs once");
}

/// Everything that can be removed is, so that the store is as small as it gets.
fn vitals(engine: &Engine, parent: &str) -> Vitals {
    let prune = engine.run("prune --all --force");
    assert!(prune.status.success(), "{}", String::from_utf8_lossy(&prune.stderr));
    engine.vitals(parent)
}

/// Waits until the engine is as it was. Threads that are idle end after some seconds; to ask for all this takes some.
fn check_settled(engine: &Engine, before: &Vitals, parent: &str, what: &str) {
    let began = Instant::now();
    loop {
        let now = vitals(engine, parent);
        let settled = now.descriptors.len() <= before.descriptors.len()
            && now.threads <= before.threads + 2
            && now.mounts == before.mounts
            && now.cgroups == 0
            && now.processes == before.processes
            && now.memory <= before.memory + SPARE_MEMORY
            && now.disk <= before.disk + SPARE_DISK;
        if settled {
            eprintln!("{what}, after {:?}: {now:?}, before: {before:?}", began.elapsed());
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(40), "{what}: {now:?}, before: {before:?}");
        // Memory goes back when nobody asks.
        std::thread::sleep(Duration::from_millis(1000));
    }
}

/// `KILN_STRESS=<number>` has so many rounds of 64 clients.
#[test]
fn a_crowd_shares_its_steps_and_leaves_nothing_behind() {
    // Goes after the engine, which goes first.
    let cgroups = CgroupParent::new();
    let parent = cgroups.name();
    let engine = Engine::new();
    let warm = Folder::with_dockerfile("FROM busybox\nRUN true", &[]);
    engine.build(&warm).args(["--cgroup-parent", parent]).ok();
    crowd(&engine, 16, 0, parent);
    let before = vitals(&engine, parent);
    for round in 1..=number("KILN_STRESS").map_or(1, |n| n.div_ceil(100)) {
        crowd(&engine, 64, round, parent);
        check_settled(&engine, &before, parent, &format!("round {round} of 64"));
    }
}

/// `KILN_STRESS=<number>` is how many.
#[test]
fn many_small_builds_in_a_row_leave_nothing_behind() {
    // Goes after the engine, which goes first.
    let cgroups = CgroupParent::new();
    let parent = cgroups.name();
    let engine = Engine::new();
    let context = Folder::with_dockerfile(
        "FROM busybox AS made\nARG N\nCOPY f /f\nRUN --mount=type=tmpfs,target=/t echo $N > /n\nFROM scratch\nCOPY --from=made /n /",
        &[("f", "data")],
    );
    let out = Folder::new(&[]);
    let dest = format!("type=local,dest={}", out.path().display());
    // Each second one is in the cache.
    let build = |n: u64| {
        let args = ["-o", &dest, "--cgroup-parent", parent, "--build-arg", &format!("N={}", n / 2)];
        engine.build(&context).args(args).ok();
        assert_eq!(out.read("n"), format!("{}\n", n / 2));
    };
    (0..20).for_each(build);
    let before = vitals(&engine, parent);
    let count = number("KILN_STRESS").unwrap_or(60);
    (1000..1000 + count).for_each(build);
    check_settled(&engine, &before, parent, &format!("{count} builds"));
}
