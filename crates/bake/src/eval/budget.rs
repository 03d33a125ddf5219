//! How much an evaluation may do: no bake file can hang the program or eat its memory.

use std::cell::Cell;

use crate::diagnostic::{Fault, Span};

/// Expressions evaluated. A file of a thousand targets needs some ten thousand.
const STEPS: u64 = 20_000_000;
/// Bytes of values made, also of those that are gone again.
const BYTES: u64 = 1 << 30;
/// Expressions in expressions, and functions in functions.
const DEPTH: u32 = 256;

#[derive(Debug)]
pub struct Budget {
    steps: Cell<u64>,
    bytes: Cell<u64>,
    depth: Cell<u32>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { steps: Cell::new(STEPS), bytes: Cell::new(BYTES), depth: Cell::new(DEPTH) }
    }
}

/// Ends the level that was entered.
pub struct Level<'a>(&'a Budget);

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() + 1);
    }
}

impl Budget {
    /// A smaller one, for tests and fuzzers.
    pub fn of(steps: u64, bytes: u64) -> Self {
        Budget { steps: Cell::new(steps), bytes: Cell::new(bytes), ..Budget::default() }
    }

    pub fn enter(&self, span: Span) -> Result<Level<'_>, Fault> {
        let Some(steps) = self.steps.get().checked_sub(1) else {
            return Err(exceeded("takes too many steps", span));
        };
        let Some(depth) = self.depth.get().checked_sub(1) else {
            return Err(exceeded("is nested too deeply", span));
        };
        self.steps.set(steps);
        self.depth.set(depth);
        Ok(Level(self))
    }

    pub fn spend(&self, bytes: usize, span: Span) -> Result<(), Fault> {
        match self.bytes.get().checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes.set(left);
                Ok(())
            }
            None => Err(exceeded("makes too much data", span)),
        }
    }
}

fn exceeded(why: &str, span: Span) -> Fault {
    Fault::new("Evaluation stopped", format!("the definition {why}")).at(span).fatal()
}
