//! Exec ops.

use errdefs::{Error, Result};
use proto::pb;

use crate::exec::{
    CacheOpt, CacheSharing, CdiDevice, ContentCache, ExecOp, HostIp, Meta, Mount, MountType, NetMode,
    ProxyEnv, SecretEnv, SecretOpt, SecurityMode, SshOpt, TmpfsOpt, Ulimit,
};

pub(super) fn to_wire(e: &ExecOp) -> pb::ExecOp {
    pb::ExecOp {
        meta: Some(meta_to_wire(&e.meta)),
        mounts: e.mounts.iter().map(mount_to_wire).collect(),
        network: e.network as i32,
        security: e.security as i32,
        secretenv: e
            .secret_env
            .iter()
            .map(|s| pb::SecretEnv { id: s.id.clone(), name: s.name.clone(), optional: s.optional })
            .collect(),
        cdi_devices: e
            .cdi_devices
            .iter()
            .map(|d| pb::CdiDevice { name: d.name.clone(), optional: d.optional })
            .collect(),
        proxied: e.proxied,
    }
}

pub(super) fn from_wire(e: pb::ExecOp) -> Result<ExecOp> {
    let meta = e.meta.ok_or_else(|| Error::user("invalid exec op with no meta"))?;
    if meta.args.is_empty() {
        return Err(Error::user("invalid exec op with no args"));
    }
    if e.mounts.is_empty() {
        return Err(Error::user("invalid exec op with no mounts"));
    }
    let mounts = e.mounts.into_iter().map(mount_from_wire).collect::<Result<Vec<_>>>()?;
    if !mounts.iter().any(|m| m.dest == "/") {
        return Err(Error::user("invalid exec op with no rootfs"));
    }
    Ok(ExecOp {
        meta: meta_from_wire(meta),
        mounts,
        network: known("network mode", e.network, NetMode::from_wire)?,
        security: SecurityMode::try_from_wire(e.security)?,
        secret_env: e.secretenv.into_iter().map(SecretEnv::from).collect(),
        cdi_devices: e
            .cdi_devices
            .into_iter()
            .map(|d| CdiDevice { name: d.name, optional: d.optional })
            .collect(),
        proxied: e.proxied,
    })
}

impl TryFrom<pb::Mount> for Mount {
    type Error = Error;

    fn try_from(mount: pb::Mount) -> Result<Self> {
        mount_from_wire(mount)
    }
}

impl From<pb::Meta> for Meta {
    fn from(meta: pb::Meta) -> Self {
        meta_from_wire(meta)
    }
}

impl From<pb::SecretEnv> for SecretEnv {
    fn from(s: pb::SecretEnv) -> Self {
        SecretEnv { id: s.id, name: s.name, optional: s.optional }
    }
}

impl From<pb::HostIp> for HostIp {
    fn from(h: pb::HostIp) -> Self {
        HostIp { host: h.host, ip: h.ip }
    }
}

impl NetMode {
    /// The mode of this number on the wire.
    pub fn try_from_wire(number: i32) -> Result<Self> {
        known("network mode", number, NetMode::from_wire)
    }
}

impl SecurityMode {
    /// The mode of this number on the wire.
    pub fn try_from_wire(number: i32) -> Result<Self> {
        SecurityMode::from_wire(number).ok_or_else(|| Error::user(format!("invalid security mode {number}")))
    }
}

fn known<T>(what: &str, number: i32, read: fn(i32) -> Option<T>) -> Result<T> {
    read(number).ok_or_else(|| Error::user(format!("invalid exec op: unknown {what} {number}")))
}

fn meta_to_wire(m: &Meta) -> pb::Meta {
    pb::Meta {
        args: m.args.clone(),
        env: m.env.clone(),
        cwd: m.cwd.clone(),
        user: m.user.clone(),
        proxy_env: m.proxy_env.as_ref().map(|p| pb::ProxyEnv {
            http_proxy: p.http_proxy.clone(),
            https_proxy: p.https_proxy.clone(),
            ftp_proxy: p.ftp_proxy.clone(),
            no_proxy: p.no_proxy.clone(),
            all_proxy: p.all_proxy.clone(),
        }),
        extra_hosts: m
            .extra_hosts
            .iter()
            .map(|h| pb::HostIp { host: h.host.clone(), ip: h.ip.clone() })
            .collect(),
        hostname: m.hostname.clone(),
        ulimit: m
            .ulimit
            .iter()
            .map(|u| pb::Ulimit { name: u.name.clone(), soft: u.soft, hard: u.hard })
            .collect(),
        cgroup_parent: m.cgroup_parent.clone(),
        remove_mount_stubs_recursive: m.remove_mount_stubs_recursive,
        valid_exit_codes: m.valid_exit_codes.clone(),
    }
}

fn meta_from_wire(m: pb::Meta) -> Meta {
    Meta {
        args: m.args,
        env: m.env,
        cwd: m.cwd,
        user: m.user,
        proxy_env: m.proxy_env.map(|p| ProxyEnv {
            http_proxy: p.http_proxy,
            https_proxy: p.https_proxy,
            ftp_proxy: p.ftp_proxy,
            no_proxy: p.no_proxy,
            all_proxy: p.all_proxy,
        }),
        extra_hosts: m.extra_hosts.into_iter().map(HostIp::from).collect(),
        hostname: m.hostname,
        ulimit: m.ulimit.into_iter().map(|u| Ulimit { name: u.name, soft: u.soft, hard: u.hard }).collect(),
        cgroup_parent: m.cgroup_parent,
        remove_mount_stubs_recursive: m.remove_mount_stubs_recursive,
        valid_exit_codes: m.valid_exit_codes,
    }
}

fn mount_to_wire(m: &Mount) -> pb::Mount {
    pb::Mount {
        input: m.input,
        selector: m.selector.clone(),
        dest: m.dest.clone(),
        output: m.output,
        readonly: m.readonly,
        mount_type: m.mount_type as i32,
        tmpfs_opt: m.tmpfs.as_ref().map(|t| pb::TmpfsOpt { size: t.size }),
        cache_opt: m.cache.as_ref().map(|c| pb::CacheOpt { id: c.id.clone(), sharing: c.sharing as i32 }),
        secret_opt: m.secret.as_ref().map(|s| pb::SecretOpt {
            id: s.id.clone(),
            uid: s.uid,
            gid: s.gid,
            mode: s.mode,
            optional: s.optional,
        }),
        ssh_opt: m.ssh.as_ref().map(|s| pb::SshOpt {
            id: s.id.clone(),
            uid: s.uid,
            gid: s.gid,
            mode: s.mode,
            optional: s.optional,
        }),
        result_id: m.result_id.clone(),
        content_cache: m.content_cache as i32,
    }
}

fn mount_from_wire(m: pb::Mount) -> Result<Mount> {
    let cache = m
        .cache_opt
        .map(|c| -> Result<_> {
            Ok(CacheOpt { id: c.id, sharing: known("cache sharing", c.sharing, CacheSharing::from_wire)? })
        })
        .transpose()?;
    Ok(Mount {
        input: m.input,
        selector: m.selector,
        dest: m.dest,
        output: m.output,
        readonly: m.readonly,
        mount_type: known("mount type", m.mount_type, MountType::from_wire)?,
        tmpfs: m.tmpfs_opt.map(|t| TmpfsOpt { size: t.size }),
        cache,
        secret: m.secret_opt.map(|s| SecretOpt {
            id: s.id,
            uid: s.uid,
            gid: s.gid,
            mode: s.mode,
            optional: s.optional,
        }),
        ssh: m.ssh_opt.map(|s| SshOpt {
            id: s.id,
            uid: s.uid,
            gid: s.gid,
            mode: s.mode,
            optional: s.optional,
        }),
        result_id: m.result_id,
        content_cache: known("content cache mode", m.content_cache, ContentCache::from_wire)?,
    })
}
