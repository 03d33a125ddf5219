//! Mounts of RUN.

use dockerfile::instruction::{Mount, MountKind, Sharing};
use dockerfile::{Error, Result, go};
use errdefs::Range;
use llb::{CacheOpt, CacheSharing, MkDir, SecretOpt, SshOpt};

use super::dispatch::Dispatch;
use super::names;
use super::stage::Progress;
use crate::draft::{About, Action, ActionKind, ExecDraft, MountDraft, MountUse, Port, SecretDraft, SshDraft};
use crate::path;

impl Dispatch<'_> {
    /// `sources` has a stage for each mount.
    pub(super) fn add_mounts(
        &mut self,
        mounts: &[Mount],
        sources: &[usize],
        exec: &mut ExecDraft,
        ranges: &[Range],
    ) -> Result<()> {
        for (mount, &source) in mounts.iter().zip(sources) {
            match mount.kind {
                MountKind::Secret => {
                    let secret = secret(mount);
                    self.stage.wants.secrets.add(&secret.opt.id, mount.required, ranges);
                    exec.secrets.push(secret);
                }
                MountKind::Ssh => {
                    let ssh = ssh(mount)?;
                    let id = if mount.id.is_empty() { "default" } else { &mount.id };
                    self.stage.wants.ssh.add(id, mount.required, ranges);
                    exec.ssh.push(ssh);
                }
                MountKind::Bind | MountKind::Cache | MountKind::Tmpfs => {
                    let draft = self.mount(mount, source)?;
                    exec.mounts.push(draft);
                }
            }
        }
        Ok(())
    }

    fn mount(&mut self, mount: &Mount, source: usize) -> Result<MountDraft> {
        let from_context = mount.from.is_empty() && mount.kind != MountKind::Cache;
        let mut tree = if from_context { self.context } else { self.tree_of(source, mount)? };
        let used = match mount.kind {
            MountKind::Tmpfs => {
                tree = None;
                MountUse::Tmpfs(mount.size)
            }
            MountKind::Cache => MountUse::Cache(self.cache(mount)),
            _ if mount.readonly => MountUse::Output,
            _ => MountUse::Scrap,
        };
        let target = self.mount_target(mount)?;
        let selector = match path::join("/", &mount.source) {
            root if root == "/" => String::new(),
            selector => selector,
        };
        let owned = mount.uid.is_some() || mount.gid.is_some() || mount.mode.is_some();
        let selector = if selector.is_empty() && owned {
            tree = Some(self.owned_folder(tree, mount));
            "/cache".to_owned()
        } else {
            selector
        };
        let paths = match from_context {
            true => &mut self.stage.context_paths,
            false => &mut self.paths[self.stages[source].paths],
        };
        paths.insert(path::join("/", &mount.source));
        Ok(MountDraft { target, source: tree, selector, readonly: mount.readonly, used })
    }

    fn tree_of(&self, source: usize, mount: &Mount) -> Result<Option<Port>> {
        let stage = &self.stages[source];
        if stage.progress == Progress::Dispatched {
            return Ok(stage.state.tree);
        }
        Err(Error::new(format!(
            "cannot mount from stage {} to {}, stage needs to be defined before current command",
            go::quote(&mount.from),
            go::quote(&mount.target)
        ))
        .about(&mount.from))
    }

    fn mount_target(&self, mount: &Mount) -> Result<String> {
        let target = match path::clean(&mount.target).starts_with('/') {
            true => mount.target.clone(),
            false => path::join("/", &path::join(&self.stage.state.dir, &mount.target)),
        };
        if target == "/" {
            return Err(
                Error::new(format!("invalid mount target {}", go::quote(&target))).about(&mount.target)
            );
        }
        Ok(target)
    }

    fn cache(&self, mount: &Mount) -> CacheOpt {
        let id = if mount.id.is_empty() { path::clean(&mount.target) } else { mount.id.clone() };
        CacheOpt {
            id: format!("{}/{id}", self.shared.config.cache_namespace),
            sharing: match mount.sharing {
                None | Some(Sharing::Shared) => CacheSharing::Shared,
                Some(Sharing::Private) => CacheSharing::Private,
                Some(Sharing::Locked) => CacheSharing::Locked,
            },
        }
    }

    /// What a cache starts from when its owner or mode was given.
    fn owned_folder(&mut self, tree: Option<Port>, mount: &Mount) -> Port {
        let dir = MkDir {
            path: "/cache".into(),
            mode: (mount.mode.unwrap_or(0o755) & 0o777) as i32,
            make_parents: false,
            owner: None,
            timestamp: llb::NONE,
        };
        let action = Action::new(ActionKind::MkDir(dir))
            .owned_by_ids(mount.uid.unwrap_or_default(), mount.gid.unwrap_or_default());
        let mut about = About::default();
        names::called(&mut about.metadata, "[internal] setting cache mount permissions");
        self.draft.file(tree, vec![action], about)
    }
}

/// Owner and mode count only when one of them was given.
fn file_of(mount: &Mount, default_mode: u32) -> (u32, u32, u32) {
    (mount.uid.unwrap_or_default(), mount.gid.unwrap_or_default(), mount.mode.unwrap_or(default_mode))
}

fn secret(mount: &Mount) -> SecretDraft {
    let id = match (mount.source.as_str(), mount.id.as_str()) {
        ("", "") => path::base(&mount.target),
        ("", id) => id,
        (source, _) => source,
    };
    let target = match (mount.target.as_str(), &mount.env) {
        ("", Some(_)) => None,
        ("", None) => Some(format!("/run/secrets/{}", path::base(id))),
        (target, _) => Some(target.to_owned()),
    };
    let (uid, gid, mode) = file_of(mount, 0o400);
    let opt = SecretOpt { id: id.to_owned(), uid, gid, mode, optional: !mount.required };
    SecretDraft { opt, target, env: mount.env.clone() }
}

fn ssh(mount: &Mount) -> Result<SshDraft> {
    if !mount.source.is_empty() {
        return Err(Error::new("ssh does not support source").about(&mount.source));
    }
    let (uid, gid, mode) = file_of(mount, 0o600);
    let opt = SshOpt { id: mount.id.clone(), uid, gid, mode, optional: !mount.required };
    Ok(SshDraft { opt, target: mount.target.clone() })
}
