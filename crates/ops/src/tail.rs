//! The last lines that a step printed, for its error.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines that are kept.
const LINES: usize = 20;
/// Bytes of a line that are kept.
const LINE_BYTES: usize = 4096;

/// Keeps the end of an output. Clones share it.
#[derive(Clone, Default)]
pub struct Tail(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lines: VecDeque<String>,
    open: Vec<u8>,
}

impl Tail {
    pub fn push(&self, data: &[u8]) {
        let mut state = self.state();
        for part in data.split_inclusive(|&b| b == b'\n') {
            let room = LINE_BYTES.saturating_sub(state.open.len());
            state.open.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                state.end_line();
            }
        }
    }

    /// The last lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        let mut state = self.state();
        if !state.open.is_empty() {
            state.end_line();
        }
        state.lines.iter().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.open).trim_end().to_owned();
        self.open.clear();
        self.lines.push_back(line);
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_across_chunks() {
        let tail = Tail::default();
        (0..30).for_each(|i| tail.push(format!("line {i}\n").as_bytes()));
        tail.push(b"half");
        tail.push(b" line");
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].as_str(), lines[19].as_str()), (20, "line 11", "half line"));
    }
}
