//! Who no longer waits, and what becomes of the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use solver::Vertex;
use tokio::sync::Notify;

use crate::world::{Text, World, edge, vertex};

struct Endless {
    vertex: Arc<Vertex<Text>>,
    begun: Arc<Notify>,
    ended: Arc<AtomicBool>,
}

/// Runs until it is cancelled, and takes its time to end.
fn endless(name: &str) -> Endless {
    let (begun, ended) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (tell, end) = (begun.clone(), ended.clone());
    let vertex = vertex(name, &[])
        .work(move |cx, _| {
            let (tell, end) = (tell.clone(), end.clone());
            async move {
                tell.notify_one();
                cx.cancel.cancelled().await;
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                end.store(true, Ordering::SeqCst);
                Err(errdefs::Error::canceled())
            }
        })
        .done();
    Endless { vertex, begun, ended }
}

#[tokio::test]
async fn closing_a_job_waits_for_what_it_cancelled() {
    let world = World::new();
    let work = endless("endless");
    let (job, memory) = world.job("job");
    tokio::select! {
        _ = job.build(edge(&work.vertex)) => panic!("it is endless"),
        () = work.begun.notified() => {}
    }
    job.close().await;
    assert!(work.ended.load(Ordering::SeqCst));
    let lines = memory.lines();
    assert_eq!(lines.last().map(String::as_str), Some("endless ERROR context canceled"), "{lines:?}");
    world.scheduler.drain().await;
}

/// Closing a job comes to an end although what it waits for never does.
async fn check_let_go(target: &Arc<Vertex<Text>>, asked: &Notify) {
    let world = World::new();
    let (job, _) = world.job("job");
    tokio::select! {
        _ = job.build(edge(target)) => panic!("it is endless"),
        () = asked.notified() => {}
    }
    job.close().await;
    world.scheduler.drain().await;
}

#[tokio::test]
async fn a_key_that_never_comes_is_let_go_of() {
    let asked = Arc::new(Notify::new());
    check_let_go(&vertex("a", &[]).endless_key(&asked).done(), &asked).await;
    let input = vertex("input", &[]).done();
    check_let_go(&vertex("b", &[&input]).endless_content(&asked).done(), &asked).await;
}

#[tokio::test]
async fn a_job_that_leaves_does_not_disturb_another() {
    let world = World::new();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (begun.clone(), go.clone());
    let shared = vertex("shared", &[])
        .work(move |cx, _| {
            let (tell, wait) = (tell.clone(), wait.clone());
            async move {
                tell.notify_one();
                tokio::select! {
                    () = wait.notified() => Ok("kept".into()),
                    () = cx.cancel.cancelled() => Err(errdefs::Error::canceled()),
                }
            }
        })
        .done();
    let (one, first) = world.job("one");
    let (two, second) = world.job("two");
    let both = async { tokio::join!(one.build(edge(&shared)), two.build(edge(&shared))) };
    tokio::select! {
        _ = both => panic!("nobody said go"),
        () = begun.notified() => {}
    }
    // The withdrawn builds are asked for again, by one of the two.
    let again = two.build(edge(&shared));
    let (value, ()) = tokio::join!(again, async {
        one.close().await;
        begun.notified().await;
        go.notify_one();
    });
    assert_eq!(value.unwrap(), "kept");
    assert!(first.lines().contains(&"shared ERROR context canceled".to_owned()));
    assert_eq!(second.lines().last().map(String::as_str), Some("shared done"));
}

#[tokio::test]
async fn one_failure_cancels_the_rest_of_its_job() {
    let world = World::new();
    let work = endless("endless");
    let begun = work.begun.clone();
    let bad = vertex("bad", &[])
        .work(move |_, _| {
            let begun = begun.clone();
            async move {
                begun.notified().await;
                Err(errdefs::Error::user("bad"))
            }
        })
        .done();
    let top = vertex("top", &[&work.vertex, &bad]).done();
    let (job, memory) = world.job("job");
    assert_eq!(job.build(edge(&top)).await.unwrap_err().to_string(), "bad");
    job.close().await;
    assert!(work.ended.load(Ordering::SeqCst));
    let lines = memory.lines();
    assert!(lines.contains(&"bad ERROR bad".to_owned()), "{lines:?}");
    assert!(lines.contains(&"endless ERROR context canceled".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn a_job_dropped_while_it_waits_is_over() {
    let world = World::new();
    let work = endless("endless");
    let (job, _) = world.job("job");
    let target = edge(&work.vertex);
    let build = tokio::spawn(async move { job.build(target).await });
    work.begun.notified().await;
    build.abort();
    world.scheduler.drain().await;
    assert!(work.ended.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_builds_come_and_go() {
    let world = World::new();
    let base = vertex("base", &[]).done();
    let steps: Vec<_> = (0..20)
        .map(|n| {
            let below = vertex(&format!("below{n}"), &[&base]).content().done();
            vertex(&format!("step{n}"), &[&below, &base])
                .limited()
                .work(|cx, inputs| async move {
                    for _ in 0..inputs[0].len() {
                        tokio::task::yield_now().await;
                    }
                    if cx.cancel.is_cancelled() {
                        Err(errdefs::Error::canceled())
                    } else {
                        Ok(inputs.join("+"))
                    }
                })
                .done()
        })
        .collect();
    let builds = (0..200_usize).map(|n| {
        let (job, _) = world.job("job");
        let target = steps[n % steps.len()].clone();
        tokio::spawn(async move {
            let patience = async {
                for _ in 0..n % 37 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                value = job.build(edge(&target)) => assert_eq!(value.unwrap(), format!("below{}(base)+base", n % 20)),
                () = patience, if n % 3 == 0 => {}
            }
            if n % 2 == 0 {
                job.close().await;
            }
        })
    });
    for build in builds.collect::<Vec<_>>() {
        build.await.unwrap();
    }
    world.scheduler.drain().await;
}
