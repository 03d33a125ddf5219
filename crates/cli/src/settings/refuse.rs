//! Flags that are known and not there yet. They are refused: a flag that is ignored is worse than one that is missing.

use errdefs::{Error, Result};

use crate::args::BuildArgs;

/// Fails on the first flag that asks for something that is not there.
pub(crate) fn refuse(args: &BuildArgs) -> Result<()> {
    let policy = |v: &String| !v.split(',').any(|f| f == "disabled=true");
    match args.policies.iter().any(policy) {
        true => Err(not_yet("`--policy`")),
        false => Ok(()),
    }
}

/// The error for what is not there yet.
pub(crate) fn not_yet(what: &str) -> Error {
    Error::unimplemented(format!("{what} is not supported yet"))
}

/// Warnings about old flags that have no effect.
pub(crate) fn warn_legacy(args: &BuildArgs) -> Vec<String> {
    let legacy = &args.legacy;
    let ignored = [
        (legacy.isolation.is_some(), "`--isolation` has no effect"),
        (
            !legacy.security_opt.is_empty(),
            "`--security-opt` has no effect; use RUN --security=insecure in the Dockerfile",
        ),
        (legacy.squash, "`--squash` has no effect; squash inside the build with a multi-stage Dockerfile"),
        (legacy.compress, "`--compress` has no effect"),
    ];
    ignored.iter().filter(|(given, _)| *given).map(|(_, text)| (*text).to_owned()).collect()
}
