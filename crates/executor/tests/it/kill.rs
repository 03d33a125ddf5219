//! Nothing survives its end.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use executor::{Executor, Io, Options, Spec};
use fsutil::mount::{Mount, Source};
use tokio_util::sync::CancellationToken;

use crate::world::{World, cgroups, eventually, processes, remove_cgroup, unique};

/// Leaves processes that are hard to get rid of, and says so.
fn stubborn(mark: &str) -> String {
    format!(
        "trap '' TERM INT HUP; (setsid sleep 1{mark} &) ; sleep 2{mark} & echo ready; wait; sleep 3{mark}"
    )
}

/// A number that stands in no other command line.
fn mark() -> String {
    format!("{}{}", std::process::id(), unique().rsplit('-').next().expect("a number"))
}

#[tokio::test]
async fn a_cancelled_run() {
    let world = World::new();
    let mark = mark();
    let spec = world.shell(&stubborn(&mark));
    let id = spec.id.clone();
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let io = Io::new(move |_, _| stop.cancel());
    let started = Instant::now();
    let e = world.executor.run(spec, io, cancel).await.expect_err("cancelled");
    assert!(e.is_canceled() && started.elapsed() < Duration::from_secs(2));
    assert_eq!(processes(&mark), Vec::<String>::new());
    assert_eq!(cgroups_of(&id), Vec::<std::path::PathBuf>::new());
}

fn cgroups_of(id: &str) -> Vec<std::path::PathBuf> {
    let parents = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let groups = parents.filter_map(|p| std::fs::read_dir(p.path()).ok()).flatten().flatten();
    groups.map(|group| group.path().join(id)).filter(|dir| dir.is_dir()).collect()
}

#[tokio::test]
async fn a_run_that_was_never_wanted() {
    let world = World::new();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let e = world.executor.run(world.shell("sleep 60"), Io::discard(), cancel).await.expect_err("cancelled");
    assert!(e.is_canceled());
}

#[tokio::test]
async fn a_dropped_container() {
    let world = World::new();
    let mark = mark();
    let container = world.executor.spawn(world.shell(&format!("sleep 4{mark}")), Io::discard()).await;
    let container = container.expect("a container");
    eventually("it runs", || !processes(&mark).is_empty()).await;
    drop(container);
    eventually("it is killed", || processes(&mark).is_empty()).await;
}

#[tokio::test]
async fn what_a_container_leaves_running() {
    let world = World::new();
    let mark = mark();
    let ran = world.run(world.shell(&format!("(setsid sleep 5{mark} &); echo done"))).await;
    assert!(ran.exit.success() && ran.stdout == "done\n");
    assert_eq!(processes(&mark), Vec::<String>::new());
}

#[tokio::test]
async fn a_helper_that_was_killed() {
    let world = World::new();
    world.output(world.shell("true")).await;
    let helpers = children("kiln-executor");
    let [helper] = helpers[..] else { panic!("one helper: {helpers:?}") };
    rustix::process::kill_process(helper, rustix::process::Signal::KILL).expect("kill");
    // Its memory goes first, its sockets before it is a zombie.
    let is_dead = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", helper.as_raw_nonzero()));
        !stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    eventually("it is dead", is_dead).await;
    assert_eq!(world.output(world.shell("echo again")).await, "again\n");
}

/// Children of this process by the name they were started with.
fn children(name: &str) -> Vec<rustix::process::Pid> {
    let me = std::process::id().to_string();
    let all = std::fs::read_dir("/proc").expect("proc").flatten();
    let pids = all.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).map(str::to_owned);
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        parent.as_deref() == Some(&me) && line.starts_with(name)
    })
    .filter_map(rustix::process::Pid::from_raw)
    .collect()
}

/// Set in a process that [`a_killed_engine`] starts and kills: where the state and the root of its container are.
const ENGINE: &str = "KILN_TEST_ENGINE";

#[tokio::test]
async fn a_killed_engine() {
    let world = World::new();
    let mark = mark();
    let parent = format!("kiln-{}", unique());
    let mut engine = Command::new("/proc/self/exe")
        .args(["--exact", "kill::the_engine_to_kill", "--nocapture"])
        .env(ENGINE, format!("{};{mark};{parent}", world.dir.path().display()))
        .stdout(Stdio::null())
        .spawn()
        .expect("a process");
    eventually("it runs", || processes(&format!("2{mark}")).len() >= 2).await;
    assert!(!cgroups(&parent).is_empty() || cgroups("memory").is_empty());
    engine.kill().expect("kill");
    engine.wait().expect("wait");
    eventually("it is killed", || processes(&mark).is_empty()).await;
    let left = || {
        cgroups(&parent).iter().any(|dir| {
            std::fs::read_dir(dir).is_ok_and(|mut d| d.any(|e| e.is_ok_and(|e| e.path().is_dir())))
        })
    };
    eventually("its cgroups go", || !left()).await;
    remove_cgroup(&parent);
}

/// No test by itself: the engine of [`a_killed_engine`].
#[tokio::test]
async fn the_engine_to_kill() {
    let Ok(settings) = std::env::var(ENGINE) else { return };
    let [dir, mark, parent] = settings.split(';').collect::<Vec<_>>().try_into().expect("three settings");
    let mut options = Options::new(format!("{dir}/engine"));
    options.cgroup_parent = parent.into();
    let executor = Executor::start(options).expect("an executor");
    let root = Mount::new(Source::Bind(format!("{dir}/base").into()), "/");
    let mut spec = Spec::new("victim", root, ["/bin/sh", "-c", &stubborn(mark)]);
    spec.process.env = vec!["PATH=/bin".into()];
    executor.run(spec, Io::discard(), CancellationToken::new()).await.expect("killed before");
}
