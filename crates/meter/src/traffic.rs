use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::read;

/// What went through the interfaces of a network, all but `lo` together: received and sent by those in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Traffic {
    #[serde(skip_serializing_if = "is_zero")]
    pub rx_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub rx_packets: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub rx_errors: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub rx_dropped: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub tx_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub tx_packets: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub tx_errors: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub tx_dropped: u64,
}

impl Traffic {
    /// That of the network of the calling process.
    pub fn read() -> Option<Self> {
        read::text(Path::new("/proc/self/net/dev")).map(|text| Traffic::parse(&text))
    }

    /// Reads `/proc/net/dev` (proc_pid_net(5)): two lines of headings, then `name: ` with eight numbers of what was
    /// received and eight of what was sent.
    fn parse(text: &str) -> Self {
        let mut all = Traffic::default();
        for line in text.lines() {
            let Some((name, numbers)) = line.split_once(':') else { continue };
            let numbers: Vec<u64> = numbers.split_whitespace().map_while(|n| n.parse().ok()).collect();
            let (
                Some([rx, rx_packets, rx_errors, rx_dropped]),
                Some([tx, tx_packets, tx_errors, tx_dropped]),
            ) = (numbers.first_chunk(), numbers.get(8..).and_then(|sent| sent.first_chunk()))
            else {
                continue;
            };
            if name.trim() == "lo" {
                continue;
            }
            all = all.with(
                &Traffic {
                    rx_bytes: *rx,
                    rx_packets: *rx_packets,
                    rx_errors: *rx_errors,
                    rx_dropped: *rx_dropped,
                    tx_bytes: *tx,
                    tx_packets: *tx_packets,
                    tx_errors: *tx_errors,
                    tx_dropped: *tx_dropped,
                },
                u64::saturating_add,
            );
        }
        all
    }

    /// What came since an earlier reading.
    pub fn since(&self, earlier: &Traffic) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    fn with(&self, other: &Traffic, f: fn(u64, u64) -> u64) -> Self {
        Traffic {
            rx_bytes: f(self.rx_bytes, other.rx_bytes),
            rx_packets: f(self.rx_packets, other.rx_packets),
            rx_errors: f(self.rx_errors, other.rx_errors),
            rx_dropped: f(self.rx_dropped, other.rx_dropped),
            tx_bytes: f(self.tx_bytes, other.tx_bytes),
            tx_packets: f(self.tx_packets, other.tx_packets),
            tx_errors: f(self.tx_errors, other.tx_errors),
            tx_dropped: f(self.tx_dropped, other.tx_dropped),
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_added_up() {
        let text = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:  500 5 0 0 0 0 0 0 500 5 0 0 0 0 0 0\n  eth0: 100 3 1 2 0 0 0 0 70 4 5 6 0 0 0 0\n  eth1: 1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        let all = Traffic::parse(text);
        let expected = Traffic {
            rx_bytes: 101,
            rx_packets: 4,
            rx_errors: 1,
            rx_dropped: 2,
            tx_bytes: 72,
            tx_packets: 5,
            tx_errors: 5,
            tx_dropped: 6,
        };
        assert_eq!(all, expected);
        assert_eq!(all.since(&all), Traffic::default());
    }
}
