//! Exec ops in the draft.

use llb::caps;
use llb::{
    CacheOpt, ExecOp, Meta, Mount, MountType, NetMode, OpMetadata, SecretOpt, SecurityMode, SshOpt, TmpfsOpt,
};
use oci::Platform;

use super::{Inputs, Port};

/// An exec op whose inputs are ports. Its root is one of the mounts.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExecDraft {
    pub meta: Meta,
    pub network: NetMode,
    pub security: SecurityMode,
    pub mounts: Vec<MountDraft>,
    pub secrets: Vec<SecretDraft>,
    pub ssh: Vec<SshDraft>,
    pub devices: Vec<llb::CdiDevice>,
    pub platform: Option<Platform>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct MountDraft {
    pub target: String,
    /// Nothing is scratch.
    pub source: Option<Port>,
    pub selector: String,
    pub readonly: bool,
    pub used: MountUse,
}

/// What a mount is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum MountUse {
    /// What is written to it is an output of the op.
    #[default]
    Output,
    /// What is written to it is thrown away.
    Scrap,
    Cache(CacheOpt),
    /// Bytes; 0 sets no limit.
    Tmpfs(i64),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SecretDraft {
    pub opt: SecretOpt,
    pub target: Option<String>,
    pub env: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SshDraft {
    pub opt: SshOpt,
    /// Empty is chosen by the op.
    pub target: String,
}

impl MountDraft {
    fn has_output(&self) -> bool {
        !self.readonly && self.used == MountUse::Output
    }
}

impl ExecDraft {
    /// The output that holds the root, with mounts in their final order.
    pub(super) fn root_index(&self) -> i64 {
        let before = |m: &&MountDraft| m.has_output() && m.target.as_str() < "/";
        self.mounts.iter().filter(before).count() as i64
    }

    pub(super) fn build(mut self, inputs: &mut Inputs<'_>, metadata: &mut OpMetadata) -> ExecOp {
        self.mounts.sort_by(|a, b| a.target.cmp(&b.target));
        self.place_sockets();
        self.need_caps(metadata);
        let mut outputs = 0;
        let mut mounts: Vec<Mount> =
            self.mounts.iter().map(|m| m.build(inputs.index(m.source), &mut outputs)).collect();
        mounts.extend(self.secrets.iter().filter_map(SecretDraft::mount));
        mounts.extend(self.ssh.iter().map(SshDraft::mount));
        let secret_env = self.secrets.iter().filter_map(|s| {
            let name = s.env.clone()?;
            Some(llb::SecretEnv { id: s.opt.id.clone(), name, optional: s.opt.optional })
        });
        ExecOp {
            secret_env: secret_env.collect(),
            meta: self.meta,
            mounts,
            network: self.network,
            proxied: false,
            security: self.security,
            cdi_devices: self.devices,
        }
    }

    /// Gives agent sockets their paths and tells the process of the first.
    fn place_sockets(&mut self) {
        for (i, ssh) in self.ssh.iter_mut().enumerate() {
            if ssh.target.is_empty() {
                ssh.target = format!("/run/buildkit/ssh_agent.{i}");
            }
        }
        if let Some(first) = self.ssh.first()
            && !self.meta.env.iter().any(|line| line.starts_with("SSH_AUTH_SOCK="))
        {
            self.meta.env.push(format!("SSH_AUTH_SOCK={}", first.target));
        }
    }

    fn need_caps(&self, metadata: &mut OpMetadata) {
        let mut need = |wanted: bool, cap| {
            if wanted {
                metadata.need(cap);
            }
        };
        need(true, caps::EXEC_META_BASE);
        need(true, caps::EXEC_META_SETS_DEFAULT_PATH);
        need(!self.meta.ulimit.is_empty(), caps::EXEC_META_ULIMIT);
        need(self.network != NetMode::Unset, caps::EXEC_META_NETWORK);
        need(self.security == SecurityMode::Insecure, caps::EXEC_META_SECURITY);
        need(self.meta.proxy_env.is_some(), caps::EXEC_META_PROXY);
        need(!self.devices.is_empty(), caps::EXEC_META_CDI);
        for mount in &self.mounts {
            need(!mount.selector.is_empty(), caps::EXEC_MOUNT_SELECTOR);
            match &mount.used {
                MountUse::Cache(_) => {
                    need(true, caps::EXEC_MOUNT_CACHE);
                    need(true, caps::EXEC_MOUNT_CACHE_SHARING);
                }
                MountUse::Tmpfs(size) => {
                    need(true, caps::EXEC_MOUNT_TMPFS);
                    need(*size > 0, caps::EXEC_MOUNT_TMPFS_SIZE);
                }
                MountUse::Output | MountUse::Scrap => need(mount.source.is_some(), caps::EXEC_MOUNT_BIND),
            }
        }
        need(!self.secrets.is_empty(), caps::EXEC_MOUNT_SECRET);
        need(self.secrets.iter().any(|s| s.env.is_some()), caps::EXEC_SECRET_ENV);
        need(!self.ssh.is_empty(), caps::EXEC_MOUNT_SSH);
        let limited = metadata.linux_resources.is_some();
        if limited {
            metadata.need(caps::EXEC_META_LINUX_RESOURCES);
        }
    }
}

impl MountDraft {
    fn build(&self, input: i64, outputs: &mut i64) -> Mount {
        let output = if self.has_output() {
            *outputs += 1;
            *outputs - 1
        } else {
            llb::NONE
        };
        let mut mount = Mount {
            input,
            output,
            dest: self.target.clone(),
            selector: self.selector.clone(),
            readonly: self.readonly,
            ..Mount::default()
        };
        match &self.used {
            MountUse::Output | MountUse::Scrap => {}
            MountUse::Cache(cache) => {
                mount.mount_type = MountType::Cache;
                mount.cache = Some(cache.clone());
            }
            MountUse::Tmpfs(size) => {
                mount.mount_type = MountType::Tmpfs;
                mount.tmpfs = Some(TmpfsOpt { size: *size });
            }
        }
        mount
    }
}

impl SecretDraft {
    fn mount(&self) -> Option<Mount> {
        Some(Mount {
            input: llb::NONE,
            dest: self.target.clone()?,
            mount_type: MountType::Secret,
            secret: Some(self.opt.clone()),
            ..Mount::default()
        })
    }
}

impl SshDraft {
    fn mount(&self) -> Mount {
        Mount {
            input: llb::NONE,
            dest: self.target.clone(),
            mount_type: MountType::Ssh,
            ssh: Some(self.opt.clone()),
            ..Mount::default()
        }
    }
}
