//! What a target may not say: found before anything is built.

use errdefs::{Error, Result};

use crate::target::Target;

/// # Errors
/// For values that no build takes.
pub fn target(target: &Target) -> Result<()> {
    if let Some(size) = &target.shm_size
        && !is_size(size)
    {
        return Err(Error::user(format!("invalid value {size} for membytes key shm-size")));
    }
    for annotation in target.annotations.iter().flatten() {
        if !annotation.contains('=') {
            return Err(Error::user(format!("invalid annotation \"{annotation}\", expected key=value")));
        }
    }
    for limit in target.ulimits.iter().flatten() {
        let numbers = limit.split_once('=').map(|(_, numbers)| numbers.split(':').all(|n| n.parse::<i64>().is_ok()));
        if numbers != Some(true) {
            return Err(Error::user(format!("invalid ulimit argument: {limit}")));
        }
    }
    for output in target.output.iter().flatten() {
        if output.kind == "local" && output.dest.is_empty() {
            return Err(Error::user("dest is required for local output"));
        }
    }
    Ok(())
}

/// `64m`, `1.5GiB`, `1024`: in binary units.
fn is_size(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    matches!(unit, "" | "k" | "m" | "g" | "t" | "p") && digits.parse::<f64>().is_ok_and(|n| n >= 0.0)
}
