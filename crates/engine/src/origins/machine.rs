use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use meter::{MachineSample, Series};

/// So many samples at most, besides the last one.
const MOST: usize = 20;

/// What the machine does while a build runs whose client wants to know.
pub struct Machine {
    series: Mutex<Series<MachineSample>>,
    /// All statements of a build say the same.
    told: OnceLock<Vec<MachineSample>>,
}

impl Machine {
    pub fn new() -> Self {
        Machine { series: Mutex::new(Series::new(MOST)), told: OnceLock::new() }
    }

    /// Takes samples for as long as it is awaited.
    pub async fn watch(machine: Option<&Self>) -> Infallible {
        let Some(machine) = machine else { return std::future::pending().await };
        loop {
            let next = machine.series().next();
            tokio::time::sleep_until(next.into()).await;
            machine.series().push(meter::machine::sample());
        }
    }

    /// All until now; the first one to ask says when that is.
    pub fn told(&self) -> Vec<MachineSample> {
        let now = || self.series().clone().finish(meter::machine::sample());
        self.told.get_or_init(now).clone()
    }

    fn series(&self) -> MutexGuard<'_, Series<MachineSample>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
