//! Values and errors.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use errdefs::{Class, Detail, Error};
use solver::Options;
use tokio::sync::Barrier;

use crate::world::{World, edge, vertex};

#[tokio::test]
async fn a_value_comes_from_below_and_then_from_the_cache() {
    let world = World::new();
    let a = vertex("a", &[]).done();
    let b = vertex("b", &[&a]).content().done();
    let (job, _) = world.job("one");
    assert_eq!(job.build(edge(&b)).await.unwrap(), "b(a)");
    assert_eq!(job.keys(&edge(&b)).await.len(), 1);
    job.close().await;

    let renamed = vertex("other", &[]).key("a").done();
    let c = vertex("b again", &[&renamed]).key("b").fails("must not run").content().done();
    let (job, _) = world.job("two");
    assert_eq!(job.build(edge(&c)).await.unwrap(), "b(a)");

    world.results.clear();
    let (job, _) = world.job("three");
    let other = vertex("c", &[&b]).done();
    assert_eq!(job.build(edge(&other)).await.unwrap(), "c(b(a))");
    drop(job);
    world.scheduler.drain().await;
}

#[tokio::test]
async fn errors_say_what_failed_and_where() {
    let world = World::new();
    let bad_run = vertex("x", &[]).fails("exit code: 1").done();
    let bad_key = vertex("x", &[]).key_fails("no such image").done();
    let input = vertex("input", &[]).done();
    let bad_content = vertex("x", &[&input]).content_fails("`/foo`: not found").done();
    let panics = vertex("x", &[&input]).work(|_, _| async { panic!("oh no") }).done();
    for (vertex, class, message) in [
        (bad_run, Class::User, "exit code: 1"),
        (bad_key, Class::User, "failed to load cache key: no such image"),
        (bad_content, Class::User, "failed to compute cache key: `/foo`: not found"),
        (panics, Class::Internal, "panic: oh no"),
    ] {
        let (job, _) = world.job("job");
        let error = job.build(edge(&vertex)).await.unwrap_err();
        assert_eq!((error.class(), error.to_string().as_str()), (class, message));
        assert_eq!(error.details(), [Detail::Vertex { digest: vertex.digest.to_string() }]);
        let (job, _) = world.job("what needs it");
        let above = crate::world::vertex("above", &[&vertex]).done();
        assert_eq!(job.build(edge(&above)).await.unwrap_err().to_string(), message);
    }
}

#[tokio::test]
async fn two_jobs_share_one_run_and_its_op_sees_both() {
    let world = World::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let meet = Arc::new(Barrier::new(2));
    let (count, wait) = (runs.clone(), meet.clone());
    let a = vertex("a", &[])
        .work(move |cx, _| {
            let (count, wait) = (count.clone(), wait.clone());
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                wait.wait().await;
                wait.wait().await;
                let contexts: Vec<String> = cx.job_contexts().iter().map(|c| c.to_string()).collect();
                Ok(contexts.join("+"))
            }
        })
        .done();
    let (one, _one) = world.job("one");
    let (two, _two) = world.job("two");
    let first = async {
        let (value, ()) = tokio::join!(one.build(edge(&a)), async {
            meet.wait().await;
            let second = two.build(edge(&a));
            let (value, ()) = tokio::join!(second, async {
                // The request of the second job is on its way before the op goes on.
                two.keys(&edge(&a)).await;
                meet.wait().await;
            });
            assert_eq!(value.unwrap(), "one+two");
        });
        value.unwrap()
    };
    assert_eq!(first.await, "one+two");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_op_builds_more_on_behalf_of_its_jobs() {
    let world = World::new();
    let inner = vertex("inner", &[]).done();
    let outer = vertex("outer", &[])
        .work(move |cx, _| {
            let inner = edge(&inner);
            async move { Ok(format!("outer:{}", cx.build(inner).await?)) }
        })
        .done();
    let (job, memory) = world.job("job");
    assert_eq!(job.build(edge(&outer)).await.unwrap(), "outer:inner");
    assert!(memory.lines().contains(&"inner done".to_owned()));
}

#[tokio::test]
async fn limited_ops_wait_for_a_place() {
    let world = World::with(Options { max_parallelism: NonZeroUsize::new(2) });
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let runs: Vec<_> = (0..8)
        .map(|n| {
            let (now, most) = (now.clone(), most.clone());
            vertex(&format!("v{n}"), &[])
                .limited()
                .work(move |_, _| {
                    let (now, most) = (now.clone(), most.clone());
                    async move {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        for _ in 0..10 {
                            tokio::task::yield_now().await;
                        }
                        now.fetch_sub(1, Ordering::SeqCst);
                        Ok(String::new())
                    }
                })
                .done()
        })
        .collect();
    let top = vertex("top", &runs.iter().collect::<Vec<_>>()).work(|_, _| async { Ok("top".into()) }).done();
    let (job, _) = world.job("job");
    assert_eq!(job.build(edge(&top)).await.unwrap(), "top");
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_failure_is_tried_again() {
    let world = World::new();
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let flaky = vertex("flaky", &[])
        .work(move |_, _| {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            async move { if first { Err(Error::environment("connection reset")) } else { Ok("fine".into()) } }
        })
        .done();
    let top = vertex("top", &[&flaky]).done();
    let (job, _) = world.job("job");
    assert_eq!(job.build(edge(&top)).await.unwrap_err().to_string(), "connection reset");
    assert_eq!(job.build(edge(&top)).await.unwrap(), "top(fine)");
}

#[tokio::test]
async fn a_vertex_of_two_jobs_has_the_op_of_the_first() {
    let world = World::new();
    let (a, again) = (vertex("a", &[]).done(), vertex("a", &[]).done());
    let ((one, _), (two, _)) = (world.job("one"), world.job("two"));
    let unknown = oci::Digest::of("unknown");
    one.build(edge(&a)).await.unwrap();
    two.build(edge(&again)).await.unwrap();
    let ops = two.ops(vec![again.digest.clone(), unknown]).await;
    assert!(std::ptr::addr_eq(Arc::as_ptr(ops[0].as_ref().unwrap()), Arc::as_ptr(&a.op)));
    assert!(ops[1].is_none());
    assert!(two.lineage(&edge(&again)).await.iter().map(|l| (&l.vertex, l.output)).eq([(&a.digest, 0)]));
}
