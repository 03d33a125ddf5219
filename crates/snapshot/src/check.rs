//! Looks for damage in objects and layer trees, and puts it out of the way.
//!
//! An object is named by what it holds. Of a layer tree there is less to compare with: the objects that it links, the
//! digests of files that were ever asked for, and the archive that it came from or was packed into. What a step wrote
//! and nobody has hashed or exported since can only be read.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Arc;

use errdefs::{Result, ResultExt as _};
use oci::{Digest, DigestWriter};

use crate::layer::{Kind, Layer, LayerId, Raw};
use crate::meta::{Attrs, FileType, Meta};
use crate::store::Store;
use crate::{FileHasher, View, object, path, sys};

/// What is known of the objects after a check.
#[derive(Debug, Default)]
pub struct CheckedObjects {
    /// The names of the damaged ones.
    pub damaged: Vec<String>,
    bad: HashSet<u64>,
    good: HashSet<u64>,
}

impl Store {
    /// Reads every object and sets aside what is not what its name says, or cannot be read.
    pub fn check_objects(&self) -> Result<CheckedObjects> {
        let mut checked = CheckedObjects::default();
        let dir = self.objects().dir();
        for (fan, _) in sys::read_dir(dir)? {
            let fan = sys::below(dir, &fan);
            for (name, _) in sys::read_dir(&fan)? {
                let path = sys::below(&fan, &name);
                let name = String::from_utf8_lossy(&name).into_owned();
                let Some(meta) = sys::lstat(&path)? else { continue };
                let expected = name.split('.').next().unwrap_or_default();
                if meta.is_file() && object_name(&path, &meta).is_ok_and(|found| found == expected) {
                    checked.good.insert(meta.ino);
                    continue;
                }
                self.put_aside(&path, &format!("object-{name}"))?;
                checked.bad.insert(meta.ino);
                checked.damaged.push(name);
            }
        }
        Ok(checked)
    }

    /// Tells what is wrong with a layer; nothing where no fault is found.
    pub fn check_layer(&self, id: &LayerId, objects: &CheckedObjects) -> Result<Option<String>> {
        // Not the one in use, which remembers what it has read.
        let layer = match Layer::open(id.clone(), self.layer_dir(id), self.opaque_mark()) {
            Ok(layer) => layer,
            Err(_) => return Ok(Some("it is gone".into())),
        };
        let mut fault = None;
        let walked = layer.for_each_dir(&mut |at, dir| {
            for (name, kind) in &dir.entries {
                if fault.is_none() && *kind == Kind::Present(FileType::File) {
                    fault = check_file(&layer, &path::join(at, name), objects)?;
                }
            }
            Ok(())
        });
        if fault.is_none() {
            fault = walked.and_then(|()| missing_file(&layer)).unwrap_or_else(|e| Some(e.to_string()));
        }
        Ok(fault)
    }

    /// The digest of the archive that layers are packed into: what [`Store::write_diff`] writes.
    pub fn diff_id(self: &Arc<Self>, base: &View, layers: &[LayerId]) -> Result<Digest> {
        let mut digest = DigestWriter::default();
        self.write_diff(base, layers, &mut digest)?;
        Ok(digest.finish())
    }

    /// Whether the files of a layer are those of an archive.
    pub fn holds_archive(self: &Arc<Self>, id: &LayerId, tar: impl Read) -> Result<bool> {
        let fresh = self.apply(tar)?.layer;
        let same = self.same_files(id, &fresh);
        self.remove(&fresh)?;
        same
    }

    fn same_files(&self, a: &LayerId, b: &LayerId) -> Result<bool> {
        let open = |id: &LayerId| Layer::open(id.clone(), self.layer_dir(id), self.opaque_mark());
        let (a, b) = (open(a)?, open(b)?);
        let mut same = true;
        b.for_each_dir(&mut |at, expected| {
            let is_dir = sys::lstat(&a.real(at))?.is_some_and(|meta| meta.is_dir());
            if !same || !is_dir {
                same = false;
                return Ok(());
            }
            let found = a.read_dir(at)?;
            same = found.entries == expected.entries && found.opaque == expected.opaque;
            for (name, kind) in &expected.entries {
                let (Kind::Present(kind), at) = (kind, path::join(at, name)) else { continue };
                same &= match kind {
                    _ if !same => false,
                    FileType::File => same_content(&a, &b, &at)?,
                    FileType::Symlink => sys::read_link(&a.real(&at))? == sys::read_link(&b.real(&at))?,
                    _ => true,
                };
            }
            Ok(())
        })?;
        Ok(same)
    }

    /// Takes a damaged layer out of the store.
    pub fn set_aside(&self, id: &LayerId) -> Result<()> {
        self.close_layer(id);
        let dir = self.layer_dir(id);
        if sys::lstat(&dir)?.is_some() {
            self.put_aside(&dir, &format!("layer-{id}"))?;
        }
        Ok(())
    }

    fn put_aside(&self, path: &std::path::Path, name: &str) -> Result<()> {
        fsutil::set_aside(path, &self.root().join("damaged"), name)
            .map(drop)
            .with_context(|| format!("failed to set `{}` aside", path.display()))
    }
}

fn object_name(path: &std::path::Path, meta: &Meta) -> Result<String> {
    let attrs = Attrs::of(meta, sys::xattrs(path)?);
    let raw = hash(path, &attrs, meta.size)?;
    Ok(object::key(Digest::from_sha256(raw).hex(), &attrs))
}

fn hash(path: &std::path::Path, attrs: &Attrs, size: u64) -> Result<Raw> {
    let mut hasher = FileHasher::file(attrs, size);
    let mut file = std::fs::File::open(path).map_err(|e| sys::fail("open", path, e))?;
    io::copy(&mut file, &mut hasher).map_err(|e| sys::fail("read", path, e))?;
    Ok(hasher.finish())
}

fn check_file(layer: &Layer, at: &[u8], objects: &CheckedObjects) -> Result<Option<String>> {
    let real = layer.real(at);
    let Some(meta) = sys::lstat(&real)? else { return Ok(None) };
    if objects.bad.contains(&meta.ino) {
        return Ok(Some(format!("`/{}` links a damaged object", path::show(at))));
    }
    let known = layer.digests().get(at);
    if objects.good.contains(&meta.ino) && known.is_none() {
        return Ok(None);
    }
    let attrs = Attrs::of(&meta, sys::xattrs(&real)?);
    match hash(&real, &attrs, meta.size) {
        Ok(found) if known.is_none_or(|known| known == found) => Ok(None),
        Ok(_) => Ok(Some(format!("`/{}` is not what its digest says", path::show(at)))),
        Err(e) => Ok(Some(e.to_string())),
    }
}

/// A file that the layer links from elsewhere and that is not there.
fn missing_file(layer: &Layer) -> Result<Option<String>> {
    for (_, shared) in layer.shared()?.iter().filter(|(_, shared)| !shared.path.is_empty()) {
        if sys::lstat(&layer.real(&shared.path))?.is_none() {
            return Ok(Some(format!("`/{}` is gone", path::show(&shared.path))));
        }
    }
    Ok(None)
}

fn same_content(a: &Layer, b: &Layer, at: &[u8]) -> Result<bool> {
    let (a, b) = (a.real(at), b.real(at));
    let size = |path| Ok::<_, errdefs::Error>(sys::lstat(path)?.map(|meta| meta.size));
    Ok(size(&a)? == size(&b)? && sys::is_same_content(&a, &b)?)
}
