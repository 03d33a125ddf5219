//! How long a container takes that does nothing, from the request to the report of its end.
//!
//! Usage: `overhead ROOT [RUNS]`, as root; `ROOT` is a directory with a static `/bin/true`.

use std::path::Path;
use std::time::{Duration, Instant};

use executor::{Executor, Io, Network, Options, Spec};
use fsutil::mount::{Mount, Source, Upper};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::entry();
    let mut args = std::env::args().skip(1);
    let root = args.next().ok_or("usage: overhead ROOT [RUNS]")?;
    let runs = args.next().map_or(Ok(200), |n| n.parse())?;
    let work = Path::new(&root).with_extension("work");
    let executor = Executor::start(Options::new(work.join("state")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for network in [Network::Sandbox, Network::None] {
        let mut times = Vec::new();
        for n in 0..runs {
            let upper = Upper { dir: work.join(format!("{n}/upper")), work: work.join(format!("{n}/work")) };
            std::fs::create_dir_all(&upper.dir)?;
            std::fs::create_dir_all(&upper.work)?;
            let source = Source::Overlay { lower: vec![root.clone().into()], upper: Some(upper) };
            let mut spec = Spec::new(format!("bench-{n}"), Mount::new(source, "/"), ["/bin/true"]);
            spec.network = network;
            let start = Instant::now();
            let exit = runtime.block_on(executor.run(spec, Io::discard(), CancellationToken::new()))?;
            times.push(start.elapsed());
            assert!(exit.success(), "{exit:?}");
        }
        report(network, &mut times);
    }
    Ok(std::fs::remove_dir_all(work)?)
}

fn report(network: Network, times: &mut [Duration]) {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!("{network:?}: median {:.2} ms, 90 % {:.2} ms, min {:.2} ms", at(50), at(90), at(0));
}
