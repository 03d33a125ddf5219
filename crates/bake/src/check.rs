//! What a target may not say: found before anything is built.

use dockerfile::ULIMITS;
use errdefs::{Error, Result, ResultExt as _};

use crate::entries::{Limit, parse_bool};
use crate::target::Target;

/// Looks a target over, and makes explicit that a file nobody named goes to standard output.
///
/// # Errors
/// For values that no build takes.
pub fn target(target: &mut Target) -> Result<()> {
    for platform in target.platforms.iter().flatten() {
        platform
            .parse::<oci::Platform>()
            .map_err(|e| Error::user(e.to_string()))
            .with_context(|| format!("\"{platform}\": cannot parse platform specifier"))?;
    }
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
    target.ulimits.iter().flatten().try_for_each(|limit| ulimit(limit))?;
    for (name, limit) in target.resources.iter().flat_map(|r| &r.0) {
        if let Limit::Text(size) = limit
            && name.starts_with("memory")
            && size != "-1"
            && !is_size(size)
        {
            return Err(Error::user(format!(
                "invalid value \"{size}\" for resource {name}: invalid size: '{size}'"
            )));
        }
    }
    outputs(target)
}

fn outputs(target: &mut Target) -> Result<()> {
    let mut stdout_is_used = false;
    for output in target.output.iter_mut().flatten() {
        let as_tar = output.attributes.get("tar").is_none_or(|v| parse_bool(v) != Ok(false));
        let (to_file, to_folder) = match output.kind.as_str() {
            "local" => (false, true),
            "tar" => (true, false),
            "oci" | "docker" => (as_tar, !as_tar),
            _ => (false, false),
        };
        let kind = &output.kind;
        match output.dest.as_str() {
            "" if to_folder => return Err(Error::user(format!("dest is required for {kind} exporter"))),
            "-" if to_folder => {
                return Err(Error::user(format!("dest cannot be stdout for {kind} exporter")));
            }
            "" if to_file && kind != "docker" => output.dest = "-".into(),
            _ => {}
        }
        if to_file && output.dest == "-" && std::mem::replace(&mut stdout_is_used, true) {
            return Err(Error::user("multiple outputs configured to write to stdout"));
        }
    }
    Ok(())
}

/// `nofile=1024` or `nofile=1024:2048`; -1 means no limit.
fn ulimit(text: &str) -> Result<()> {
    let invalid = || Error::user(format!("invalid ulimit argument: {text}"));
    let (name, numbers) = text.split_once('=').ok_or_else(invalid)?;
    if !ULIMITS.contains(&name) {
        return Err(Error::user(format!("invalid ulimit type: {name}")));
    }
    let numbers: Vec<i64> =
        numbers.split(':').map(|n| n.parse().map_err(|_| invalid())).collect::<Result<_>>()?;
    match numbers.as_slice() {
        [_] => Ok(()),
        [soft, hard] if *hard != -1 && (*soft == -1 || soft > hard) => Err(Error::user(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ))),
        [_, _] => Ok(()),
        _ => Err(invalid()),
    }
}

/// `64m`, `1.5GiB`, `1024`: in binary units.
fn is_size(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    matches!(unit, "" | "k" | "m" | "g" | "t" | "p") && digits.parse::<f64>().is_ok_and(|n| n >= 0.0)
}
