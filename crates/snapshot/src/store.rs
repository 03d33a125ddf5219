use std::collections::HashMap;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Marks directories with `user.overlay.*` in place of `trusted.overlay.*`, for a store inside a user namespace.
    pub userxattr: bool,
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

    /// Removes what a crash left and every layer that is not `live`. Only for the start, while nobody uses the store.
    pub fn sweep(&self, live: &dyn Fn(&LayerId) -> bool) -> Result<()> {
        for dir in [&self.tmp, &self.mounts] {
            for (name, _) in sys::read_dir(dir)? {
                sys::remove_all(&sys::below(dir, &name))?;
            }
        }
        for (name, _) in sys::read_dir(&self.layers)? {
            let id = std::str::from_utf8(&name).ok().and_then(|name| LayerId::parse(name).ok());
            if !id.is_some_and(|id| live(&id)) {
                sys::remove_all(&sys::below(&self.layers, &name))?;
            }
        }
        Ok(())
    }

    /// The tree that a chain of layers shows, lowest first, read without a mount.
    pub fn view(self: &Arc<Self>, chain: &[LayerId]) -> Result<View> {
        let layers = chain.iter().map(|id| self.layer(id)).collect::<Result<Vec<_>>>()?;
        Ok(View::new(layers))
    }

    /// A new tree. It comes into being by its commit; dropped before, it leaves nothing.
    pub fn new_tree(self: &Arc<Self>) -> Result<TreeWriter> {
        TreeWriter::new(self.clone())
    }

    /// Whether the store holds this layer.
    pub fn contains(&self, id: &LayerId) -> bool {
        self.layer(id).is_ok()
    }

    /// Bytes on disk that the layer takes; a file that several layers link counts for each with its share.
    pub fn usage(&self, id: &LayerId) -> Result<u64> {
        // Not the one in use: that one would remember all that is read here.
        let layer = Layer::open(id.clone(), self.layer_dir(id), self.opaque_mark())?;
        let mut total = 0;
        layer.for_each_dir(&mut |at, dir| {
            let meta = sys::lstat(&layer.real(at))?;
            total += meta.map_or(0, |meta| meta.disk);
            for (name, kind) in &dir.entries {
                if matches!(kind, crate::layer::Kind::Present(t) if *t != crate::FileType::Dir)
                    && let Some(meta) = sys::lstat(&sys::below(&layer.real(at), name))?
                {
                    total += meta.disk / meta.nlink.max(1);
                }
            }
            Ok(())
        })?;
        Ok(total)
    }

    /// Removes a layer that nobody uses any more. One that is not there is no error.
    pub fn remove(&self, id: &LayerId) -> Result<()> {
        for squashed in self.squashed_from(id) {
            self.remove(&squashed)?;
        }
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        let dir = self.layers.join(id.as_str());
        let (gone, _) = self.new_tmp("gone")?;
        match std::fs::rename(&dir, gone.join("layer")) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(sys::fail("remove layer", &dir, e)),
        }
        sys::remove_all(&gone)
    }

    /// Takes the layers out of the table that stand for this one among others.
    fn squashed_from(&self, id: &LayerId) -> Vec<LayerId> {
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
        let layer = Arc::new(Layer::open(id.clone(), self.layers.join(id.as_str()), self.opaque_mark())?);
        if open.len() >= IDLE_LAYERS {
            open.retain(|_, layer| Arc::strong_count(layer) > 1);
        }
        open.insert(id.clone(), layer.clone());
        Ok(layer)
    }

    /// Where a layer lies once it is committed.
    pub(crate) fn layer_dir(&self, id: &LayerId) -> PathBuf {
        self.layers.join(id.as_str())
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
