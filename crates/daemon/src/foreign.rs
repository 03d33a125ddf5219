//! Flags of buildkitd that mean nothing here.
//!
//! Unit files and tools that start a buildkitd can start this engine without change. Flags that would weaken something
//! if nobody obeyed them, such as those of TLS, are not among these: they stay an error.

use std::ffi::OsString;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
}
use Takes::{Nothing, Value};

const FLAGS: &[(&str, Takes)] = &[
    ("containerd-cni-binary-dir", Value),
    ("containerd-cni-config-path", Value),
    ("containerd-cni-pool-size", Value),
    ("containerd-max-parallelism", Value),
    ("containerd-worker", Value),
    ("containerd-worker-addr", Value),
    ("containerd-worker-apparmor-profile", Value),
    ("containerd-worker-gc", Nothing),
    ("containerd-worker-gc-keepstorage", Value),
    ("containerd-worker-labels", Value),
    ("containerd-worker-namespace", Value),
    ("containerd-worker-net", Value),
    ("containerd-worker-platform", Value),
    ("containerd-worker-rootless", Nothing),
    ("containerd-worker-runtime", Value),
    ("containerd-worker-selinux", Nothing),
    ("containerd-worker-snapshotter", Value),
    ("oci-worker", Value),
    ("oci-worker-apparmor-profile", Value),
    ("oci-worker-binary", Value),
    ("oci-worker-no-process-sandbox", Nothing),
    ("oci-worker-rootless", Nothing),
    ("oci-worker-proxy-snapshotter-path", Value),
    ("oci-worker-selinux", Nothing),
    ("oci-worker-snapshotter", Value),
    ("otel-socket-path", Value),
    ("rootless", Nothing),
    ("save-cache-debug", Nothing),
    ("trace", Nothing),
];

/// Takes those flags, written as `--flag value` or `--flag=value`, out of `args`. The second list names them.
pub fn without(args: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let (mut kept, mut ignored) = (Vec::new(), Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match known(&arg) {
            None => kept.push(arg),
            Some((name, value_follows)) => {
                ignored.push(format!("--{name}"));
                if value_follows {
                    args.next();
                }
            }
        }
    }
    (kept, ignored)
}

/// The flag's name, and whether its value is the next argument.
fn known(arg: &OsString) -> Option<(&'static str, bool)> {
    let flag = arg.to_str()?.strip_prefix("--")?;
    let (name, inline) = flag.split_once('=').map_or((flag, false), |(name, _)| (name, true));
    let (name, takes) = FLAGS.iter().find(|f| f.0 == name)?;
    Some((name, *takes == Value && !inline))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, kept: &str, ignored: &str) {
        let (left, out) = without(line.split(' ').map(OsString::from).collect());
        assert_eq!(left.join(" ".as_ref()), kept, "{line}");
        assert_eq!(out.join(" "), ignored, "{line}");
    }

    #[test]
    fn flags_without_meaning_leave_with_their_values() {
        check("d --root /x --debug", "d --root /x --debug", "");
        check("d --oci-worker=true --root /x", "d --root /x", "--oci-worker");
        check("d --containerd-worker false --root /x", "d --root /x", "--containerd-worker");
        check("d --rootless --root /x", "d --root /x", "--rootless");
        check("d --otel-socket-path", "d", "--otel-socket-path");
    }

    #[test]
    fn flags_that_guard_something_stay() {
        check("d --tlscert x", "d --tlscert x", "");
    }
}
