//! What is done for which graph, build after build.

use super::sim::{Sim, parse};

/// Builds one graph after the other, each `(graph, target, value, what was done)`.
fn check(builds: &[(&str, &str, &str, &str)]) {
    let mut sim = Sim::new();
    for (n, (graph, target, value, done)) in builds.iter().enumerate() {
        let got = sim.build(graph, target);
        assert_eq!((got.0.as_str(), got.1.as_str()), (*value, *done), "build {n}");
    }
}

#[test]
fn a_second_build_loads_only_what_was_asked_for() {
    let graph = "a\nb <- a\nc <- b a";
    check(&[
        (graph, "c", "c(b(a),a)", "map a, map b, map c, run a, run b, run c"),
        (graph, "c", "c(b(a),a)", "load c, map a, map b, map c"),
        (graph, "b", "b(a)", "load b, map a, map b"),
    ]);
}

#[test]
fn a_changed_root_runs_everything_above() {
    check(&[
        ("a\nb <- a\nc <- b", "c", "c(b(a))", "map a, map b, map c, run a, run b, run c"),
        ("a @a2\nb <- a\nc <- b", "c", "c(b(a2))", "map a, map b, map c, run a, run b, run c"),
        ("a @a2\nb <- a\nc @c2 <- b", "c", "c2(b(a2))", "load b, map a, map b, map c, run c"),
    ]);
}

#[test]
fn equal_content_is_a_hit() {
    check(&[
        ("a =x\nb <- ~a\nc <- b", "c", "c(b(x))", "hash b/0, map a, map b, map c, run a, run b, run c"),
        ("a @a2 =x\nb <- ~a\nc <- b", "c", "c(b(x))", "hash b/0, load c, map a, map b, map c, run a"),
        // The new definition was linked to the old result.
        ("a @a2 =x\nb <- ~a\nc <- b", "c", "c(b(x))", "load c, map a, map b, map c"),
        ("a @a3 =y\nb <- ~a\nc <- b", "c", "c(b(y))", "hash b/0, map a, map b, map c, run a, run b, run c"),
    ]);
}

#[test]
fn an_input_that_matches_by_definition_is_not_computed_for_its_content() {
    let first = "a\nb\nc <- ~a ~b";
    check(&[
        (first, "c", "c(a,b)", "hash c/0, hash c/1, map a, map b, map c, run a, run b, run c"),
        ("a =zzz\nb @b2 =b\nc <- ~a ~b", "c", "c(a,b)", "hash c/1, load c, map a, map b, map c, run b"),
        (
            "a @a3 =a\nb @b3 =b\nc <- ~a ~b",
            "c",
            "c(a,b)",
            "hash c/0, hash c/1, load c, map a, map b, map c, run a, run b",
        ),
    ]);
}

#[test]
fn content_is_not_looked_into_where_another_input_misses() {
    // `b` can only match by content, but `a` cannot match at all: `c` has to run, so `b` is hashed to record the run.
    check(&[
        (
            "a\nb\nc <- a ~b\nd <- c",
            "d",
            "d(c(a,b))",
            "hash c/1, map a, map b, map c, map d, run a, run b, run c, run d",
        ),
        (
            "a @a2\nb\nc <- a ~b\nd <- c",
            "d",
            "d(c(a2,b))",
            "hash c/1, load b, map a, map b, map c, map d, run a, run c, run d",
        ),
    ]);
}

#[test]
fn matching_inputs_wait_for_those_that_do_not() {
    let graph = |key: &str| format!("v3 @{key} =r\nv1 <- ~v3\nv2\nv0 <- v1 ~v2\nmain <- v0");
    let value = "main(v0(v1(r),v2))";
    let mut sim = Sim::new();
    assert_eq!(sim.build(&graph("v3"), "main").0, value);
    let done = "hash v1/0, load main, map main, map v0, map v1, map v2, map v3, run v3";
    assert_eq!(sim.build(&graph("new"), "main"), (value.into(), done.into()));
}

#[test]
fn content_further_down_is_found_through_keys_alone() {
    check(&[
        (
            "s =x\na\nb <- a ~s\nc <- b\nd <- c",
            "d",
            "d(c(b(a,x)))",
            "hash b/1, map a, map b, map c, map d, map s, run a, run b, run c, run d, run s",
        ),
        (
            "s @s2 =x\na\nb <- a ~s\nc <- b\nd @d2 <- c",
            "d",
            "d2(c(b(a,x)))",
            "hash b/1, load c, map a, map b, map c, map d, map s, run d, run s",
        ),
    ]);
}

#[test]
fn selectors_tell_definitions_apart_but_not_content() {
    check(&[
        ("a\nb <- a/x", "b", "b(a)", "map a, map b, run a, run b"),
        ("a\nb <- a/y", "b", "b(a)", "load a, map a, map b, run b"),
        ("a\nc <- ~a/x", "c", "c(a)", "hash c/0, load a, map a, map c, run c"),
        ("a\nc <- ~a/y", "c", "c(a)", "hash c/0, load a, load c, map a, map c"),
        ("a\nc <- ~a/y", "c", "c(a)", "load c, map a, map c"),
    ]);
}

#[test]
fn parts_of_a_key_are_asked_for_one_by_one() {
    check(&[
        ("a @k1,k2,k3", "a", "k1", "map a, map a, map a, run a"),
        ("a @k2,k9", "a", "k1", "load a, map a"),
        ("a @k8,k3", "a", "k1", "load a, map a, map a"),
        ("a @k1,k2\nb <- a", "b", "b(k1)", "load a, map a, map a, map b, run b"),
        ("a @k7,k2\nb <- a", "b", "b(k1)", "load b, map a, map a, map b"),
    ]);
}

#[test]
fn ignoring_the_cache_runs_and_makes_consumers_miss() {
    check(&[
        ("a\nb <- a\nc <- b", "c", "c(b(a))", "map a, map b, map c, run a, run b, run c"),
        ("a\nb! <- a\nc <- b", "c", "c(b(a))", "load a, map a, map b, map c, run b, run c"),
        ("a\nb <- a\nc <- b", "c", "c(b(a))", "load c, map a, map b, map c"),
        // Equal content of what ran anew is a hit again.
        ("a\nb <- a\nd <- ~b", "d", "d(b(a))", "hash d/0, load b, map a, map b, map d, run d"),
        ("a\nb! <- a\nd <- ~b", "d", "d(b(a))", "hash d/0, load a, load d, map a, map b, map d, run b"),
    ]);
}

#[test]
fn a_new_record_replaces_the_old_one() {
    let mut sim = Sim::new();
    sim.build("a\nb! =1 <- a", "b");
    sim.build("a\nb! =2 <- a", "b");
    assert_eq!(sim.build("a\nb <- a", "b").0, "2");
}

#[test]
fn each_output_has_its_own_key() {
    check(&[
        ("a\nb <- a\nc <- b.1", "c", "c(b(a).1)", "map a, map b, map c, run a, run b, run c"),
        ("a\nb <- a\nc <- b.1", "c", "c(b(a).1)", "load c, map a, map b, map c"),
        ("a\nb <- a\nc <- b.1", "b.1", "b(a).1", "load b, map a, map b"),
        (
            "a\nb <- a\nc <- b.0 b.1",
            "c",
            "c(b(a),b(a).1)",
            "load a, load b, map a, map b, map c, run b, run c",
        ),
        ("a\nb <- a", "b.2", "`b` gave no output 2", "load a, map a, map b, run b"),
    ]);
}

#[test]
fn a_lost_result_is_made_again() {
    let mut sim = Sim::new();
    let graph = "a\nb <- a\nc <- b";
    sim.build(graph, "c");
    sim.lose_results();
    assert_eq!(sim.build(graph, "c"), ("c(b(a))".into(), "map a, map b, map c, run a, run b, run c".into()));
    assert_eq!(sim.key_count(), 3);
}

#[test]
fn a_result_lost_while_it_is_loaded_is_made_again() {
    let mut sim = Sim::new();
    let graph = "a\nb <- a\nc <- b";
    sim.build(graph, "c");
    let job = sim.job();
    let request = sim.want(job, &parse(graph), "c");
    sim.run_until("load c");
    sim.lose_results();
    sim.run();
    assert_eq!(sim.replies[&request], Ok("c(b(a))".into()));
}

#[test]
fn equal_vertices_of_two_builds_run_once() {
    let mut sim = Sim::new();
    let (one, two) = (sim.job(), sim.job());
    let latest = parse("latest @img\nr1 @r <- latest\nr2 @s <- r1");
    let pinned = parse("pinned @img\np1 @r <- pinned\np2 @s <- p1");
    let a = sim.want(one, &latest, "r2");
    let b = sim.want(two, &pinned, "p2");
    sim.run();
    assert_eq!((sim.replies[&a].as_deref(), sim.replies[&b].as_deref()), (Ok("s(r(img))"), Ok("s(r(img))")));
    let done = sim.done();
    assert_eq!(done.matches("run ").count(), 3, "{done}");
    assert_eq!(done.matches(" follows ").count(), 3, "{done}");
}

#[test]
fn a_follower_outlives_the_job_of_its_leader() {
    let mut sim = Sim::new();
    let (one, two) = (sim.job(), sim.job());
    sim.want(one, &parse("latest @img\nr1 @r <- latest"), "r1");
    let b = sim.want(two, &parse("pinned @img\np1 @r <- pinned"), "p1");
    sim.run_until("p1 follows r1");
    sim.run_until("run latest");
    sim.release(one);
    sim.run();
    assert_eq!(sim.replies[&b], Ok("r(img)".into()));
    assert!(!sim.done().contains("cancel"));
    sim.release(two);
    assert!(sim.core.is_idle());
}

#[test]
fn equal_content_merges_running_vertices() {
    let mut sim = Sim::new();
    let job = sim.job();
    let graph = parse("a =x\nb =x\nc1 @c <- ~a\nc2 @c <- ~b\nd <- c1 c2");
    let request = sim.want(job, &graph, "d");
    sim.run();
    assert_eq!(sim.replies[&request], Ok("d(c(x),c(x))".into()));
    let done = sim.done();
    assert_eq!(done.matches("run c").count(), 1, "{done}");
}

#[test]
fn a_vertex_equal_to_its_own_input_does_not_wait_for_itself() {
    let mut sim = Sim::new();
    let graph = "a =x\nb @k =x <- ~a\nc @k =x <- ~b\nd <- c";
    assert_eq!(sim.build(graph, "d").0, "d(x)");
    assert_eq!(sim.build(graph, "d").0, "d(x)");
}

#[test]
fn who_ignores_the_cache_does_not_follow_who_does_not() {
    let mut sim = Sim::new();
    let (one, two) = (sim.job(), sim.job());
    sim.want(one, &parse("a"), "a");
    sim.want(two, &parse("a!"), "a");
    sim.run();
    assert_eq!(sim.done(), "map a, map a, run a, run a");
    let three = sim.job();
    sim.want(three, &parse("a"), "a");
    sim.run();
    assert_eq!(sim.done(), "", "what ignores the cache serves those that do not");
}

#[test]
fn a_failure_reaches_all_who_need_it_and_is_tried_again_by_later_builds() {
    let mut sim = Sim::new();
    let graph = parse("a\nbad <- a\nb <- bad\nc <- a\nd <- c");
    let (one, two, three) = (sim.job(), sim.job(), sim.job());
    sim.failing.insert("bad".into());
    let (a, b, c) = (sim.want(one, &graph, "b"), sim.want(two, &graph, "bad"), sim.want(three, &graph, "d"));
    sim.run();
    let failed = Err("bad failed".to_owned());
    assert_eq!((&sim.replies[&a], &sim.replies[&b]), (&failed, &failed));
    assert_eq!(sim.replies[&c], Ok("d(c(a))".into()));
    assert_eq!(sim.done().matches("run bad").count(), 1);

    sim.failing.clear();
    let again = sim.want(one, &graph, "b");
    sim.run();
    assert_eq!(sim.replies[&again], Ok("b(bad(a))".into()));
    assert_eq!(sim.done(), "run b, run bad");
}

#[test]
fn a_failure_cancels_what_only_it_needed() {
    let mut sim = Sim::new();
    let graph = parse("slow\nshared\nbad\ntop <- bad slow shared");
    let (one, two) = (sim.job(), sim.job());
    sim.failing.insert("bad".into());
    let top = sim.want(one, &graph, "top");
    let shared = sim.want(two, &graph, "shared");
    sim.run_until("run bad");
    sim.run_until("run slow");
    sim.run_until("run shared");
    let (bad, _) = sim.todo.iter().find(|(_, t)| t.1.name == "bad").expect("bad runs");
    sim.finish(*bad);
    assert_eq!(sim.replies[&top], Err("bad failed".into()));
    assert_eq!(sim.log.iter().filter(|l| l.starts_with("cancel")).collect::<Vec<_>>(), ["cancel slow"]);
    sim.run();
    assert_eq!(sim.replies[&shared], Ok("shared".into()));
}

#[test]
fn a_cancelled_build_leaves_shared_work_alone() {
    let mut sim = Sim::new();
    let graph = parse("a\nb <- a\nc <- a");
    let (one, two) = (sim.job(), sim.job());
    let (b, c) = (sim.want(one, &graph, "b"), sim.want(two, &graph, "c"));
    sim.run_until("run a");
    sim.run_but("a");
    sim.withdraw(b);
    assert!(!sim.log.contains(&"cancel a".to_owned()));
    sim.withdraw(c);
    assert!(sim.log.contains(&"cancel a".to_owned()));
    let again = sim.want(one, &graph, "b");
    sim.run();
    assert_eq!(sim.replies[&again], Ok("b(a)".into()));
}

#[test]
fn an_op_may_build_more() {
    let mut sim = Sim::new();
    let (one, two) = (sim.job(), sim.job());
    let graph = parse("front\nout <- front");
    let out = sim.want(one, &graph, "out");
    sim.run_until("run front");
    let task = *sim.todo.iter().find(|(_, t)| t.1.name == "front").expect("front runs").0;
    let inner = sim.ask(super::super::Asker::Task(task), &parse("x\ny <- x"), "y");
    // A job that comes later keeps the inner build alive when the first one leaves.
    let late = sim.want(two, &graph, "out");
    sim.release(one);
    while !sim.replies.contains_key(&inner) {
        let next = *sim.todo.keys().find(|t| **t != task).expect("the inner build goes on");
        sim.finish(next);
    }
    assert_eq!(sim.replies[&inner], Ok("y(x)".into()));
    assert_eq!(sim.replies[&out], Err("context canceled".into()));
    sim.run();
    assert_eq!(sim.replies[&late], Ok("out(front)".into()));
    sim.release(two);
    assert!(sim.core.is_idle());
}

#[test]
fn what_an_op_asked_for_is_held_by_the_jobs_of_who_takes_over() {
    let mut sim = Sim::new();
    let (one, two) = (sim.job(), sim.job());
    sim.failing.insert("first".into());
    sim.want(one, &parse("first @k"), "first");
    sim.run_until("run first");
    let task = *sim.todo.iter().find(|(_, t)| t.1.name == "first").expect("it runs").0;
    sim.ask(super::super::Asker::Task(task), &parse("inner"), "inner");
    sim.finish(task);
    // It failed, and another one of its key runs for another job; when it is tried again it follows that one.
    sim.want(two, &parse("second @k =v"), "second");
    sim.run_until("run second");
    sim.want(one, &parse("first @k"), "first");
    sim.run_until("first follows second");
    sim.audit();
    sim.release(one);
    sim.audit();
    sim.run();
    sim.release(two);
    sim.audit_empty();
}

#[test]
fn an_op_that_waits_for_itself_is_told_so() {
    let mut sim = Sim::new();
    let job = sim.job();
    let graph = parse("front\nout <- front");
    sim.want(job, &graph, "out");
    sim.run_until("run front");
    let task = *sim.todo.iter().find(|(_, t)| t.1.name == "front").expect("front runs").0;
    let inner = sim.ask(super::super::Asker::Task(task), &graph, "out");
    assert_eq!(sim.replies[&inner], Err("`front` waits for itself".into()));
}

#[test]
fn records_say_what_went_into_their_key() {
    use crate::keys::KeyStore;
    let mut sim = Sim::new();
    let job = sim.job();
    let defs = parse("a\nb <- a");
    sim.want(job, &defs, "b");
    sim.run();
    let keys = sim.core.output_keys(&oci::Digest::of(&defs[1].identity), 0);
    let info = sim.keys.info(&keys[0]).unwrap().expect("recorded");
    assert_eq!((info.name.as_str(), info.output), ("b", 0));
    assert_eq!(info.ingredients, [("key".to_owned(), "b".to_owned())]);
    assert_eq!(sim.keys.origins(&keys[0]).unwrap().len(), 1);
}
