//! What containers use.

use crate::world::World;

#[tokio::test]
async fn what_is_used_is_measured_where_that_is_asked_for() {
    let world = World::new();
    let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 8000000 /dev/zero > /dev/shm/x";
    let ran = world.run(world.shell(script)).await;
    assert!(ran.exit.success() && ran.usage.is_none(), "{ran:?}");

    let mut spec = world.shell(script);
    spec.metered = true;
    let ran = world.run(spec).await;
    let usage = ran.usage.expect("measured");
    let last = usage.samples.last().expect("one at least");
    let cpu = last.cpu.as_ref().and_then(|cpu| cpu.usage_nanos);
    assert!(cpu > Some(10_000_000), "{usage:?}");
    let memory = last.memory.as_ref().expect("told");
    assert!(memory.peak.is_none_or(|peak| peak > 8_000_000), "{usage:?}");
    assert!(memory.pgfault > Some(0), "{usage:?}");
    assert!(last.pids.is_some() && usage.machine.is_some(), "{usage:?}");
    assert_eq!(last.net, None, "it has no network of its own");
}

#[tokio::test]
async fn a_long_run_has_samples_on_its_way() {
    let world = World::new();
    let mut spec = world.shell("sleep 5");
    spec.metered = true;
    let usage = world.run(spec).await.usage.expect("measured");
    assert!((2..=4).contains(&usage.samples.len()), "{usage:?}");
    let times: Vec<_> = usage.samples.iter().map(|sample| sample.timestamp).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn a_network_of_its_own_is_measured_from_where_the_container_finds_it() {
    let world = World::new();
    let namespace = executor::Namespace::new().expect("made");
    let mut spec = world.shell("true");
    spec.metered = true;
    spec.namespace = Some(namespace.path());
    let usage = world.run(spec).await.usage.expect("measured");
    assert_eq!(usage.samples[0].net, Some(meter::Traffic::default()));
}
