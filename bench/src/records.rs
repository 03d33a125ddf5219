//! What a full store costs: an engine starts on it, and builds what it knows already.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::builder::{Builder, Output};
use crate::disk::Disk;
use crate::measure::resident;
use crate::table::seconds;

/// Steps of one build. Each leaves two records: of the file that it makes, and of the copy.
const STEPS: usize = 1_000;
/// Steps on top of each other; overlayfs stacks a few hundred at most.
const HEIGHT: usize = 50;
const RECORDS: [usize; 3] = [1_000, 10_000, 100_000];
/// Of files in the last store, beside its records.
const GIGABYTES: usize = 10;
const STARTS: usize = 5;

/// Fills a store step by step, and looks at it at each size.
pub fn records(kiln: &Builder, work: &Path) -> Result<()> {
    println!(
        "| records in the store | made in | start | start after a kill | idle | known build of 1,000 steps |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let disk = Disk::new(work)?;
    let (store, context, out) = (disk.path().join("store"), work.join("context"), work.join("out"));
    let mut made = 0;
    for wanted in RECORDS {
        let began = Instant::now();
        let bench = kiln.start(&store)?;
        if wanted == RECORDS[2] {
            crate::workload::big(&context, GIGABYTES << 10)?;
            bench.build(&context, Output::Nothing, &out, "bench")?;
            std::fs::remove_dir_all(&context)?;
        }
        while made < wanted {
            let steps = STEPS.min((wanted - made) / 2);
            heredocs(&context, made, steps)?;
            bench.build(&context, Output::Nothing, &out, "bench")?;
            made += steps * 2;
        }
        let took = began.elapsed().as_secs_f64();
        drop(bench);
        let (start, idle) = start(kiln, &store, false)?;
        let (after_kill, _) = start_after_kill(kiln, &store)?;
        let bench = kiln.start(&store)?;
        let known = Instant::now();
        bench.build(&context, Output::Nothing, &out, "bench")?;
        let known = known.elapsed().as_secs_f64();
        let also = if wanted == RECORDS[2] { format!(", {GIGABYTES} GB") } else { String::new() };
        println!(
            "| {made}{also} | {} | {} | {} | {} MB | {} |",
            seconds(took),
            seconds(start),
            seconds(after_kill),
            idle / 1_000_000,
            seconds(known)
        );
    }
    Ok(())
}

/// The middle of some starts to the first answer, and what the engine holds then.
fn start(kiln: &Builder, store: &Path, killed: bool) -> Result<(f64, u64)> {
    let (mut ready, mut idle) = (Vec::new(), 0);
    for _ in 0..STARTS {
        let bench = kiln.start(store)?;
        ready.push(bench.ready.as_secs_f64());
        std::thread::sleep(std::time::Duration::from_millis(300));
        idle = bench.engine().map_or(0, resident);
        if killed {
            bench.kill();
        }
    }
    ready.sort_by(f64::total_cmp);
    Ok((ready[STARTS / 2], idle))
}

fn start_after_kill(kiln: &Builder, store: &Path) -> Result<(f64, u64)> {
    kiln.start(store)?.kill();
    start(kiln, store, true)
}

/// Stages of small files; `first` makes them others than those of another build.
fn heredocs(dir: &Path, first: usize, steps: usize) -> Result<()> {
    let (mut text, mut last) = (String::new(), String::from("FROM scratch\n"));
    for i in 0..steps {
        if i % HEIGHT == 0 {
            writeln!(text, "FROM scratch AS s{i}")?;
            writeln!(last, "COPY --from=s{i} /f{i} /")?;
        }
        writeln!(text, "COPY <<E /f{i}\n{}\nE", first + i)?;
    }
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("Dockerfile"), text + &last)?;
    Ok(())
}
