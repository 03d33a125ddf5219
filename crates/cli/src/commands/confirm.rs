use std::io::BufRead as _;

use errdefs::{Error, Result, ResultExt as _};

use crate::console;
use crate::environment::Environment;

/// Asks whether to go on, after saying what will happen.
///
/// # Errors
/// There is no terminal to ask on.
pub(super) fn confirm(warning: &str, env: &Environment) -> Result<bool> {
    if !env.stdin_is_terminal {
        return Err(Error::user("there is no terminal to ask for confirmation on").hint("add `--force`"));
    }
    console::out(format!("WARNING! {warning} Are you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("failed to read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
