//! Measures what a container uses, where somebody wants to know.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use meter::{Cpu, Sample, Series, Traffic, Usage};

use super::links::visit;
use crate::cgroup::Group;

/// So many samples at most, besides the last one: they travel in one packet.
const MOST: usize = 10;

pub(super) struct Gauge<'a> {
    group: &'a Group,
    series: Series<Sample>,
    machine: Option<Cpu>,
    /// The container's own network, and what went through it before: others may have had it.
    network: Option<(File, Traffic)>,
}

impl<'a> Gauge<'a> {
    /// `network` is that of a container which does not share the machine's.
    pub fn start(group: &'a Group, network: Option<&Path>) -> Self {
        let network = network.and_then(|path| File::open(path).ok());
        let network = network.and_then(|network| traffic(&network).map(|before| (network, before)));
        Gauge { group, series: Series::new(MOST), machine: Cpu::read(), network }
    }

    /// Takes a sample where one is due, and tells in what time the next one is.
    pub fn tick(&mut self) -> Duration {
        if self.series.next() <= Instant::now() {
            let sample = self.sample();
            self.series.push(sample);
        }
        self.series.next().saturating_duration_since(Instant::now())
    }

    /// With the last figures, which are there as long as the cgroup.
    pub fn finish(self) -> Usage {
        let last = self.sample();
        let machine = self.machine.and_then(|before| Some(Cpu::read()?.since(&before)));
        Usage { samples: self.series.finish(last), machine }
    }

    fn sample(&self) -> Sample {
        let net = self.network.as_ref().and_then(|(network, before)| Some(traffic(network)?.since(before)));
        Sample { net, ..self.group.sample() }
    }
}

fn traffic(network: &File) -> Option<Traffic> {
    visit(network, || Ok(Traffic::read())).ok()?
}
