//! What a job is shown.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::world::{World, edge, vertex};

#[tokio::test]
async fn a_build_announces_runs_and_ends() {
    let world = World::new();
    let a = vertex("a", &[]).done();
    let b = vertex("b", &[&a])
        .work(|cx, _| async move {
            cx.step.log(1, Bytes::from_static(b"hello"));
            Ok("b".into())
        })
        .done();
    let (job, memory) = world.job("job");
    job.build(edge(&b)).await.unwrap();
    let expected = ["a", "b", "a started", "a done", "b started", "b: hello", "b done"];
    assert_eq!(memory.lines(), expected);
}

#[tokio::test]
async fn a_key_that_takes_time_is_shown_as_work() {
    let world = World::new();
    let a = vertex("a", &[]).slow_key().done();
    let (job, memory) = world.job("job");
    job.build(edge(&a)).await.unwrap();
    assert_eq!(memory.lines(), ["a", "a started", "a done", "a started", "a done"]);
}

#[tokio::test]
async fn a_key_that_fails_is_shown() {
    for slow in [false, true] {
        let world = World::new();
        let a = vertex("a", &[]).key_fails("no such thing");
        let a = if slow { a.slow_key() } else { a }.done();
        let (job, memory) = world.job("job");
        job.build(edge(&a)).await.unwrap_err();
        assert_eq!(memory.lines(), ["a", "a started", "a ERROR no such thing"], "slow: {slow}");
    }
}

#[tokio::test]
async fn what_lies_below_a_hit_is_shown_as_cached() {
    let world = World::new();
    let a = vertex("a", &[]).done();
    let b = vertex("b", &[&a]).done();
    let c = vertex("c", &[&b]).done();
    let d = vertex("d", &[&c]).done();
    let (job, _) = world.job("one");
    job.build(edge(&d)).await.unwrap();
    job.close().await;
    let (job, memory) = world.job("two");
    job.build(edge(&d)).await.unwrap();
    let expected = ["a", "b", "c", "d", "a CACHED", "b CACHED", "c CACHED", "d CACHED"];
    assert_eq!(memory.lines(), expected);
    // Asking again shows nothing new.
    memory.take();
    job.build(edge(&d)).await.unwrap();
    assert!(memory.lines().is_empty());
}

#[tokio::test]
async fn errors_are_shown_at_their_vertex_without_prefix() {
    let world = World::new();
    let a = vertex("a", &[]).done();
    let b = vertex("b", &[&a]).content_fails("`/foo`: not found").done();
    let (job, memory) = world.job("job");
    job.build(edge(&b)).await.unwrap_err();
    assert_eq!(memory.lines()[2..], ["a started", "a done", "b started", "b ERROR `/foo`: not found"]);
}

#[tokio::test]
async fn who_follows_is_shown_the_work_as_its_own() {
    let world = World::new();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (begun.clone(), go.clone());
    let slow = vertex("slow", &[])
        .key("same")
        .work(move |cx, _| {
            let (tell, wait) = (tell.clone(), wait.clone());
            async move {
                tell.notify_one();
                wait.notified().await;
                cx.step.log(1, Bytes::from_static(b"late"));
                Ok("v".into())
            }
        })
        .done();
    let twin = vertex("twin", &[]).key("same").fails("the other one runs").done();
    let (one, first) = world.job("one");
    let (two, second) = world.job("two");
    let (a, b, ()) = tokio::join!(one.build(edge(&slow)), two.build(edge(&twin)), async {
        begun.notified().await;
        // The twin's cache map is there, and it follows, before the work goes on.
        while !second.lines().contains(&"twin started".to_owned()) {
            tokio::task::yield_now().await;
        }
        go.notify_one();
    });
    assert_eq!((a.unwrap(), b.unwrap()), ("v".to_owned(), "v".to_owned()));
    assert_eq!(first.lines().last().map(String::as_str), Some("slow done"));
    let shown = second.lines();
    assert!(shown.contains(&"twin: late".to_owned()), "{shown:?}");
    assert_eq!(shown.last().map(String::as_str), Some("twin done"));
}
