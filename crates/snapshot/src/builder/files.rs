//! The small file operations of LLB: make a directory, a file, a link; remove.

use errdefs::{Error, Result};

use super::{
    FileOptions, MkdirOptions, NOT_A_DIRECTORY, NOT_FOUND, Place, RemoveOptions, TreeBuilder, path_error,
};
use crate::meta::{FileType, Owner, Time};
use crate::{path, sys};

impl TreeBuilder {
    /// Makes a directory. One that is there stays as it is.
    pub fn mkdir(&mut self, path: &[u8], options: &MkdirOptions) -> Result<()> {
        let path = self.resolve(path, true)?;
        if options.parents {
            self.mkdir_all(&path, options.mode, options.owner, options.timestamp)?;
            return Ok(());
        }
        if path.is_empty() || self.find(&path)?.is_some() {
            return Ok(());
        }
        match self.find(path::split(&path).0)? {
            Some((FileType::Dir, _)) => self.mkdir_one(&path, options.mode, options.owner, options.timestamp),
            Some(_) => Err(path_error("mkdir", &path, NOT_A_DIRECTORY)),
            None if path::split(&path).0.is_empty() => {
                self.mkdir_one(&path, options.mode, options.owner, options.timestamp)
            }
            None => Err(path_error("mkdir", &path, NOT_FOUND)),
        }
    }

    /// Makes what is missing of a clean path that goes through no link, and gives what was made, topmost first.
    pub(super) fn mkdir_all(
        &mut self,
        path: &[u8],
        mode: u32,
        owner: Option<Owner>,
        timestamp: Option<Time>,
    ) -> Result<Vec<Vec<u8>>> {
        let mut made = Vec::new();
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
        for end in ends.chain((!path.is_empty()).then_some(path.len())) {
            let at = &path[..end];
            match self.find(at)? {
                Some((FileType::Dir, _)) => {}
                Some(_) => return Err(path_error("mkdir", at, NOT_A_DIRECTORY)),
                None => {
                    self.mkdir_one(at, mode, owner, timestamp)?;
                    made.push(at.to_vec());
                }
            }
        }
        Ok(made)
    }

    fn mkdir_one(
        &mut self,
        path: &[u8],
        mode: u32,
        owner: Option<Owner>,
        timestamp: Option<Time>,
    ) -> Result<()> {
        self.make_dir(path)?;
        sys::chmod(&self.own.real(path), mode & 0o777)?;
        self.finish_file(path, owner, timestamp)
    }

    /// Owner and time of what was just made.
    fn finish_file(&mut self, path: &[u8], owner: Option<Owner>, timestamp: Option<Time>) -> Result<()> {
        let real = self.own.real(path);
        if let Some(owner) = owner {
            sys::chown(&real, owner)?;
        }
        if let Some(time) = timestamp {
            sys::set_mtime(&real, time)?;
        }
        Ok(())
    }

    /// Writes a file. One that is there is overwritten and keeps its mode and, unless one is given, its owner.
    pub fn mkfile(&mut self, path: &[u8], data: &[u8], options: &FileOptions) -> Result<()> {
        let path = self.resolve(path, true)?;
        let before = match self.find(&path)? {
            Some((FileType::Dir, _)) => return Err(path_error("open", &path, "is a directory")),
            Some((FileType::File, place)) => {
                let real = self.real(&path, &place);
                let xattrs = sys::xattrs(&real)?;
                sys::lstat(&real)?.map(|meta| (meta, xattrs))
            }
            _ => None,
        };
        self.make_room(&path)?;
        let real = self.own.real(&path);
        std::fs::write(&real, data).map_err(|e| sys::fail("write", &real, e))?;
        self.own.add(&path, FileType::File, false);
        match before {
            Some((meta, xattrs)) => {
                sys::chown(&real, meta.owner())?;
                // A write takes the capabilities from a file.
                for (name, value) in xattrs.iter().filter(|(name, _)| *name != b"security.capability") {
                    sys::set_xattr(&real, name, value)?;
                }
                sys::chmod(&real, meta.mode)?;
            }
            None => sys::chmod(&real, options.mode & 0o777)?,
        }
        self.finish_file(&path, options.owner, options.timestamp)
    }

    /// Makes a symbolic link to `target`. A file at the path is an error.
    pub fn symlink(&mut self, target: &[u8], path: &[u8], options: &FileOptions) -> Result<()> {
        let path = self.resolve(path, true)?;
        if path.is_empty() || self.find(&path)?.is_some() {
            let target = String::from_utf8_lossy(target);
            return Err(Error::user(format!("symlink {target} {}: file exists", path::show(&path))));
        }
        self.make_room(&path)?;
        sys::symlink(target, &self.own.real(&path))?;
        self.own.add(&path, FileType::Symlink, false);
        self.finish_file(&path, options.owner, options.timestamp)
    }

    /// Removes a path with all below. A link is removed itself, never what it leads to.
    pub fn remove(&mut self, path: &[u8], options: &RemoveOptions) -> Result<()> {
        let mut clean = Vec::from(b"/");
        clean.extend(path::clean(path));
        let paths = if options.wildcard { self.wildcard(&clean, false)? } else { vec![clean] };
        paths.iter().try_for_each(|path| self.remove_one(path, options.allow_not_found))
    }

    fn remove_one(&mut self, path: &[u8], allow_not_found: bool) -> Result<()> {
        let path = path::clean(path);
        if path.is_empty() {
            return Err(Error::user("rmPath: invalid empty path"));
        }
        let path = self.resolve(&path, false)?;
        if !allow_not_found && self.stat(&path)?.is_none() {
            return Err(path_error("stat", &path, NOT_FOUND));
        }
        self.remove_all(&path)
    }

    /// Removes a clean path or nothing.
    pub fn remove_if_there(&mut self, path: &[u8]) -> Result<()> {
        let path = self.resolve(path, false)?;
        match self.find(&path)? {
            Some((_, Place::Own | Place::Base(_))) if !path.is_empty() => self.remove_all(&path),
            _ => Ok(()),
        }
    }
}
