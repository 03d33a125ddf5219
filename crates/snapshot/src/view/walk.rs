use errdefs::Result;

use super::{DirEntry, View};
use crate::meta::{FileType, Meta};
use crate::{path, sys};

/// One path of a view.
#[derive(Debug, Clone)]
pub struct Entry {
    /// From the root of the view, without a leading slash; the root itself is empty.
    pub path: Vec<u8>,
    pub meta: Meta,
}

/// Iterates over a part of a view; see [`View::walk`].
pub struct Walk {
    view: View,
    root: Option<Vec<u8>>,
    /// The directories that are being read, outermost first, each with what is left of it.
    open: Vec<(Vec<u8>, std::vec::IntoIter<DirEntry>)>,
    /// The directory given last, to be entered unless the caller skips it.
    enter: Option<Vec<u8>>,
}

impl Walk {
    pub(super) fn new(view: View, root: Vec<u8>) -> Result<Self> {
        Ok(Walk { view, root: Some(root), open: Vec::new(), enter: None })
    }

    /// Leaves out what lies in the directory that was given last.
    pub fn skip_dir(&mut self) {
        self.enter = None;
    }

    fn step(&mut self) -> Result<Option<Entry>> {
        if let Some(root) = self.root.take() {
            let Some(meta) = self.view.lstat_clean(&root)? else { return Ok(None) };
            if meta.is_dir() {
                self.enter = Some(root.clone());
            }
            return Ok(Some(Entry { path: root, meta }));
        }
        if let Some(at) = self.enter.take()
            && let Some(dir) = self.view.dir(&at)?
        {
            self.open.push((at, dir.list().into_iter()));
        }
        while let Some((at, rest)) = self.open.last_mut() {
            let Some(entry) = rest.next() else {
                self.open.pop();
                continue;
            };
            let path = path::join(at, &entry.name);
            let Some(found) = self.view.find(&path)? else { continue };
            let Some(meta) = sys::lstat(&found.layer.real(&path))? else { continue };
            if entry.file_type == FileType::Dir {
                self.enter = Some(path.clone());
            }
            return Ok(Some(Entry { path, meta }));
        }
        Ok(None)
    }
}

impl Iterator for Walk {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
