//! What layers take on disk, and how much of it comes free.

use std::collections::HashSet;
use std::sync::PoisonError;

use errdefs::Result;

use crate::layer::{Layer, LayerId, Origin};
use crate::meta::{Attrs, FileType, Meta};
use crate::store::Store;
use crate::{path, sys};

/// What the removal of a layer freed, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Directories, and files that the layer brought.
    pub own: u64,
    /// Files of other layers, whose last name was in this one.
    pub linked: u64,
    /// Objects that no tree links any more.
    pub objects: u64,
}

impl Freed {
    pub fn total(&self) -> u64 {
        self.own + self.linked + self.objects
    }
}

/// Takes a path of a layer and what lies there.
type Visitor<'a> = &'a mut dyn FnMut(&Layer, &[u8], &Meta) -> Result<()>;

impl Store {
    /// Bytes on disk that the layer takes. A file that several layers link counts for each with its share, so that the
    /// sum over all layers is what the disk says.
    pub fn usage(&self, id: &LayerId) -> Result<u64> {
        let mut total = 0;
        self.for_each_file(id, &mut |layer, _, meta| {
            let is_object = layer.shared()?.get(meta.ino).is_some_and(|s| s.origin == Origin::Object);
            // The object's own name is no user of it.
            let names = if meta.is_dir() { 1 } else { meta.nlink.saturating_sub(u64::from(is_object)) };
            total += meta.disk / names.max(1);
            Ok(())
        })?;
        Ok(total)
    }

    /// Bytes on disk that came with the layer: all but what it links from objects and other layers. They do not change
    /// after the commit, whoever links what.
    pub fn own_size(&self, id: &LayerId) -> Result<u64> {
        let (mut total, mut several) = (0, HashSet::new());
        self.for_each_file(id, &mut |layer, _, meta| {
            let is_counted = meta.is_dir()
                || (layer.shared()?.get(meta.ino).is_none() && (meta.nlink == 1 || several.insert(meta.ino)));
            total += if is_counted { meta.disk } else { 0 };
            Ok(())
        })?;
        Ok(total)
    }

    /// Bytes on disk of what stands for other layers in mounts, those of these layers left out.
    pub fn squashed_size(&self) -> Result<u64> {
        let all: Vec<_> = {
            let squashed = self.squashed.lock().unwrap_or_else(PoisonError::into_inner);
            squashed.keys().cloned().collect()
        };
        all.iter().map(|id| self.own_size(id)).sum()
    }

    /// Removes a layer that nobody uses any more, with the objects that only it linked. One that is not there is no
    /// error.
    pub fn remove(&self, id: &LayerId) -> Result<Freed> {
        let mut freed = Freed::default();
        for squashed in self.squashed_from(id) {
            let more = self.remove(&squashed)?;
            freed.own += more.own;
            freed.linked += more.linked;
            freed.objects += more.objects;
        }
        self.close_layer(id);
        let dir = self.layer_dir(id);
        let (gone, _) = self.new_tmp("gone")?;
        let moved = gone.join("layer");
        match std::fs::rename(&dir, &moved) {
            Ok(()) => {
                // A layer that cannot be read goes all the same.
                if let Err(e) = self.take_apart(id, &moved, &mut freed) {
                    tracing::warn!(layer = %id, "a layer is removed unread: {e}");
                    self.objects().suspect();
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(sys::fail("remove layer", &dir, e)),
        }
        sys::remove_all(&gone)?;
        Ok(freed)
    }

    /// Unlinks the files of a layer one by one: a link count tells only then whether a name was the last.
    fn take_apart(&self, id: &LayerId, dir: &std::path::Path, freed: &mut Freed) -> Result<()> {
        let layer = Layer::open(id.clone(), dir.to_owned(), self.opaque_mark())?;
        for name in ["", "shared", "digests", "implied"] {
            freed.own += sys::lstat(&dir.join(name))?.map_or(0, |meta| meta.disk);
        }
        visit(&layer, &mut |layer, at, meta| {
            let origin = layer.shared()?.get(meta.ino).map(|shared| &shared.origin);
            if meta.is_dir() {
                freed.own += meta.disk;
                return Ok(());
            }
            let real = layer.real(at);
            let object = match (origin, meta.nlink) {
                (None, 1) => {
                    freed.own += meta.disk;
                    None
                }
                (Some(_), 1) => {
                    freed.linked += meta.disk;
                    None
                }
                (Some(Origin::Object), 2) => {
                    layer.digests().get(at).map(|raw| sys::xattrs(&real).map(|x| (raw, Attrs::of(meta, x))))
                }
                _ => None,
            };
            sys::remove_all(&real)?;
            match object.transpose()? {
                Some((raw, attrs)) => freed.objects += self.objects().release(&raw, &attrs, meta.ino)?,
                None if origin == Some(&Origin::Object) && meta.nlink == 2 => self.objects().suspect(),
                None => {}
            }
            Ok(())
        })
    }

    /// Calls `f` with every directory and file of a layer's tree, and with the files in which the layer is described.
    fn for_each_file(&self, id: &LayerId, f: Visitor<'_>) -> Result<()> {
        // Not the one in use: that one would remember all that is read here.
        let layer = Layer::open(id.clone(), self.layer_dir(id), self.opaque_mark())?;
        for name in ["", "shared", "digests", "implied"] {
            if let Some(meta) = sys::lstat(&self.layer_dir(id).join(name))? {
                f(&layer, b"", &meta)?;
            }
        }
        visit(&layer, f)
    }
}

/// Goes through a tree without remembering it: a layer may hold very many files. One that vanishes is passed over.
fn visit(layer: &Layer, f: Visitor<'_>) -> Result<()> {
    let mut todo = vec![Vec::new()];
    while let Some(at) = todo.pop() {
        let real = layer.real(&at);
        let Some(meta) = sys::lstat(&real)? else { continue };
        f(layer, &at, &meta)?;
        let entries = match sys::read_dir(&real) {
            Ok(entries) => entries,
            Err(_) if sys::lstat(&real)?.is_none() => continue,
            Err(e) => return Err(e),
        };
        for (name, kind) in entries {
            let below = path::join(&at, &name);
            match kind {
                FileType::Dir => todo.push(below),
                _ => {
                    if let Some(meta) = sys::lstat(&layer.real(&below))? {
                        f(layer, &below, &meta)?;
                    }
                }
            }
        }
    }
    Ok(())
}
