mod merged;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use errdefs::{Code, Error, Result};
use rustix::fs::OFlags;

pub use merged::MergedDir;
pub use walk::{Entry, Walk};

use crate::layer::{Layer, LayerId};
use crate::meta::{FileType, Meta};
use crate::{path, sys};

/// Links followed in one path before it counts as a loop, as in BuildKit.
const MAX_LINKS: usize = 255;

/// What a chain of layers shows, as overlayfs would mount it. Cheap to clone; keeps what it has read.
///
/// Every path is taken from the root of the view, with or without a leading slash, and never leads out of it: `..` ends
/// at the root, and links are followed inside the view.
#[derive(Debug, Clone)]
pub struct View(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Lowest first.
    layers: Vec<Arc<Layer>>,
    chain: Vec<LayerId>,
    dirs: Mutex<Dirs>,
    hashes: Mutex<HashMap<Box<[u8]>, [u8; 32]>>,
}

/// The directories looked at so far; `None` where there is none.
type Dirs = HashMap<Box<[u8]>, Option<Arc<MergedDir>>>;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    pub name: Box<[u8]>,
    pub file_type: FileType,
}

/// A file found: what it is and the layer that shows it.
#[derive(Debug, Clone)]
pub struct Found {
    pub file_type: FileType,
    pub layer: Arc<Layer>,
}

impl View {
    pub(crate) fn new(layers: Vec<Arc<Layer>>) -> Self {
        let chain = layers.iter().map(|layer| layer.id.clone()).collect();
        View(Arc::new(Inner { layers, chain, dirs: Mutex::default(), hashes: Mutex::default() }))
    }

    /// Takes over what `below`, a view of the lower ones of these layers, knows of what the others leave alone.
    pub(crate) fn learn_from(&self, below: &View) -> Result<()> {
        let above = &self.layers()[below.layers().len()..];
        let left_alone = |path: &[u8]| -> Result<bool> {
            for layer in above {
                if layer.touches(path)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let known: Vec<_> = lock(&below.0.hashes).iter().map(|(path, hash)| (path.clone(), *hash)).collect();
        for (path, hash) in known {
            if left_alone(&path)? {
                if let Some(dir) = lock(&below.0.dirs).get(&path).cloned() {
                    lock(&self.0.dirs).insert(path.clone(), dir);
                }
                lock(&self.0.hashes).insert(path, hash);
            }
        }
        Ok(())
    }

    /// A view without any file.
    pub fn empty() -> Self {
        View::new(Vec::new())
    }

    /// The layers, lowest first.
    pub fn chain(&self) -> &[LayerId] {
        &self.0.chain
    }

    pub(crate) fn layers(&self) -> &[Arc<Layer>] {
        &self.0.layers
    }

    /// The stat of a path, the last component not followed; `None` where there is nothing.
    pub fn lstat(&self, path: &[u8]) -> Result<Option<Meta>> {
        self.lstat_clean(&self.resolve(path, false)?)
    }

    /// The stat of what a path leads to; `None` where there is nothing.
    pub fn stat(&self, path: &[u8]) -> Result<Option<Meta>> {
        self.lstat_clean(&self.resolve(path, true)?)
    }

    /// The target of the symbolic link at `path`.
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>> {
        let path = self.resolve(path, false)?;
        let found = self.find(&path)?.ok_or_else(|| not_found(&path))?;
        sys::read_link(&found.layer.real(&path))
    }

    /// The names in the directory that `path` leads to, sorted.
    pub fn read_dir(&self, path: &[u8]) -> Result<Vec<DirEntry>> {
        let path = self.resolve(path, true)?;
        match self.dir(&path)? {
            Some(dir) => Ok(dir.list()),
            None => Err(not_found(&path)),
        }
    }

    /// Opens the regular file that `path` leads to, for reading.
    pub fn open(&self, path: &[u8]) -> Result<File> {
        let path = self.resolve(path, true)?;
        let found = self.find(&path)?.ok_or_else(|| not_found(&path))?;
        if found.file_type != FileType::File {
            return Err(Error::user(format!("`{}` is not a regular file", path::show(&path))));
        }
        open_file(&found.layer, &path)
    }

    /// The content of the regular file that `path` leads to; `None` where there is nothing. A file of more than
    /// `limit` bytes is an error.
    pub fn read(&self, path: &[u8], limit: u64) -> Result<Option<Vec<u8>>> {
        let file = match self.open(path) {
            Ok(file) => file,
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let text = format!("`{}` is larger than {limit} bytes", path::show(&path::clean(path)));
            return Err(Error::user(text).with_code(Code::ResourceExhausted));
        }
        Ok(Some(bytes))
    }

    /// Extended attributes of a path, the last component not followed.
    pub fn xattrs(&self, path: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let path = self.resolve(path, false)?;
        match self.find(&path)? {
            Some(found) => sys::xattrs(&found.layer.real(&path)),
            None => Ok(BTreeMap::new()),
        }
    }

    /// Follows the links in a path. The result has no leading slash; the root is empty. Components that are not there
    /// stay as they are, as a path that is to be made may end in some.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Vec<u8>> {
        resolve_in(path, follow_last, &mut |at| match self.find(at)? {
            Some(found) if found.file_type == FileType::Symlink => {
                Ok(Some(sys::read_link(&found.layer.real(at))?))
            }
            _ => Ok(None),
        })
    }

    /// All that lies below `path` and `path` itself, in the order in which `/` sorts lowest; links are not followed.
    pub fn walk(&self, path: &[u8]) -> Result<Walk> {
        Walk::new(self.clone(), self.resolve(path, false)?)
    }

    /// Where the file at `path` lies on disk: the topmost layer's. For a directory that is only one of its parts.
    pub fn real_path(&self, path: &[u8]) -> Result<Option<PathBuf>> {
        let path = self.resolve(path, false)?;
        Ok(self.find(&path)?.map(|found| found.layer.real(&path)))
    }

    pub(crate) fn lstat_clean(&self, path: &[u8]) -> Result<Option<Meta>> {
        if path.is_empty() && self.0.layers.is_empty() {
            return Ok(Some(empty_root()));
        }
        match self.find(path)? {
            Some(found) => sys::lstat(&found.layer.real(path)),
            None => Ok(None),
        }
    }

    /// Looks up a clean path that goes through no link.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Option<Found>> {
        if path.is_empty() {
            let top = self.0.layers.last().cloned();
            return Ok(top.map(|layer| Found { file_type: FileType::Dir, layer }));
        }
        let (dir, name) = path::split(path);
        Ok(self.dir(dir)?.and_then(|dir| dir.find(name)))
    }

    /// The directory at a clean path that goes through no link; `None` where there is none.
    pub(crate) fn dir(&self, path: &[u8]) -> Result<Option<Arc<MergedDir>>> {
        if let Some(known) = lock(&self.0.dirs).get(path) {
            return Ok(known.clone());
        }
        let dir = if path.is_empty() {
            Some(MergedDir::root(&self.0.layers)?)
        } else {
            let (parent, name) = path::split(path);
            match self.dir(parent)? {
                Some(parent) => parent.subdir(name, path)?,
                None => None,
            }
        };
        let dir = dir.map(Arc::new);
        lock(&self.0.dirs).insert(path.into(), dir.clone());
        Ok(dir)
    }

    pub(crate) fn known_hash(&self, path: &[u8]) -> Option<[u8; 32]> {
        lock(&self.0.hashes).get(path).copied()
    }

    pub(crate) fn remember_hash(&self, path: &[u8], hash: [u8; 32]) {
        lock(&self.0.hashes).insert(path.into(), hash);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a file of a layer without following a link and without leaving a trace in its access time.
pub fn open_file(layer: &Layer, path: &[u8]) -> Result<File> {
    let real = layer.real(path);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    match rustix::fs::open(&real, flags | OFlags::NOATIME, rustix::fs::Mode::empty()) {
        Err(rustix::io::Errno::PERM) => rustix::fs::open(&real, flags, rustix::fs::Mode::empty()),
        other => other,
    }
    .map(File::from)
    .map_err(|e| sys::fail("open", &real, e))
}

/// Gives the target where a clean path is a symbolic link.
pub type ReadLink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Option<Vec<u8>>>;

/// Resolves `path` by components; `link` gives the target where a clean path is a symbolic link.
pub fn resolve_in(path: &[u8], follow_last: bool, link: ReadLink<'_>) -> Result<Vec<u8>> {
    let mut at = Vec::with_capacity(path.len());
    // What is still to go, the next component last.
    let mut todo: Vec<Box<[u8]>> = components(path);
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if *part == *b".." {
            let parent = path::split(&at).0.len();
            at.truncate(parent);
            continue;
        }
        let parent = at.len();
        path::push(&mut at, &part);
        if todo.is_empty() && !follow_last {
            break;
        }
        let Some(target) = link(&at)? else { continue };
        links += 1;
        if links > MAX_LINKS {
            return Err(Error::user(format!("too many links in `{}`", path::show(&path::clean(path)))));
        }
        at.truncate(if target.first() == Some(&b'/') { 0 } else { parent });
        todo.extend(components(&target));
    }
    Ok(at)
}

/// Components that are neither empty nor `.`, last first.
fn components(path: &[u8]) -> Vec<Box<[u8]>> {
    path.split(|&b| b == b'/').filter(|p| !p.is_empty() && *p != b".").map(Into::into).rev().collect()
}

fn not_found(path: &[u8]) -> Error {
    Error::not_found(format!("`{}` not found", path::show(path)))
}

/// The root of a view without layers, as a fresh layer's would be.
fn empty_root() -> Meta {
    let time = crate::Time::default();
    Meta {
        file_type: FileType::Dir,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: time,
        rdev: (0, 0),
        ino: 0,
        dev: 0,
        nlink: 2,
        disk: 0,
    }
}
