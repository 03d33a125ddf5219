//! Flags that are known and have no effect, and what is not there yet.

use errdefs::Error;

use crate::args::BuildArgs;

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
