//! Builds that look into what others have built.

use super::sim::{Sim, parse};
use crate::keys::KeyStore;

const GRAPH: &str = "a\nb <- a\nc <- b a";

/// A world in which these graphs were built.
fn elsewhere(builds: &[(&str, &str)]) -> Sim {
    let mut sim = Sim::new();
    for (graph, target) in builds {
        sim.build(graph, target);
    }
    sim
}

/// Builds with what `there` has built, and after that without it; each as `(graph, target, value, what was done)`.
fn check(there: &[(&str, &str)], with: &[(&str, &str, &str, &str)], without: &[(&str, &str, &str, &str)]) {
    let there = elsewhere(there);
    let before = there.keys.len();
    let mut here = Sim::new();
    here.caches.push(there.as_cache(7));
    for (n, (graph, target, value, done)) in with.iter().enumerate() {
        let got = here.build(graph, target);
        assert_eq!((got.0.as_str(), got.1.as_str()), (*value, *done), "build {n} with the cache");
    }
    assert_eq!(there.keys.len(), before, "nothing is written to a cache of others");
    here.caches.clear();
    for (n, (graph, target, value, done)) in without.iter().enumerate() {
        let got = here.build(graph, target);
        assert_eq!((got.0.as_str(), got.1.as_str()), (*value, *done), "build {n} without the cache");
    }
    for result in here.keys.results().expect("results") {
        for key in here.keys.keys_of(&result).expect("keys") {
            assert!(!key.is_foreign(), "{key} means nothing in the own store");
        }
    }
}

#[test]
fn what_others_have_built_is_fetched_and_kept() {
    check(
        &[(GRAPH, "c")],
        &[(GRAPH, "c", "c(b(a),a)", "fetch c, map a, map b, map c")],
        &[
            (GRAPH, "c", "c(b(a),a)", "load c, map a, map b, map c"),
            // Only what was asked for was fetched.
            (GRAPH, "b", "b(a)", "map a, map b, run a, run b"),
            (GRAPH, "c", "c(b(a),a)", "load c, map a, map b, map c"),
        ],
    );
}

#[test]
fn what_is_here_is_not_fetched() {
    check(
        &[(GRAPH, "c")],
        &[
            ("a\nb <- a", "b", "b(a)", "fetch b, map a, map b"),
            ("a\nb <- a", "b", "b(a)", "load b, map a, map b"),
            (GRAPH, "c", "c(b(a),a)", "fetch c, map a, map b, map c"),
        ],
        &[(GRAPH, "c", "c(b(a),a)", "load c, map a, map b, map c")],
    );
}

#[test]
fn a_change_on_top_fetches_what_is_below() {
    let changed = "a\nb <- a\nc @c2 <- b";
    check(
        &[("a\nb <- a\nc <- b", "c")],
        &[(changed, "c", "c2(b(a))", "fetch b, map a, map b, map c, run c")],
        &[
            (changed, "c", "c2(b(a))", "load c, map a, map b, map c"),
            (changed, "b", "b(a)", "load b, map a, map b"),
        ],
    );
    check(
        &[("a\nb <- a\nc <- b", "c")],
        &[("a @a2\nb <- a\nc <- b", "c", "c(b(a2))", "map a, map b, map c, run a, run b, run c")],
        &[],
    );
}

#[test]
fn equal_content_is_a_hit_elsewhere_too() {
    check(
        &[("a =x\nb <- ~a\nc <- b", "c")],
        &[
            ("a @a2 =x\nb <- ~a\nc <- b", "c", "c(b(x))", "fetch c, hash b/0, map a, map b, map c, run a"),
            (
                "a @a3 =y\nb <- ~a\nc <- b",
                "c",
                "c(b(y))",
                "hash b/0, map a, map b, map c, run a, run b, run c",
            ),
        ],
        // Found by the definition now.
        &[("a @a2 =x\nb <- ~a\nc <- b", "c", "c(b(x))", "load c, map a, map b, map c")],
    );
}

#[test]
fn what_ignores_the_cache_ignores_that_of_others() {
    check(
        &[(GRAPH, "c")],
        &[("a\nb! <- a\nc <- b a", "c", "c(b(a),a)", "fetch a, map a, map b, map c, run b, run c")],
        &[(GRAPH, "c", "c(b(a),a)", "load c, map a, map b, map c")],
    );
}

#[test]
fn a_result_that_is_gone_elsewhere_is_made_here() {
    let mut there = elsewhere(&[(GRAPH, "c")]);
    there.lose_results();
    let mut here = Sim::new();
    here.caches.push(there.as_cache(1));
    let done = "fetch a, fetch b, fetch c, map a, map b, map c, run a, run b, run c";
    assert_eq!(here.build(GRAPH, "c"), ("c(b(a),a)".into(), done.into()));
}

#[test]
fn several_caches_are_looked_into() {
    let one = elsewhere(&[("a\nb <- a", "b")]);
    let two = elsewhere(&[("x\ny <- x", "y")]);
    let mut here = Sim::new();
    here.caches = vec![one.as_cache(1), two.as_cache(2)];
    let got = here.build("a\nb <- a\nx\ny <- x\nz <- b y", "z");
    let done = "fetch b, fetch y, map a, map b, map x, map y, map z, run z";
    assert_eq!(got, ("z(b(a),y(x))".into(), done.into()));
}

#[test]
fn a_cache_that_comes_with_a_later_build_helps_the_first() {
    let there = elsewhere(&[(GRAPH, "c")]);
    let mut here = Sim::new();
    let defs = parse(GRAPH);
    let (first, second) = (here.job(), here.job());
    let waiting = here.want(first, &defs, "c");
    here.caches.push(there.as_cache(3));
    let other = here.want(second, &defs, "b");
    here.run();
    assert_eq!(here.replies[&waiting], Ok("c(b(a),a)".into()));
    assert_eq!(here.replies[&other], Ok("b(a)".into()));
    here.release(first);
    here.release(second);
    assert!(here.core.is_idle() && here.core.caches_in_use().is_empty());
}
