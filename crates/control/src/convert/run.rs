use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use engine::{BindMount, HostIp, Network, RunRequest, WinSize};
use errdefs::{Error, Result};
use oci::Platform;
use proto::kiln as pb;

pub(crate) fn run_request(request: pb::RunRequest) -> Result<RunRequest> {
    Ok(RunRequest {
        platform: optional_platform(&request.platform)?,
        network: network(request.network)?,
        image: request.image,
        command: request.command,
        entrypoint: request.entrypoint,
        env: request.env,
        workdir: request.workdir,
        user: request.user,
        mounts: request.mounts.into_iter().map(bind).collect(),
        stdin: request.stdin,
        tty: request.tty.map(window_size),
        readonly: request.readonly,
        hostname: request.hostname,
        extra_hosts: request.extra_hosts.into_iter().map(host).collect::<Result<_>>()?,
    })
}

/// A platform, unless the text is empty.
pub(crate) fn optional_platform(text: &str) -> Result<Option<Platform>> {
    let parse = |text: &str| text.parse().map_err(|e| Error::user(format!("invalid platform `{text}`: {e}")));
    Some(text).filter(|text| !text.is_empty()).map(parse).transpose()
}

pub(crate) fn window_size(size: pb::WindowSize) -> WinSize {
    let characters = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    WinSize { rows: characters(size.rows), cols: characters(size.columns) }
}

fn network(network: i32) -> Result<Network> {
    match pb::RunNetwork::try_from(network) {
        Ok(pb::RunNetwork::Default) => Ok(Network::Sandbox),
        Ok(pb::RunNetwork::Host) => Ok(Network::Host),
        Ok(pb::RunNetwork::None) => Ok(Network::None),
        Err(_) => Err(Error::user(format!("unknown network {network}"))),
    }
}

fn bind(mount: pb::BindMount) -> BindMount {
    let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
    BindMount { source: path(mount.source), target: path(mount.target), readonly: mount.readonly }
}

fn host(host: pb::ExtraHost) -> Result<HostIp> {
    let ip = host.ip.parse().map_err(|_| Error::user(format!("failed to parse IP {}", host.ip)))?;
    Ok(HostIp { host: host.host, ip })
}
