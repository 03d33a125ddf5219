//! A policy may be anybody's: it gets so much time, and room for deep recursion.

use std::num::NonZeroU32;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use errdefs::{Error, Result};
use regorus::utils::limits::ExecutionTimerConfig;

/// Time for one evaluation.
const TIME: Duration = Duration::from_secs(10);
/// What cannot be broken off, as a builtin at work, is waited for so much longer.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes for the stack of an evaluation.
const STACK: usize = 64 << 20;
/// Brackets inside one another; the parser calls itself for each.
const MOST_NESTED: usize = 64;

pub(crate) fn timer() -> ExecutionTimerConfig {
    ExecutionTimerConfig { limit: TIME, check_interval: NonZeroU32::MIN.saturating_add(255) }
}

/// Runs some work on a thread of its own. Work that does not end in time is left to itself.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, result) = mpsc::sync_channel(1);
    let work = move || drop(done.send(work()));
    thread::Builder::new().name("policy".into()).stack_size(STACK).spawn(work)?;
    match result.recv_timeout(TIME + GRACE) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(too_slow()),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(Error::internal("the evaluation of a policy broke off"))
        }
    }
}

pub(crate) fn too_slow() -> Error {
    Error::user(format!("the policy was not through after {} seconds", TIME.as_secs()))
}

/// Refuses text that would be parsed too deep. What stands in strings and comments counts too, as nobody nests that deep.
pub(crate) fn check_nesting(text: &str) -> Result<()> {
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MOST_NESTED {
            return Err(Error::user(format!("more than {MOST_NESTED} brackets inside one another")));
        }
    }
    Ok(())
}
