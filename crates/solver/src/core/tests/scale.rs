//! Work grows with the graph, not with its square.

use std::fmt::Write as _;

use super::sim::{Sim, parse};

/// Commands for a first and for a second build of a graph.
fn commands(text: &str, target: &str) -> (usize, usize) {
    let mut sim = Sim::new();
    sim.build(text, target);
    let first = std::mem::take(&mut sim.commands);
    sim.build(text, target);
    (first, sim.commands)
}

fn chain(length: usize) -> String {
    let mut text = String::from("v0\n");
    for n in 1..length {
        let _ = writeln!(text, "v{n} <- v{}", n - 1);
    }
    text
}

#[test]
fn a_chain_costs_the_same_for_each_step() {
    let (first, second) = commands(&chain(1000), "v999");
    // Add, join, show, map, run, save and drop for each vertex; map and no more the second time.
    assert!(first <= 7 * 1000 + 10 && second <= 5 * 1000 + 10, "{first} {second}");
}

#[test]
fn a_wide_graph_costs_the_same_for_each_vertex() {
    let mut text = String::from("base\n");
    for n in 0..1000 {
        let _ = writeln!(text, "v{n} <- base");
    }
    let inputs: Vec<String> = (0..1000).map(|n| format!("v{n}")).collect();
    let _ = writeln!(text, "top =t <- {}", inputs.join(" "));
    let (first, second) = commands(&text, "top");
    assert!(first <= 7 * 1002 + 10 && second <= 5 * 1002 + 10, "{first} {second}");
}

#[test]
fn two_chains_that_are_equal_merge_step_by_step() {
    let mut sim = Sim::new();
    let (one, two) = (sim.job(), sim.job());
    sim.want(one, &parse(&chain(300)), "v299");
    sim.want(two, &parse(&chain(300).replace('v', "w").replacen("w0\n", "w0 @v0\n", 1)), "w299");
    sim.run();
    assert_eq!(sim.replies.len(), 2);
}
