//! From the mounts of an exec op to those of a container, and back to results.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use errdefs::{Error, Result};
use fsutil::mount::{self, Source};
use llb::{CacheSharing, Graph, Mount, MountType, OpKind};
use refs::{CacheMount, ImmutableRef, MutableRef, Sharing};

use crate::domain::{BuildContext, Value, any_session};
use crate::ssh::StepAgent;
use crate::vertex::Ops;

/// The mounts of one run. What is not committed is gone when this is dropped.
pub struct Prepared {
    pub root: mount::Mount,
    pub mounts: Vec<mount::Mount>,
    pub readonly_root: bool,
    /// One for each output, in their order.
    outputs: Vec<Made>,
    /// Kept for as long as the process may use them, each with the index of its mount.
    held: Vec<(usize, Held)>,
    /// The file system of each mount that was asked for, in their order; none for what was left out.
    pub shown: Vec<Option<Source>>,
}

/// An output.
struct Made {
    index: i64,
    /// The mount that it comes from.
    mount: usize,
    output: Output,
}

enum Output {
    /// What the step leaves.
    New(Box<MutableRef>),
    /// An input that the step could not change.
    Same(ImmutableRef),
}

enum Held {
    Input(ImmutableRef),
    Scratch(Box<MutableRef>),
    #[expect(dead_code, reason = "held, not read")]
    Cache(CacheMount),
    #[expect(dead_code, reason = "held, not read")]
    Agent(StepAgent),
}

impl Prepared {
    /// Makes results of the outputs.
    pub async fn commit(self) -> Result<Vec<Option<Value>>> {
        let mut results = Vec::with_capacity(self.outputs.len());
        let on_root = self.mount_parents();
        for made in self.outputs {
            results.push(Some(Some(made.output.commit(&on_root).await?)));
        }
        Ok(results)
    }

    /// The directories in which something was mounted, and where the executor puts files of its own.
    fn mount_parents(&self) -> Vec<Vec<u8>> {
        let parents = self.mounts.iter().filter_map(|mount| mount.target.parent());
        let parents = parents.map(|dir| dir.as_os_str().as_bytes().to_vec());
        parents.chain([b"/etc".to_vec()]).collect()
    }

    /// Makes a result of what each mount shows, where there are files of its own or of an input.
    pub async fn leave(self) -> Result<Vec<Value>> {
        let mut left = vec![None; self.shown.len()];
        for made in self.outputs {
            left[made.mount] = Some(made.output.commit(&[]).await?);
        }
        for (mount, held) in self.held {
            left[mount] = match held {
                Held::Input(input) => Some(input),
                Held::Scratch(active) => Some(active.commit().await?),
                Held::Cache(_) | Held::Agent(_) => continue,
            };
        }
        Ok(left)
    }
}

impl Output {
    /// `dirs` may look touched though they are not.
    async fn commit(self, dirs: &[Vec<u8>]) -> Result<ImmutableRef> {
        match self {
            Output::New(active) => active.commit_without(dirs.to_vec()).await,
            Output::Same(input) => Ok(input),
        }
    }
}

/// A name that no other container has.
pub fn unique_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("step-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The cache mounts of steps that must not use the build cache, each with whether it begins with some content. They
/// are emptied before such a graph is built, as by BuildKit.
pub fn renewed(graph: &Graph) -> BTreeSet<(String, bool)> {
    let steps = graph.ops.values().filter(|o| o.metadata.ignore_cache);
    let mounts = steps.filter_map(|o| match &o.op.kind {
        OpKind::Exec(exec) => Some(&exec.mounts),
        _ => None,
    });
    let caches = mounts.flatten().filter(|m| m.mount_type == MountType::Cache);
    caches.filter_map(|m| Some((m.cache.as_ref()?.id.clone(), m.input != llb::NONE))).collect()
}

pub fn missing_secret(id: &str) -> Error {
    Error::not_found(format!("secret {id}: not found"))
        .hint(format!("give it with `--secret id={id},src=FILE`"))
}

/// What mounts are prepared for.
pub struct Purpose<'a> {
    /// The builds that want it: any of them can give secrets.
    pub builds: Vec<Arc<BuildContext>>,
    /// The directory that relative targets are taken from.
    pub cwd: &'a str,
    /// Shown for what is made.
    pub name: &'a str,
    /// The command line, shown for what is mounted beside the root.
    pub command: String,
}

/// Prepares mounts; `inputs` are what their indexes count.
pub async fn prepare(
    ops: &Ops,
    purpose: Purpose<'_>,
    mounts: &[Mount],
    inputs: &[Value],
) -> Result<Prepared> {
    let mut preparing = Preparing {
        ops,
        purpose,
        root: None,
        mounts: Vec::new(),
        outputs: Vec::new(),
        held: Vec::new(),
        shown: Vec::with_capacity(mounts.len()),
        caches: HashMap::new(),
    };
    for mount in mounts {
        let input = usize::try_from(mount.input).ok().and_then(|i| inputs.get(i)).cloned().flatten();
        preparing.shown.push(None);
        preparing.add(mount, input).await?;
    }
    preparing.finish()
}

struct Preparing<'a> {
    ops: &'a Ops,
    purpose: Purpose<'a>,
    root: Option<(mount::Mount, bool)>,
    mounts: Vec<mount::Mount>,
    outputs: Vec<Made>,
    held: Vec<(usize, Held)>,
    shown: Vec<Option<Source>>,
    /// By name, and by what they began with.
    caches: HashMap<(String, Option<String>), Source>,
}

impl Preparing<'_> {
    async fn add(&mut self, m: &Mount, input: Option<ImmutableRef>) -> Result<()> {
        if m.dest == "/" && m.mount_type != MountType::Bind {
            return Err(Error::user(format!("invalid mount type {:?} for /", m.mount_type)));
        }
        match m.mount_type {
            MountType::Bind => self.bind(m, input).await,
            MountType::Cache => self.cache(m, input).await,
            MountType::Tmpfs => {
                let size = m.tmpfs.as_ref().map(|t| t.size).filter(|&s| s > 0);
                let source = Source::Tmpfs { size: size.map(|s| s as u64), mode: 0o1777 };
                self.place(m, source, |mount| mount.nosuid = true);
                Ok(())
            }
            MountType::Secret => self.secret(m).await,
            MountType::Ssh => self.ssh(m).await,
        }
    }

    async fn bind(&mut self, m: &Mount, input: Option<ImmutableRef>) -> Result<()> {
        let is_root = m.dest == "/";
        let has_output = m.output != llb::NONE;
        if has_output
            && m.readonly
            && !is_root
            && let Some(input) = &input
        {
            self.make(m, Output::Same(input.clone()));
        } else if has_output {
            let active = self.mutable(m, input.as_ref()).await?;
            self.place(m, active.mount_source()?, |_| ());
            self.make(m, Output::New(Box::new(active)));
            return Ok(());
        } else if !m.readonly || input.is_none() || is_root {
            // Writes are allowed and thrown away. A root needs a writable top for its mount points.
            let active = self.mutable(m, input.as_ref()).await?;
            self.place(m, active.mount_source()?, |_| ());
            self.hold(Held::Scratch(Box::new(active)));
            return Ok(());
        }
        let input = input.ok_or_else(|| Error::user(format!("mount {} has no input", m.dest)))?;
        let source = input.mount_source().await?;
        self.place(m, source, |_| ());
        self.hold(Held::Input(input));
        Ok(())
    }

    async fn mutable(&self, m: &Mount, parent: Option<&ImmutableRef>) -> Result<MutableRef> {
        // The root carries the name of its step: it is what `kiln du` shows.
        let description = match m.dest.as_str() {
            "/" => self.purpose.name.to_owned(),
            dest => format!("mount {dest} from exec {}", self.purpose.command),
        };
        self.ops.parts().refs.new_mutable(parent, description).await
    }

    async fn cache(&mut self, m: &Mount, base: Option<ImmutableRef>) -> Result<()> {
        let options = m.cache.as_ref().ok_or_else(|| Error::user("missing cache mount options"))?;
        let sharing = match options.sharing {
            CacheSharing::Shared => Sharing::Shared,
            CacheSharing::Private => Sharing::Private,
            CacheSharing::Locked => Sharing::Locked,
        };
        let description = match options.id == m.dest {
            true => format!("cached mount {} from {}", m.dest, self.purpose.name),
            false => format!("cached mount {} from {} with id {:?}", m.dest, self.purpose.name, options.id),
        };
        let refs = &self.ops.parts().refs;
        let name = (options.id.clone(), base.as_ref().map(|base| base.id().to_owned()));
        // One directory for all mounts of the step that name it: it would wait for itself.
        let source = match self.caches.get(&name) {
            Some(source) => source.clone(),
            None => {
                let mount = refs.cache_mount(&options.id, base.as_ref(), sharing, &description).await?;
                let source = mount.mount_source()?;
                self.hold(Held::Cache(mount));
                self.caches.insert(name, source.clone());
                source
            }
        };
        self.place(m, source, |_| ());
        if m.output != llb::NONE
            && let Some(base) = base
        {
            self.make(m, Output::Same(base));
        }
        Ok(())
    }

    async fn secret(&mut self, m: &Mount) -> Result<()> {
        let options = m.secret.as_ref().ok_or_else(|| Error::user("invalid secret mount options"))?;
        if options.id.is_empty() {
            return Err(Error::user("secret ID missing from mount options"));
        }
        let data = any_session(&self.purpose.builds).await?.secret(&options.id).await?;
        match data {
            Some(data) => {
                let source =
                    Source::OneFile { data, uid: options.uid, gid: options.gid, mode: options.mode & 0o777 };
                self.place(m, source, |mount| {
                    mount.selector = mount::ONE_FILE.into();
                    (mount.readonly, mount.nodev, mount.nosuid) = (true, true, true);
                    mount.noexec = options.mode & 0o111 == 0;
                });
            }
            None if options.optional => {}
            None => return Err(missing_secret(&options.id)),
        }
        Ok(())
    }

    async fn ssh(&mut self, m: &Mount) -> Result<()> {
        let options = m.ssh.as_ref().ok_or_else(|| Error::user("invalid ssh mount options"))?;
        let session = match any_session(&self.purpose.builds).await {
            Err(_) if options.optional => return Ok(()),
            session => session?,
        };
        let Some(socket) = StepAgent::open(&self.ops.parts().refs, session, options).await? else {
            return Ok(());
        };
        self.place(m, Source::Bind(socket.path()), |_| ());
        self.hold(Held::Agent(socket));
        Ok(())
    }

    fn make(&mut self, m: &Mount, output: Output) {
        self.outputs.push(Made { index: m.output, mount: self.shown.len() - 1, output });
    }

    fn hold(&mut self, held: Held) {
        self.held.push((self.shown.len() - 1, held));
    }

    fn place(&mut self, m: &Mount, source: Source, edit: impl FnOnce(&mut mount::Mount)) {
        let is_root = m.dest == "/";
        if let Some(shown) = self.shown.last_mut() {
            *shown = Some(source.clone());
        }
        let mut mount = mount::Mount::new(source, self.target(&m.dest)).readonly(m.readonly && !is_root);
        mount.selector = PathBuf::from(&m.selector);
        edit(&mut mount);
        if is_root {
            self.root = Some((mount, m.readonly));
        } else {
            self.mounts.push(mount);
        }
    }

    fn target(&self, dest: &str) -> PathBuf {
        if dest.starts_with('/') {
            return PathBuf::from(dest);
        }
        PathBuf::from("/").join(self.purpose.cwd).join(dest)
    }

    fn finish(mut self) -> Result<Prepared> {
        let (root, readonly_root) = self.root.ok_or_else(|| Error::user("invalid exec op with no rootfs"))?;
        // Parents first; of equal targets the later wins.
        self.mounts.sort_by(|a, b| a.target.cmp(&b.target));
        self.outputs.sort_by_key(|made| made.index);
        let Preparing { mounts, outputs, held, shown, .. } = self;
        Ok(Prepared { root, mounts, readonly_root, outputs, held, shown })
    }
}
