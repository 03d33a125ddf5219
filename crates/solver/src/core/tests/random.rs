//! Random graphs in random orders, with failures, cancellations and lost results. A case is a number: the one that
//! fails is printed, and `SOLVER_CASE=<number>` runs it alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::sim::{Def, Input, Outcome, Sim, Todo, parse, value_of};
use crate::core::edges::Taken;
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
                let output = if r.chance(10) { [".1", ".1", ".1", ".2"][r.below(4)] } else { "" };
                let selector = if r.chance(20) { ["/s", "/t"][r.below(2)] } else { "" };
                let _ = write!(text, " {content}v{}{output}{selector}", r.below(n));
            }
        }
        text.push('\n');
    }
    text
}

/// What the last vertex of a graph is worth; `None` where it cannot be had: no op has an output 2.
fn expected(defs: &[Def]) -> Option<String> {
    let mut values: Vec<Option<String>> = Vec::new();
    for def in defs {
        let input = |i: &Input| match i.output {
            0 => values[i.at].clone(),
            1 => values[i.at].as_ref().map(|value| format!("{value}.1")),
            _ => None,
        };
        let inputs: Option<Vec<String>> = def.inputs.iter().map(input).collect();
        values.push(inputs.map(|inputs| value_of(def, &inputs)));
    }
    values.pop().expect("graphs are not empty")
}

/// Whether an answer is the right one. A value may also come from the cache, where equal keys had it before.
fn is_right(answer: &Outcome, expected: Option<&str>, may_fail: bool) -> bool {
    match (answer, expected) {
        (Ok(value), Some(expected)) => value == expected,
        // The op that has no such output fails, and with it all that wait for another of its outputs at that time.
        (Err(e), _) if e.ends_with("gave no output 2") => may_fail || expected.is_none(),
        (Err(e), _) => {
            may_fail && [" failed", "no key", "no hash"].iter().any(|t| e.ends_with(t) || e.starts_with(t))
        }
        (Ok(_), None) => false,
    }
}

struct Wish {
    job: JobId,
    request: RequestId,
    expected: Option<String>,
}

fn play(case: u64) -> BTreeSet<Taken> {
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
                let kind = ["", "", "map:", "hash:"][r.below(4)];
                let name = match r.below(12) {
                    0 => "load".to_owned(),
                    1 => "save".to_owned(),
                    _ => format!("{kind}v{}", r.below(10)),
                };
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
        let answer = sim.replies.get(&wish.request).expect("who waits is answered");
        assert!(is_right(answer, wish.expected.as_deref(), true), "{answer:?} for {:?}", wish.expected);
    }
    jobs.iter().for_each(|&job| sim.release(job));
    sim.run();
    sim.audit_empty();
    settle(&mut sim, &graphs);
    sim.core.taken
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
            let (answer, expected) = (&sim.replies[&request], expected(defs));
            assert!(is_right(answer, expected.as_deref(), false), "{answer:?} for {expected:?}");
            sim.release(job);
            let ran = sim.log.iter().any(|l| l.starts_with("run") || l.starts_with("hash"));
            // What fails is tried again each time.
            let again = expected.is_none() || defs.iter().any(|d| d.ignore_cache);
            assert!(round == 0 || !ran || again, "{:?}", sim.log);
        }
    }
    sim.audit_empty();
}

/// How many cases are played; `SOLVER_CASES=<number>` plays others.
const CASES: u64 = 100_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Plays cases on all cores; gives the edges that were taken.
fn play_all(cases: std::ops::Range<u64>) -> BTreeSet<Taken> {
    let (next, end) = (AtomicU64::new(cases.start), cases.end);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut taken = BTreeSet::new();
        loop {
            let case = next.fetch_add(1, Ordering::Relaxed);
            if case >= end {
                return taken;
            }
            match std::panic::catch_unwind(|| play(case)) {
                Ok(edges) => taken.extend(edges),
                Err(panic) => {
                    next.store(end, Ordering::Relaxed);
                    eprintln!("SOLVER_CASE={case} fails");
                    std::panic::resume_unwind(panic);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    })
}

#[test]
fn any_order_comes_to_the_same_end() {
    if let Some(case) = number("SOLVER_CASE") {
        play(case);
        return;
    }
    let taken = play_all(0..number("SOLVER_CASES").unwrap_or(CASES));
    super::edges::check(&taken);
}
