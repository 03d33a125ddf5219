use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use errdefs::{Error, Result};

use crate::layer::{Layer, LayerId};
use crate::object::Objects;
use crate::sys;
use crate::tree::TreeWriter;
use crate::view::View;

/// How a store is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Marks directories with `user.overlay.*` in place of `trusted.overlay.*`, for a store inside a user namespace.
    pub userxattr: bool,
    /// How many layers one mount may have; of more, the lower ones are squashed. The kernel takes 500.
    pub max_layers: usize,
}

impl Default for Options {
    /// Images of Docker have 127 layers at most. Each costs every mount, and every look for a path, some microseconds.
    fn default() -> Self {
        Options { userxattr: false, max_layers: 128 }
    }
}

/// The layer trees and objects under one folder. The folder must lie on one file system.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    options: Options,
    layers: PathBuf,
    mounts: PathBuf,
    tmp: PathBuf,
    objects: Arc<Objects>,
    open: Mutex<HashMap<LayerId, Arc<Layer>>>,
    names: RandomState,
    next: AtomicUsize,
    /// Layers that stand for many in a mount, with those.
    pub(crate) squashed: Mutex<HashMap<LayerId, Vec<LayerId>>>,
}

/// What an earlier run left, out of everybody's way. Where it is not removed, it is found again at the next start.
#[derive(Debug)]
#[must_use]
pub struct Leftover(PathBuf);

impl Leftover {
    pub fn remove(self) -> Result<()> {
        sys::remove_all(&self.0)
    }
}

/// How many layers stay open that no view uses.
const IDLE_LAYERS: usize = 1024;

impl Store {
    /// Opens the store under `root` and makes its folders. Call [`Store::sweep`] before the first use.
    pub fn open(root: &Path, options: Options) -> Result<Arc<Self>> {
        let [layers, mounts, tmp, objects] =
            ["layers-v1", "mounts", "tmp", "objects-v1"].map(|name| root.join(name));
        for dir in [&layers, &mounts, &tmp, &objects] {
            std::fs::create_dir_all(dir).map_err(|e| sys::fail("make directory", dir, e))?;
        }
        Ok(Arc::new(Store {
            root: root.to_owned(),
            options,
            layers,
            mounts,
            objects: Arc::new(Objects::new(objects, tmp.clone())),
            tmp,
            open: Mutex::default(),
            names: RandomState::new(),
            next: AtomicUsize::new(0),
            squashed: Mutex::default(),
        }))
    }

    /// The folder of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn options(&self) -> Options {
        self.options
    }

    /// The regular files of which the store keeps one copy.
    pub fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// Takes away what a crash left and every layer that is not `live`. Only for the start, while nobody uses the
    /// store. It may be much, so its removal is left to the caller, who may do it while the store is used.
    pub fn sweep(&self, live: &dyn Fn(&LayerId) -> bool) -> Result<Leftover> {
        self.sweep_all(Some(live))
    }

    /// As [`Store::sweep`], where every layer is live: takes as long for many of them as for few.
    pub fn sweep_work(&self) -> Result<Leftover> {
        self.sweep_all(None)
    }

    fn sweep_all(&self, live: Option<&dyn Fn(&LayerId) -> bool>) -> Result<Leftover> {
        let (gone, _) = self.new_tmp("gone")?;
        let mut count = 0_u64;
        let mut take = |path: PathBuf| {
            let renamed = std::fs::rename(&path, gone.join(count.to_string()));
            count += 1;
            if let Err(e) = renamed {
                // It is in nobody's way: names are never used again.
                tracing::warn!("`{}` of an earlier run stays until the next: {e}", path.display());
            }
        };
        for dir in [&self.tmp, &self.mounts] {
            for (name, _) in sys::read_dir(dir)? {
                let path = sys::below(dir, &name);
                if path != gone {
                    take(path);
                }
            }
        }
        if let Some(live) = live {
            for (name, _) in sys::read_dir(&self.layers)? {
                let id = std::str::from_utf8(&name).ok().and_then(|name| LayerId::parse(name).ok());
                if !id.is_some_and(|id| live(&id)) {
                    take(sys::below(&self.layers, &name));
                }
            }
        }
        Ok(Leftover(gone))
    }

    /// The tree that a chain of layers shows, lowest first, read without a mount.
    pub fn view(self: &Arc<Self>, chain: &[LayerId]) -> Result<View> {
        let layers = chain.iter().map(|id| self.layer(id)).collect::<Result<Vec<_>>>()?;
        Ok(View::new(layers))
    }

    /// As [`Store::view`]. What `below`, a view of the first layers of the chain, knows is not found out again.
    pub fn view_on(self: &Arc<Self>, below: &View, chain: &[LayerId]) -> Result<View> {
        let view = self.view(chain)?;
        if chain.starts_with(below.chain()) {
            view.learn_from(below)?;
        }
        Ok(view)
    }

    /// A new tree. It comes into being by its commit; dropped before, it leaves nothing.
    pub fn new_tree(self: &Arc<Self>) -> Result<TreeWriter> {
        TreeWriter::new(self.clone())
    }

    /// Whether the store holds this layer.
    pub fn contains(&self, id: &LayerId) -> bool {
        self.layer(id).is_ok()
    }

    /// Forgets what is remembered of a layer.
    pub(crate) fn close_layer(&self, id: &LayerId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The layers that have a folder.
    pub fn list(&self) -> Result<HashSet<LayerId>> {
        let entries = sys::read_dir(&self.layers)?;
        let ids = entries.iter().filter_map(|(name, _)| LayerId::parse(std::str::from_utf8(name).ok()?).ok());
        Ok(ids.collect())
    }

    /// Whether the layer's folder is there, whatever is remembered of it.
    pub fn is_on_disk(&self, id: &LayerId) -> Result<bool> {
        Ok(sys::lstat(&self.layer_dir(id).join("tree"))?.is_some_and(|meta| meta.is_dir()))
    }

    /// Takes the layers out of the table that stand for this one among others.
    pub(crate) fn squashed_from(&self, id: &LayerId) -> Vec<LayerId> {
        let mut all = self.squashed.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> =
            all.iter().filter(|(_, from)| from.contains(id)).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            all.remove(id);
        }
        gone
    }

    pub(crate) fn layer(&self, id: &LayerId) -> Result<Arc<Layer>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = open.get(id) {
            return Ok(layer.clone());
        }
        let layer = Arc::new(Layer::open(id.clone(), self.layer_dir(id), self.opaque_mark())?);
        if open.len() >= IDLE_LAYERS {
            open.retain(|_, layer| Arc::strong_count(layer) > 1);
        }
        open.insert(id.clone(), layer.clone());
        Ok(layer)
    }

    /// Where a layer lies once it is committed.
    pub(crate) fn layer_dir(&self, id: &LayerId) -> PathBuf {
        // What stands for others in a mount goes with the mounts.
        let dir = if id.is_squashed() { &self.mounts } else { &self.layers };
        dir.join(id.as_str())
    }

    /// A new, empty folder of its own, with the id it is named by.
    pub(crate) fn new_tmp(&self, purpose: &str) -> Result<(PathBuf, LayerId)> {
        loop {
            let id = self.new_id();
            let dir = self.tmp.join(format!("{purpose}-{id}"));
            match std::fs::create_dir(&dir) {
                Ok(()) if !self.layer_dir(&id).exists() => return Ok((dir, id)),
                Ok(()) => sys::remove_all(&dir)?,
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(sys::fail("make directory", &dir, e)),
            }
        }
    }

    /// A name that is short, since overlayfs takes few bytes of paths, and new in all likelihood.
    fn new_id(&self) -> LayerId {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let mut hasher = self.names.build_hasher();
        hasher.write_usize(self.next.fetch_add(1, Ordering::Relaxed));
        let mut rest = hasher.finish();
        let mut text = String::with_capacity(13);
        while text.len() < 13 {
            text.push(DIGITS[(rest & 31) as usize] as char);
            rest >>= 5;
        }
        LayerId::parse(&text).expect("made of letters and digits")
    }

    /// The attribute that makes a directory hide what lies below it.
    pub(crate) fn opaque_mark(&self) -> &'static str {
        if self.options.userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" }
    }

    /// A directory without files, for the mount of no layer.
    pub(crate) fn empty_dir(&self) -> Result<PathBuf> {
        let dir = self.mounts.join("empty");
        match std::fs::create_dir(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(sys::fail("make directory", &dir, e))
            }
            _ => Ok(dir),
        }
    }

    /// Makes all that was committed so far safe from a power cut.
    pub fn sync(&self) -> Result<()> {
        let dir = std::fs::File::open(&self.layers).map_err(|e| sys::fail("open", &self.layers, e))?;
        rustix::fs::syncfs(&dir)
            .map_err(|e| Error::from(std::io::Error::from(e)).context("failed to sync the store"))
    }
}
