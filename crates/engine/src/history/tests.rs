//! Records for tests.

use std::collections::BTreeMap;

use crate::history::{BuildRecord, End, Steps};

/// A build that runs since a certain day.
pub fn record(id: &str) -> BuildRecord {
    BuildRecord {
        id: id.to_owned(),
        frontend: String::new(),
        attrs: BTreeMap::new(),
        exporters: Vec::new(),
        created_at: "2026-01-01T22:00:00Z".parse().expect("a time"),
        end: None,
        pinned: false,
        generation: 0,
    }
}

/// An end without a fault.
pub fn ended(at: &str) -> End {
    End {
        at: at.parse().expect("a time"),
        failure: None,
        log: None,
        results: BTreeMap::new(),
        result_parts: Vec::new(),
        response: BTreeMap::new(),
        steps: Steps::default(),
        attestations: BTreeMap::new(),
        trace: None,
    }
}
