//! Large graphs on the real scheduler.

use crate::world::{World, edge, vertex};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_steps_in_a_chain() {
    let world = World::new();
    let mut top = vertex("v0", &[]).done();
    for n in 1..10_000 {
        top = vertex(&format!("v{n}"), &[&top]).work(|_, _| async { Ok("x".into()) }).done();
    }
    for round in 0..2 {
        let (job, memory) = world.job("job");
        assert_eq!(job.build(edge(&top)).await.unwrap(), "x");
        job.close().await;
        let cached = memory.lines().iter().filter(|l| l.ends_with(" CACHED")).count();
        assert_eq!(cached, if round == 0 { 0 } else { 10_000 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_inputs_of_one_step() {
    let world = World::new();
    let base = vertex("base", &[]).done();
    let between: Vec<_> = (0..10_000).map(|n| vertex(&format!("v{n}"), &[&base]).done()).collect();
    let top = vertex("top", &between.iter().collect::<Vec<_>>()).work(|_, _| async { Ok("x".into()) }).done();
    for _ in 0..2 {
        let (job, _) = world.job("job");
        assert_eq!(job.build(edge(&top)).await.unwrap(), "x");
        job.close().await;
    }
}
