use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::read;

/// How long tasks waited for something (kernel documentation, accounting/psi).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Option<Stall>,
    /// All that were not idle waited.
    pub full: Option<Stall>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stall {
    /// Percent of the last 10, 60 and 300 seconds.
    pub avg10: Option<f64>,
    pub avg60: Option<f64>,
    pub avg300: Option<f64>,
    /// Microseconds.
    pub total: Option<u64>,
}

impl Pressure {
    /// Nothing where the kernel does not keep account.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        Pressure::parse(&read::text(path)?)
    }

    fn parse(text: &str) -> Option<Self> {
        let stall = |kind: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
            let value =
                |key: &str| line.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
            let average = |key| value(key)?.parse().ok();
            let total = value("total").and_then(|text| text.parse().ok());
            Some(Stall { avg10: average("avg10"), avg60: average("avg60"), avg300: average("avg300"), total })
        };
        let pressure = Pressure { some: stall("some"), full: stall("full") };
        (pressure != Pressure::default()).then_some(pressure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=4711\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        let pressure = Pressure::parse(text).expect("told");
        let stall = |avg10, avg60, total| {
            Some(Stall { avg10: Some(avg10), avg60: Some(avg60), avg300: Some(0.0), total: Some(total) })
        };
        assert_eq!(pressure, Pressure { some: stall(1.5, 0.25, 4711), full: stall(0.0, 0.0, 9) });
        assert_eq!(Pressure::parse(""), None);
        assert_eq!(Pressure::parse("some\nfully x\n"), None);
    }
}
