use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use errdefs::{Error, Result};
use oci::Digest;
use sha2::{Digest as _, Sha256};

use super::FileHasher;
use crate::layer::{Layer, LayerId};
use crate::meta::{FileType, Meta};
use crate::view::{View, open_file};
use crate::{path, sys};

type Raw = [u8; 32];

/// The digest of what `path` leads to.
pub fn hash(view: &View, path: &[u8], follow_last: bool) -> Result<Raw> {
    let at = view.resolve(path, follow_last)?;
    match view.find(&at)? {
        Some(found) if found.file_type == FileType::Dir => tree(view, &at),
        Some(_) => node(view, &at),
        None if at.is_empty() => Ok(empty_root()),
        None => Err(missing(&path::clean(path))),
    }
}

/// In BuildKit's words.
pub fn missing(path: &[u8]) -> Error {
    Error::not_found(format!("{:?}: not found", path::show(path)))
}

/// The digest of the root of nothing.
fn empty_root() -> Raw {
    Sha256::digest([]).into()
}

/// The digest of a directory with all below it.
fn tree(view: &View, at: &[u8]) -> Result<Raw> {
    if let Some(known) = view.known_hash(at) {
        return Ok(known);
    }
    let mut files = Vec::new();
    collect(view, at, &mut files)?;
    hash_files(view, files.iter().map(|path| &path[..]))?;
    subtree(view, at)
}

fn subtree(view: &View, at: &[u8]) -> Result<Raw> {
    if let Some(known) = view.known_hash(at) {
        return Ok(known);
    }
    let dir = view.dir(at)?.ok_or_else(|| missing(at))?;
    let mut sha = Sha256::new();
    sha.update(b"\0");
    update_text(&mut sha, node(view, at)?);
    for entry in dir.list() {
        let path = path::join(at, &entry.name);
        sha.update(b"\0");
        sha.update(&entry.name);
        let raw = if entry.file_type == FileType::Dir { subtree(view, &path)? } else { node(view, &path)? };
        update_text(&mut sha, raw);
    }
    let raw = sha.finalize().into();
    view.remember_hash(at, raw);
    Ok(raw)
}

/// Adds a digest in its text form.
pub fn update_text(sha: &mut Sha256, raw: Raw) {
    sha.update(Digest::from_sha256(raw).as_str());
}

/// The digest of one file, or of a directory's own header.
pub fn node(view: &View, at: &[u8]) -> Result<Raw> {
    let found = view.find(at)?.ok_or_else(|| missing(at))?;
    let digests = found.layer.digests();
    if let Some(known) = digests.get(at) {
        return Ok(known);
    }
    let meta = sys::lstat(&found.layer.real(at))?.ok_or_else(|| missing(at))?;
    let raw = read_node(&found.layer, at, &meta)?;
    if is_worth_keeping(&meta) {
        digests.add(vec![(at.into(), raw)]);
    }
    Ok(raw)
}

/// Whether reading the file again costs more than remembering its digest.
fn is_worth_keeping(meta: &Meta) -> bool {
    meta.is_file() && meta.size > 0
}

fn read_node(layer: &Layer, at: &[u8], meta: &Meta) -> Result<Raw> {
    let real = layer.real(at);
    let target = if meta.is_symlink() { sys::read_link(&real)? } else { Vec::new() };
    let xattrs = sys::xattrs(&real)?;
    let mut hasher = FileHasher::new(meta.file_type, meta.mode, meta.owner(), meta.size, &target, &xattrs);
    if is_worth_keeping(meta) {
        let mut file = open_file(layer, at)?;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let n = io::Read::read(&mut file, &mut buffer).map_err(|e| sys::fail("read", &real, e))?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
        }
    }
    Ok(hasher.finish())
}

/// A file that has yet to be read.
struct Unread {
    layer: Arc<Layer>,
    path: Vec<u8>,
    meta: Meta,
}

/// Reads the regular files among `paths` whose digests are not known, on all cores.
pub fn hash_files<'a>(view: &View, paths: impl Iterator<Item = &'a [u8]>) -> Result<()> {
    let mut unread = Vec::new();
    for path in paths {
        let Some(found) = view.find(path)?.filter(|found| found.file_type == FileType::File) else {
            continue;
        };
        if found.layer.digests().get(path).is_none()
            && let Some(meta) = sys::lstat(&found.layer.real(path))?.filter(is_worth_keeping)
        {
            unread.push(Unread { layer: found.layer, path: path.to_vec(), meta });
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut mine = Vec::new();
        while let Some(file) = unread.get(next.fetch_add(1, Ordering::Relaxed)) {
            mine.push((file, read_node(&file.layer, &file.path, &file.meta)));
        }
        mine
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(unread.len() / 4 + 1);
    let done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    let mut by_layer: HashMap<&LayerId, (&Layer, Vec<_>)> = HashMap::new();
    for (file, raw) in done {
        let (_, new) = by_layer.entry(&file.layer.id).or_insert((&file.layer, Vec::new()));
        new.push((file.path.as_slice().into(), raw?));
    }
    for (layer, new) in by_layer.into_values() {
        layer.digests().add(new);
    }
    Ok(())
}

/// The regular files below a directory, but for those of directories whose digest is known.
fn collect(view: &View, at: &[u8], files: &mut Vec<Vec<u8>>) -> Result<()> {
    if view.known_hash(at).is_some() {
        return Ok(());
    }
    let Some(dir) = view.dir(at)? else { return Ok(()) };
    for entry in dir.list() {
        match entry.file_type {
            FileType::Dir => collect(view, &path::join(at, &entry.name), files)?,
            FileType::File => files.push(path::join(at, &entry.name)),
            _ => {}
        }
    }
    Ok(())
}
