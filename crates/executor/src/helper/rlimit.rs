//! Resource limits of a container's process.

use errdefs::{Error, Result, ResultExt};
use rustix::process::{Resource, Rlimit};

use crate::Ulimit;

pub(super) fn apply(ulimits: &[Ulimit]) -> Result<()> {
    for ulimit in ulimits {
        let resource = resource(&ulimit.name)?;
        let value = |n: i64| u64::try_from(n).ok();
        let limit = Rlimit { current: value(ulimit.soft), maximum: value(ulimit.hard) };
        rustix::process::setrlimit(resource, limit).map_err(std::io::Error::from).with_context(|| {
            format!("failed to set ulimit `{}={}:{}`", ulimit.name, ulimit.soft, ulimit.hard)
        })?;
    }
    Ok(())
}

/// A name as `ulimit` options have it.
fn resource(name: &str) -> Result<Resource> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return Err(Error::user(format!("unknown ulimit `{name}`"))),
    })
}
