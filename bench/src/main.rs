//! Runs every builder that this machine has on the same workloads, in turn, and prints medians, ratios, memory and
//! bytes. See README.md beside this for what is measured and how.
//!
//! Never: a test. Figures of a loaded machine mean nothing, so nothing here fails for a slow one.

mod builder;
mod disk;
mod measure;
mod parse;
mod process;
mod records;
mod registry;
mod request;
mod rows;
mod table;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::builder::{Builder, Output};
use crate::disk::Disk;
use crate::measure::{Sample, measure, resident};
use crate::registry::Registry;
use crate::rows::{GROWTH, Growth, ROWS, Row, Step};
use crate::table::Line;

/// Compares builders on the same workloads.
#[derive(Parser)]
struct Args {
    /// Rows to run: small, context, big-file, chain, stages, copies, local, oci-files, oci-big, zstd, push,
    /// repush, pull, crowd, graph, engine, growth, records, parse
    rows: Vec<String>,
    /// The program to measure [default: the release build of this checkout]
    #[arg(long)]
    kiln: Option<PathBuf>,
    /// Compare only these: kiln, kiln by buildx, buildctl, buildx, buildah
    #[arg(long, value_delimiter = ',')]
    builders: Vec<String>,
    /// How often each row is run
    #[arg(long)]
    runs: Option<usize>,
    /// Where contexts and stores are made; should be a disk, not memory
    #[arg(long, default_value = "/var/tmp")]
    dir: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let wanted = |name: &str| args.rows.is_empty() || args.rows.iter().any(|row| row == name);
    println!("{}\n", machine());
    if wanted("parse") {
        parse::parse(args.runs.unwrap_or(51))?;
    }
    if !args.rows.is_empty() && args.rows.iter().all(|row| row == "parse") {
        return Ok(());
    }
    let kiln = args.kiln.clone().map_or_else(release, Ok)?;
    let mut builders = Builder::all(&kiln);
    if !args.builders.is_empty() {
        builders.retain(|b| args.builders.iter().any(|name| name == b.name()));
    }
    let work = tempfile::Builder::new().prefix("kiln-bench-").tempdir_in(&args.dir)?;
    for builder in &builders {
        println!("- {}: {}", builder.name(), builder.version());
    }
    println!();
    let mut lines = Vec::new();
    for row in ROWS.iter().filter(|row| wanted(row.name)) {
        lines.extend(run_row(row, &builders, args.runs.unwrap_or(row.runs), work.path())?);
    }
    if !lines.is_empty() {
        let names: Vec<_> = builders.iter().map(Builder::name).collect();
        println!("\n{}", table::render(&lines, &names));
    }
    if wanted("engine") {
        engines(&builders, &kiln, work.path())?;
    }
    if wanted("growth") {
        growth(&builders, work.path())?;
    }
    let kiln = builders.iter().find(|b| matches!(b, Builder::Kiln { .. }));
    if let Some(kiln) = kiln.filter(|_| wanted("records")) {
        records::records(kiln, work.path())?;
    }
    Ok(())
}

/// The release build of the checkout that this program comes from.
fn release() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let with_triple = std::fs::read_dir(&target)?.flatten().map(|entry| entry.path().join("release/kiln"));
    let found = with_triple.chain([target.join("release/kiln")]).find(|path| path.is_file());
    found.context("there is no release build: run `cargo build --release`, or give `--kiln`")
}

fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo");
    let memory = memory.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!("{cores} cores ({model}), {} GB of memory, Linux {kernel}", memory / 1_000_000)
}

/// Runs a row: in each round every builder once, and each round begins with another one.
fn run_row(row: &Row, builders: &[Builder], runs: usize, work: &Path) -> Result<Vec<Line>> {
    let context = work.join("context");
    (row.make)(&context, row.size).with_context(|| format!("cannot make the context of `{}`", row.name))?;
    let mut registry = None;
    if row.from_registry || row.pushes() {
        let Some(found) = Registry::start(&work.join("registry"))? else {
            eprintln!("{}: left out, there is no docker-registry", row.name);
            return Ok(Vec::new());
        };
        if row.from_registry {
            let Some(kiln) = builders.iter().find(|b| matches!(b, Builder::Kiln { .. })) else {
                bail!("row `{}` needs kiln, which makes its image", row.name);
            };
            found.fill(kiln, &context, work)?;
        }
        registry = Some(found);
    }
    let mut lines: Vec<Line> = row
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Time(title, _, goal) | Step::Requests(title, _, goal) => {
                Some(Line { title, goal: *goal, by_buildx: row.by_buildx, samples: BTreeMap::new() })
            }
            _ => None,
        })
        .collect();
    let mut turn = 0;
    for round in 0..runs {
        for at in 0..builders.len() {
            let builder = &builders[(at + round) % builders.len()];
            if !row.steps.iter().all(|step| step.is_for(builder)) {
                continue;
            }
            turn += 1;
            // Nobody finds in a registry what another has pushed.
            let image = registry.as_ref().map_or("bench".to_owned(), |registry| registry.name(turn));
            let samples = match run_once(row, builder, &context, work, turn, &image) {
                Ok(samples) => samples,
                Err(e) => {
                    // The others can still be compared.
                    eprintln!("{} {}/{runs} {} failed: {e:#}", row.name, round + 1, builder.name());
                    continue;
                }
            };
            let times: Vec<_> = samples.iter().map(|s| table::seconds(s.seconds)).collect();
            eprintln!("{} {}/{runs} {}: {}", row.name, round + 1, builder.name(), times.join(", "));
            for (line, sample) in lines.iter_mut().zip(samples) {
                line.samples.entry(builder.name()).or_default().push(sample);
            }
        }
    }
    drop(registry);
    std::fs::remove_dir_all(&context)?;
    Ok(lines)
}

/// One builder's way through the steps of a row, on an empty store.
fn run_once(
    row: &Row,
    builder: &Builder,
    context: &Path,
    work: &Path,
    turn: u64,
    image: &str,
) -> Result<Vec<Sample>> {
    let disk = Disk::new(work)?;
    let out = disk.path().join("out");
    rustix::fs::sync();
    let bench = builder.start(&disk.path().join("store"))?;
    let mut samples = Vec::new();
    let mut full = disk.used()?;
    for step in row.steps {
        match step {
            Step::Change(file) => workload::change(context, file, turn)?,
            Step::Build(output) => bench.build(context, *output, &out, image)?,
            Step::Time(_, output, _) => {
                let build = || bench.build(context, *output, &out, image);
                samples.push(measure(bench.engine(), build)?);
            }
            Step::Requests(_, load, _) => {
                samples.push(measure(bench.engine(), || load.run(bench.address(), context))?);
            }
        }
        let _ = std::fs::remove_dir_all(&out);
        // What one step left to be written is not the next one's to wait for.
        rustix::fs::sync();
        let used = disk.used()?;
        if let (Step::Time(..) | Step::Requests(..), Some(sample)) = (step, samples.last_mut()) {
            sample.grown = used.saturating_sub(full);
        }
        full = used;
    }
    drop(bench);
    drop(disk);
    Ok(samples)
}

/// How long engines take to answer, and what they hold when idle.
fn engines(builders: &[Builder], kiln: &Path, work: &Path) -> Result<()> {
    println!("| engine | to its first answer | idle |\n| --- | --- | --- |");
    for builder in builders.iter().filter(|b| b.takes_requests()) {
        let mut ready = Vec::new();
        let mut idle = 0;
        for _ in 0..7 {
            let disk = Disk::new(work)?;
            let bench = builder.start(&disk.path().join("store"))?;
            ready.push(bench.ready.as_secs_f64());
            std::thread::sleep(std::time::Duration::from_millis(300));
            idle = bench.engine().map_or(0, resident);
        }
        ready.sort_by(f64::total_cmp);
        println!("| {} | {} | {} MB |", builder.name(), table::seconds(ready[3]), idle / 1_000_000);
    }
    println!("\nProgram: {} MB\n", std::fs::metadata(kiln)?.len() / 1_000_000);
    Ok(())
}

/// How Kiln's time grows when a workload does.
fn growth(builders: &[Builder], work: &Path) -> Result<()> {
    let Some(kiln) = builders.iter().find(|b| matches!(b, Builder::Kiln { .. })) else { return Ok(()) };
    println!("| ten times more | first | nothing changed |\n| --- | --- | --- |");
    for Growth { title, make, sizes } in GROWTH {
        let mut times = [Vec::new(), Vec::new()];
        for size in sizes {
            let context = work.join("context");
            make(&context, *size)?;
            rustix::fs::sync();
            let disk = Disk::new(work)?;
            let bench = kiln.start(&disk.path().join("store"))?;
            for times in &mut times {
                let build = || bench.build(&context, Output::Nothing, &disk.path().join("out"), "bench");
                times.push(measure(bench.engine(), build)?.seconds);
            }
            drop(bench);
            drop(disk);
            std::fs::remove_dir_all(&context)?;
        }
        let cell = |times: &[f64]| {
            let growth: Vec<_> = times.windows(2).map(|pair| format!("{:.1}", pair[1] / pair[0])).collect();
            let times: Vec<_> = times.iter().map(|s| table::seconds(*s)).collect();
            format!("{} (× {})", times.join(" / "), growth.join(", × "))
        };
        let sizes: Vec<_> = sizes.iter().map(usize::to_string).collect();
        println!("| {title}: {} | {} | {} |", sizes.join(" / "), cell(&times[0]), cell(&times[1]));
    }
    Ok(())
}
