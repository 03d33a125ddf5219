//! Random graphs in random orders, with failures, cancellations and lost results. A case is a number: the one that
//! fails is printed, and `SOLVER_CASE=<number>` runs it alone.

use std::fmt::Write as _;

use super::sim::{Def, Sim, Todo, parse, value_of};
use crate::core::{Asker, JobId, RequestId};

/// xorshift64*: the same numbers everywhere, for ever.
struct Random(u64);

impl Random {
    fn new(case: u64) -> Self {
        Random(case.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % n
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A graph in which keys and contents often meet. The value of a vertex follows from its keys.
fn graph(r: &mut Random, ignoring: bool) -> String {
    let mut text = String::new();
    let size = 2 + r.below(9);
    for n in 0..size {
        let inputs = if n == 0 { 0 } else { r.below(4).min(n) };
        let name = format!("v{n}{}", if ignoring && r.chance(10) { "!" } else { "" });
        let key = r.below(3);
        if inputs == 0 {
            // Second parts tell the same story as first ones.
            let parts = if r.chance(30) { format!(",p{}", key % 2) } else { String::new() };
            let _ = write!(text, "{name} @k{key}{parts} =x{}", key % 2);
        } else {
            // An op's key tells how many inputs it has.
            let key = format!("{key}:{inputs}");
            let of_key = if r.chance(30) { format!("@s{key} =same{key}") } else { format!("@o{key}") };
            let _ = write!(text, "{name} {of_key} <-");
            for _ in 0..inputs {
                let content = if r.chance(40) { "~" } else { "" };
                let output = if r.chance(10) { ".1" } else { "" };
                let selector = if r.chance(20) { ["/s", "/t"][r.below(2)] } else { "" };
                let _ = write!(text, " {content}v{}{output}{selector}", r.below(n));
            }
        }
        text.push('\n');
    }
    text
}

/// What the last vertex of a graph is worth.
fn expected(defs: &[Def]) -> String {
    let mut values: Vec<String> = Vec::new();
    for def in defs {
        let inputs: Vec<String> =
            def.inputs
                .iter()
                .map(|i| {
                    if i.output == 0 {
                        values[i.at].clone()
                    } else {
                        format!("{}.{}", values[i.at], i.output)
                    }
                })
                .collect();
        values.push(value_of(def, &inputs));
    }
    values.pop().expect("graphs are not empty")
}

struct Wish {
    job: JobId,
    request: RequestId,
    expected: String,
}

fn play(case: u64) {
    let mut r = Random::new(case);
    let mut sim = Sim::new();
    let graphs: Vec<Vec<Def>> =
        (0..1 + r.below(3)).map(|_| parse(&graph(&mut r, case.is_multiple_of(3)))).collect();
    let mut jobs: Vec<JobId> = Vec::new();
    let mut wishes: Vec<Wish> = Vec::new();
    for _ in 0..20 + r.below(60) {
        match r.below(100) {
            0..70 => finish_some(&mut sim, &mut r),
            70..85 => {
                if jobs.is_empty() || r.chance(60) {
                    jobs.push(sim.job());
                }
                let job = jobs[r.below(jobs.len())];
                let defs = &graphs[r.below(graphs.len())];
                let defs = &defs[..1 + r.below(defs.len())];
                let request = sim.want(job, defs, &defs[defs.len() - 1].name);
                wishes.push(Wish { job, request, expected: expected(defs) });
            }
            85..90 if !wishes.is_empty() => {
                let wish = wishes.swap_remove(r.below(wishes.len()));
                sim.withdraw(wish.request);
            }
            90..94 if !jobs.is_empty() => {
                let job = jobs.swap_remove(r.below(jobs.len()));
                sim.release(job);
                wishes.retain(|w| w.job != job);
            }
            94..97 => {
                let kind = if r.chance(70) { "" } else { "map:" };
                let name = format!("{kind}v{}", r.below(10));
                if !sim.failing.remove(&name) {
                    sim.failing.insert(name);
                }
            }
            97..98 => lose_one(&mut sim, &mut r),
            98..99 => {
                // An op asks for something, and does not care what comes of it.
                let running =
                    sim.todo.iter().find(|(_, t)| matches!(t.2, Todo::Exec(_))).map(|(&task, _)| task);
                if let Some(task) = running {
                    let defs = &graphs[r.below(graphs.len())];
                    sim.ask(Asker::Task(task), defs, &defs[r.below(defs.len())].name);
                }
            }
            _ => {}
        }
        sim.audit();
    }
    while !sim.todo.is_empty() {
        finish_some(&mut sim, &mut r);
        sim.audit();
    }
    for wish in &wishes {
        match sim.replies.get(&wish.request).expect("who waits is answered") {
            Ok(value) => assert_eq!(*value, wish.expected),
            Err(e) => assert!(e.ends_with(" failed") || e.starts_with("no key"), "{e}"),
        }
    }
    jobs.iter().for_each(|&job| sim.release(job));
    sim.run();
    sim.audit_empty();
    settle(&mut sim, &graphs);
}

/// Ends one task, in whatever order; sometimes one that was cancelled long ago.
fn finish_some(sim: &mut Sim, r: &mut Random) {
    let from_late = !sim.late.is_empty() && r.chance(20);
    let tasks = if from_late { &sim.late } else { &sim.todo };
    if !tasks.is_empty() {
        let task = *tasks.keys().nth(r.below(tasks.len())).expect("below the number of tasks");
        sim.finish(task);
    }
}

fn lose_one(sim: &mut Sim, r: &mut Random) {
    let mut results = sim.results.lock().unwrap();
    let mut ids: Vec<_> = results.keys().cloned().collect();
    ids.sort();
    if !ids.is_empty() {
        results.remove(&ids[r.below(ids.len())]);
    }
}

/// With nothing in the way, each graph is built, and a second time for nothing.
fn settle(sim: &mut Sim, graphs: &[Vec<Def>]) {
    sim.failing.clear();
    for defs in graphs {
        for round in 0..2 {
            sim.log.clear();
            let job = sim.job();
            let request = sim.want(job, defs, &defs[defs.len() - 1].name);
            sim.run();
            assert_eq!(sim.replies[&request].as_deref(), Ok(expected(defs).as_str()));
            sim.release(job);
            let ran = sim.log.iter().any(|l| l.starts_with("run") || l.starts_with("hash"));
            assert!(round == 0 || !ran || defs.iter().any(|d| d.ignore_cache), "{:?}", sim.log);
        }
    }
    sim.audit_empty();
}

#[test]
fn any_order_comes_to_the_same_end() {
    let cases = match std::env::var("SOLVER_CASE").ok().and_then(|c| c.parse().ok()) {
        Some(case) => case..case + 1,
        None => 0..2000,
    };
    for case in cases {
        let outcome = std::panic::catch_unwind(|| play(case));
        if let Err(panic) = outcome {
            eprintln!("SOLVER_CASE={case} fails");
            std::panic::resume_unwind(panic);
        }
    }
}
