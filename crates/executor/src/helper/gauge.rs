//! Measures what a container uses, where somebody wants to know.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use meter::{Cpu, Sample, Series, Traffic, Usage};
use rustix::thread::LinkNameSpaceType;

use crate::cgroup::Group;
use crate::namespace;

/// So many samples at most, besides the last one: they travel in one packet.
const MOST: usize = 10;

pub(super) struct Gauge<'a> {
    group: &'a Group,
    series: Series<Sample>,
    machine: Option<Cpu>,
    /// What went through the container's own network before: others may have had it.
    traffic: Option<Traffic>,
}

impl<'a> Gauge<'a> {
    /// To be started when the container is there: the supervisor itself goes to the network that it is to measure.
    pub fn start(group: &'a Group, network: Option<&Path>) -> Self {
        let enter = |namespace: OwnedFd| {
            let network = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace.as_fd(), network)
        };
        let entered = network.is_some_and(|path| namespace::open(path).is_ok_and(|n| enter(n).is_ok()));
        let traffic = if entered { Traffic::read() } else { None };
        Gauge { group, series: Series::new(MOST), machine: Cpu::read(), traffic }
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
        let net = self.traffic.and_then(|before| Some(Traffic::read()?.since(&before)));
        Sample { net, ..self.group.sample() }
    }
}
