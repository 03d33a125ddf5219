//! How much of a build was in the cache.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use errdefs::{Result, ResultExt as _};
use progress::SolveStatus;
use serde_json::json;

use crate::console;

/// Counts vertices.
pub(super) struct Metrics {
    to: To,
    began: Instant,
    vertices: HashMap<oci::Digest, Vertex>,
}

enum To {
    Stdout,
    Stderr,
    File(File),
}

#[derive(Default)]
struct Vertex {
    name: String,
    cached: bool,
    completed: bool,
}

impl Vertex {
    fn is_base(&self) -> bool {
        self.name.starts_with('[') && self.name.contains("] FROM")
    }

    /// Whether the user asked for it, in one way or other.
    fn is_users(&self) -> bool {
        let internal = ["[internal]", "[auth]", "importing cache", "exporting "];
        !internal.iter().any(|start| self.name.starts_with(start))
    }
}

impl Metrics {
    pub(super) fn open(to: &str, began: Instant) -> Result<Self> {
        let to = match to {
            "stdout" => To::Stdout,
            "stderr" => To::Stderr,
            path => To::File(File::create(path).with_context(|| format!("failed to write `{path}`"))?),
        };
        Ok(Metrics { to, began, vertices: HashMap::new() })
    }

    pub(super) fn add(&mut self, message: &SolveStatus) {
        for vertex in &message.vertexes {
            let known = self.vertices.entry(vertex.digest.clone()).or_default();
            known.name.clone_from(&vertex.name);
            known.cached |= vertex.cached;
            known.completed |= vertex.completed.is_some();
        }
    }

    /// Writes the misses, and the counts in the last line.
    pub(super) fn write(self) -> Result<()> {
        let text = self.text();
        match self.to {
            To::Stdout => console::out(text),
            To::Stderr => {
                console::note(text);
                Ok(())
            }
            To::File(mut file) => file.write_all(text.as_bytes()).context("failed to write cache metrics"),
        }
    }

    fn text(&self) -> String {
        let all = || self.vertices.values();
        let users = || all().filter(|v| v.is_users());
        let misses: Vec<_> = users().filter(|v| !v.cached && !v.is_base()).collect();
        let mut text: String = misses.iter().map(|v| format!("cache miss: {}\n", v.name)).collect();
        let counts = json!({
            "total": all().count(),
            "completed": all().filter(|v| v.completed).count(),
            "user_total": users().count(),
            "user_cached": users().filter(|v| v.cached).count(),
            "user_completed": users().filter(|v| v.completed).count(),
            "user_cacheable": users().filter(|v| !v.is_base()).count(),
            "from": users().filter(|v| v.is_base()).count(),
            "miss": misses.len(),
            "client_duration_ms": u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        text.push_str(&format!("{counts}\n"));
        text
    }
}
