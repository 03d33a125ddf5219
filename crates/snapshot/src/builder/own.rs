use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use errdefs::Result;

use crate::layer::{Kind, Layer};
use crate::meta::{Attrs, FileType};
use crate::view::View;
use crate::{path, sys};

/// Who shows a path of the merged tree.
#[derive(Debug, Clone)]
pub enum Place {
    Own,
    Base(Arc<Layer>),
}

/// What the new tree holds. Nobody else writes to it, so nothing of it is ever read back.
#[derive(Debug)]
pub struct Own {
    root: PathBuf,
    /// Every directory; a path that is not here is no directory of this tree.
    dirs: HashMap<Box<[u8]>, OwnDir>,
}

#[derive(Debug, Default)]
struct OwnDir {
    entries: BTreeMap<Box<[u8]>, Kind>,
    /// Nothing of the base is seen in here: this directory is opaque, or one above it is.
    hides_base: bool,
}

impl Own {
    pub fn new(root: PathBuf) -> Self {
        Own { root, dirs: HashMap::from([(Box::default(), OwnDir::default())]) }
    }

    pub fn real(&self, path: &[u8]) -> PathBuf {
        sys::below(&self.root, path)
    }

    pub fn is_dir(&self, path: &[u8]) -> bool {
        self.dirs.contains_key(path)
    }

    /// All directories.
    pub fn dirs(&self) -> impl Iterator<Item = &[u8]> {
        self.dirs.keys().map(|path| &**path)
    }

    /// What this tree itself has at `path`.
    pub fn get(&self, at: &[u8]) -> Option<Kind> {
        if at.is_empty() {
            return Some(Kind::Present(FileType::Dir));
        }
        let (dir, name) = path::split(at);
        self.dirs.get(dir)?.entries.get(name).copied()
    }

    pub fn find(&self, at: &[u8], base: &View) -> Result<Option<(FileType, Place)>> {
        match self.get(at) {
            Some(Kind::Present(file_type)) => Ok(Some((file_type, Place::Own))),
            Some(Kind::Whiteout) => Ok(None),
            None => Ok(self.find_below(at, base)?.map(|(file_type, layer)| (file_type, Place::Base(layer)))),
        }
    }

    /// What the base has at `path`, if nothing of this tree above the path hides it.
    pub fn find_below(&self, at: &[u8], base: &View) -> Result<Option<(FileType, Arc<Layer>)>> {
        let mut dir = at;
        while !dir.is_empty() {
            let (parent, name) = path::split(dir);
            if let Some(own) = self.dirs.get(parent) {
                let hidden = own.hides_base
                    || (dir.len() < at.len()
                        && !matches!(own.entries.get(name), None | Some(Kind::Present(FileType::Dir))));
                if hidden {
                    return Ok(None);
                }
                break;
            }
            dir = parent;
        }
        Ok(base.find(at)?.map(|found| (found.file_type, found.layer)))
    }

    /// The names of the merged directory at `path`, sorted.
    pub fn list(&self, at: &[u8], base: &View) -> Result<Vec<(Box<[u8]>, FileType)>> {
        let mut merged: BTreeMap<Box<[u8]>, Kind> = BTreeMap::new();
        if let Some((FileType::Dir, _)) = self.find_below(at, base)?
            && !self.dirs.get(at).is_some_and(|own| own.hides_base)
            && let Some(dir) = base.dir(at)?
        {
            merged.extend(dir.list().into_iter().map(|e| (e.name, Kind::Present(e.file_type))));
        }
        if let Some(own) = self.dirs.get(at) {
            merged.extend(own.entries.iter().map(|(name, kind)| (name.clone(), *kind)));
        }
        Ok(merged
            .into_iter()
            .filter_map(|(name, kind)| match kind {
                Kind::Present(file_type) => Some((name, file_type)),
                Kind::Whiteout => None,
            })
            .collect())
    }

    /// Makes the directory at `path`, which the merged tree shows, one of this tree, as overlayfs copies it up.
    pub fn ensure_dir(&mut self, at: &[u8], base: &View) -> Result<()> {
        if self.is_dir(at) {
            return Ok(());
        }
        let (parent, _) = path::split(at);
        self.ensure_dir(parent, base)?;
        let real = self.real(at);
        let from = base.find(at)?.map(|found| found.layer.real(at));
        let time = sys::lstat(&self.real(parent))?.map(|meta| meta.mtime);
        sys::mkdir(&real)?;
        if let Some(from) = from
            && let Some(meta) = sys::lstat(&from)?
        {
            sys::set_attrs(&real, FileType::Dir, &Attrs::of(&meta, sys::xattrs(&from)?))?;
        }
        if let Some(time) = time {
            sys::set_mtime(&self.real(parent), time)?;
        }
        self.add(at, FileType::Dir, false);
        Ok(())
    }

    /// Notes what was made at `path`. `opaque` only means something for a directory.
    pub fn add(&mut self, at: &[u8], file_type: FileType, opaque: bool) {
        let parent_hides = self.insert(at, Kind::Present(file_type));
        if file_type == FileType::Dir {
            let dir = OwnDir { entries: BTreeMap::new(), hides_base: opaque || parent_hides };
            self.dirs.insert(at.into(), dir);
        }
    }

    pub fn add_whiteout(&mut self, at: &[u8]) {
        self.insert(at, Kind::Whiteout);
    }

    fn insert(&mut self, at: &[u8], kind: Kind) -> bool {
        let (parent, name) = path::split(at);
        let dir = self.dirs.get_mut(parent).expect("a file is made in a directory of the tree");
        dir.entries.insert(name.into(), kind);
        dir.hides_base
    }

    /// Forgets what lies at `path`, with all below; gives the paths of the files that are gone.
    pub fn forget(&mut self, at: &[u8]) -> Vec<Vec<u8>> {
        let (parent, name) = path::split(at);
        let kind = self.dirs.get_mut(parent).and_then(|dir| dir.entries.remove(name));
        let mut gone = Vec::new();
        match kind {
            Some(Kind::Present(FileType::Dir)) => self.forget_dir(at, &mut gone),
            Some(Kind::Present(_)) => gone.push(at.to_vec()),
            Some(Kind::Whiteout) | None => {}
        }
        gone
    }

    fn forget_dir(&mut self, at: &[u8], gone: &mut Vec<Vec<u8>>) {
        let Some(dir) = self.dirs.remove(at) else { return };
        for (name, kind) in dir.entries {
            match kind {
                Kind::Present(FileType::Dir) => self.forget_dir(&path::join(at, &name), gone),
                Kind::Present(_) => gone.push(path::join(at, &name)),
                Kind::Whiteout => {}
            }
        }
    }
}
