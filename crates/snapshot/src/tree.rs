use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use errdefs::Result;
use fsutil::mount::{Source, Upper};

use crate::builder::TreeBuilder;
use crate::layer::{LayerId, Raw, Shared, encode_digests};
use crate::meta::FileType;
use crate::same::is_same;
use crate::store::Store;
use crate::view::View;
use crate::{path, sys};

/// A layer tree that is being made: as the writable top of a mount, or by a [`TreeBuilder`].
#[derive(Debug)]
#[must_use = "a tree that is not committed is removed"]
pub struct TreeWriter {
    store: Arc<Store>,
    id: LayerId,
    /// Under `tmp/`, until the commit moves it.
    dir: PathBuf,
    /// Seconds since 1970.
    began: i64,
    pub(crate) shared: Shared,
    pub(crate) digests: BTreeMap<Box<[u8]>, Raw>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    Committed,
}

impl TreeWriter {
    pub(crate) fn new(store: Arc<Store>) -> Result<Self> {
        let (dir, id) = store.new_tmp("tree")?;
        let (shared, digests) = Default::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began = now.as_secs().cast_signed();
        let writer = TreeWriter { store, id, dir, began, shared, digests, state: State::Open };
        sys::mkdir(writer.path().as_path())?;
        sys::chmod(&writer.path(), 0o755)?;
        Ok(writer)
    }

    /// The directory with the files, in overlayfs' form.
    pub fn path(&self) -> PathBuf {
        self.dir.join("tree")
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// A mount that shows `chain`, lowest first, and takes all writes into this tree. The tree may be committed when
    /// nothing is mounted from it any more.
    pub fn mount_source(&self, chain: &[LayerId]) -> Result<Source> {
        if chain.is_empty() {
            return Ok(Source::Bind(self.path()));
        }
        let work = self.dir.join("work");
        match std::fs::create_dir(&work) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(sys::fail("make directory", &work, e));
            }
            _ => {}
        }
        let lower = self.store.lower_dirs(chain)?;
        Ok(Source::Overlay { lower, upper: Some(Upper { dir: self.path(), work }) })
    }

    /// Edits this tree, which must be new, as if it lay on `base`.
    pub fn builder(self, base: View) -> TreeBuilder {
        TreeBuilder::new(self, base)
    }

    /// Takes out the directory at `path`, and then those above it, where it holds nothing and is as `base` has it:
    /// overlayfs copied it up for something that came and went. Nothing may be mounted from this tree any more.
    pub fn drop_untouched(&self, base: &View, path: &[u8]) -> Result<()> {
        let mut at = path::clean(path);
        while !at.is_empty() {
            // A link that the step put on the way leads out of here.
            let ends = (0..=at.len()).filter(|&end| end == at.len() || at[end] == b'/');
            for end in ends.filter(|&end| end > 0) {
                if !sys::lstat(&sys::below(&self.path(), &at[..end]))?.is_some_and(|meta| meta.is_dir()) {
                    return Ok(());
                }
            }
            let real = sys::below(&self.path(), &at);
            let Some((meta, below)) = sys::lstat(&real)?.zip(base.find(&at)?) else { return Ok(()) };
            // A time that was set on purpose is a change; files that came and went leave that of the step.
            let is_untouched = below.file_type == FileType::Dir
                && meta.mtime.secs >= self.began - 1
                && sys::read_dir(&real)?.is_empty()
                && sys::xattr(&real, self.store.opaque_mark())?.is_none()
                && sys::xattrs(&real)? == sys::xattrs(&below.layer.real(&at))?
                && is_same(&below.layer.real(&at), &real, &meta)?;
            if !is_untouched {
                return Ok(());
            }
            let (above, _) = path::split(&at);
            let above = above.to_vec();
            let real_above = sys::below(&self.path(), &above);
            let time = sys::lstat(&real_above)?.map(|meta| meta.mtime);
            sys::remove_all(&real)?;
            if let Some(time) = time {
                sys::set_mtime(&real_above, time)?;
            }
            at = above;
        }
        Ok(())
    }

    /// Makes the tree a layer of the store.
    pub fn commit(self) -> Result<LayerId> {
        let id = self.id.clone();
        self.commit_as(id)
    }

    pub(crate) fn commit_as(mut self, id: LayerId) -> Result<LayerId> {
        sys::remove_all(&self.dir.join("work"))?;
        if !self.shared.is_empty() {
            write(&self.dir.join("shared"), &self.shared.encode())?;
        }
        if !self.digests.is_empty() {
            let known = self.digests.iter().map(|(path, raw)| (&**path, raw));
            write(&self.dir.join("digests"), &encode_digests(known))?;
        }
        let target = self.store.layer_dir(&id);
        std::fs::rename(&self.dir, &target).map_err(|e| sys::fail("commit layer", &target, e))?;
        self.state = State::Committed;
        Ok(id)
    }

    /// The folder of the layer to be.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|e| sys::fail("write", path, e))
}

impl Drop for TreeWriter {
    fn drop(&mut self) {
        if self.state == State::Committed {
            return;
        }
        // Moved first, lest a thread that has not heard of the end makes a file in what is being removed.
        let gone = self.dir.with_extension("gone");
        let dir = if std::fs::rename(&self.dir, &gone).is_ok() { &gone } else { &self.dir };
        if let Err(e) = sys::remove_all(dir) {
            tracing::warn!(tree = %dir.display(), "an unfinished tree stays until the next start: {e}");
        }
    }
}
