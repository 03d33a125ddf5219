use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use errdefs::Result;
use oci::Digest;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::builder::Spot;
use crate::hash::{FileHasher, is_hashed};
use crate::layer::raw_digest;
use crate::meta::{Attrs, Owner};
use crate::sys;

/// The regular files of a store: each content with each set of attributes is there once, under
/// `objects-v1/<two digits>/<digest>-<mtime>`.
///
/// Trees hold hard links to them, and the link count of the file system is the reference count: an object with one link
/// is garbage. Where one tree shows an object at more than one path, further copies carry a number after a dot.
#[derive(Debug)]
pub struct Objects {
    dir: PathBuf,
    tmp: PathBuf,
    next: AtomicU64,
    pins: Arc<Pins>,
    /// Bytes of the objects that came, less those that went, since the store was opened.
    change: AtomicI64,
    /// Whether there may be objects that no tree links.
    suspect: Arc<AtomicBool>,
    newborn: OnceLock<Newborn>,
}

/// What a new file is that is asked for with all permissions: mask and groups of folders decide that.
#[derive(Debug, Clone, Copy, Default)]
struct Newborn {
    owner: Option<Owner>,
    mode: u32,
}

impl Newborn {
    /// Whether a new file gets owner and mode without being given them.
    fn gets(self, attrs: &Attrs) -> bool {
        self.owner == Some(attrs.owner) && attrs.mode & !self.mode == 0
    }
}

/// What file systems give space in.
const BLOCK: u64 = 4096;

/// The objects that are in somebody's hands though no tree links them yet.
type Pins = Mutex<HashMap<String, usize>>;

/// One immutable regular file. It stays in the store at least as long as this value.
#[derive(Debug)]
pub struct Object {
    pub(crate) key: String,
    pub(crate) raw: [u8; 32],
    path: PathBuf,
    pins: Arc<Pins>,
    suspect: Arc<AtomicBool>,
}

/// What a look at all objects found, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    pub freed: u64,
    /// Those that no tree links yet, in somebody's hands.
    pub held: u64,
}

impl Object {
    /// BuildKit's digest of the file: its header, then its content.
    pub fn digest(&self) -> Digest {
        Digest::from_sha256(self.raw)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pins.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.key);
                self.suspect.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Objects {
    pub(crate) fn new(dir: PathBuf, tmp: PathBuf) -> Self {
        let (next, pins, change) = Default::default();
        // What an earlier run left is not known.
        Objects {
            dir,
            tmp,
            next,
            pins,
            change,
            suspect: Arc::new(AtomicBool::new(true)),
            newborn: OnceLock::new(),
        }
    }

    /// Takes in a file of `size` bytes, hashing it as it is written.
    pub fn create(self: &Arc<Self>, attrs: &Attrs, size: u64) -> Result<ObjectWriter> {
        self.create_at(self.new_tmp(), attrs, size)
    }

    /// As [`create`](Self::create), of a file that is written where a tree keeps a place for it, to stay there.
    pub fn create_in_place(self: &Arc<Self>, spot: &Spot, attrs: &Attrs, size: u64) -> Result<ObjectWriter> {
        self.create_at(spot.real.clone(), attrs, size)
    }

    fn create_at(self: &Arc<Self>, tmp: PathBuf, attrs: &Attrs, size: u64) -> Result<ObjectWriter> {
        let by_itself = self.newborn()?.gets(attrs);
        let file = create_file(&tmp, if by_itself { attrs.mode } else { 0o600 })?;
        let hasher = FileHasher::file(attrs, size);
        Ok(ObjectWriter {
            by_itself,
            objects: Arc::clone(self),
            attrs: attrs.clone(),
            size,
            written: 0,
            file,
            tmp: Tmp(Some(tmp)),
            hasher,
        })
    }

    /// What new files of this store are.
    fn newborn(&self) -> Result<Newborn> {
        if let Some(known) = self.newborn.get() {
            return Ok(*known);
        }
        let tmp = Tmp(Some(self.new_tmp()));
        let Some(path) = &tmp.0 else { return Ok(Newborn::default()) };
        create_file(path, 0o777)?;
        let meta = sys::lstat(path)?;
        let found =
            meta.map_or_else(Newborn::default, |meta| Newborn { owner: Some(meta.owner()), mode: meta.mode });
        Ok(*self.newborn.get_or_init(|| found))
    }

    /// The object of this digest, size and these attributes, if the store has it.
    pub fn find(&self, digest: &Digest, attrs: &Attrs, size: u64) -> Result<Option<Object>> {
        let key = key(digest.hex(), attrs);
        let object = self.pin(key, raw_digest(digest));
        // One of another size is damaged.
        let whole = sys::lstat(&object.path)?.is_some_and(|meta| meta.is_file() && meta.size == size);
        Ok(whole.then_some(object))
    }

    /// Removes the objects that no tree links. Nobody waits meanwhile: the lock is taken for each object anew.
    pub fn collect(&self) -> Result<Collected> {
        self.suspect.store(false, Ordering::Relaxed);
        let mut all = Collected::default();
        for (fan, _) in sys::read_dir(&self.dir)? {
            let dir = sys::below(&self.dir, &fan);
            for (name, _) in sys::read_dir(&dir)? {
                let text = String::from_utf8_lossy(&name);
                let key = text.split('.').next().unwrap_or_default();
                let path = sys::below(&dir, &name);
                let freed = self.remove_unlinked(key, &path)?;
                all.freed += freed;
                if freed == 0 {
                    all.held +=
                        sys::lstat(&path)?.map_or(0, |meta| if meta.nlink == 1 { meta.disk } else { 0 });
                }
            }
        }
        Ok(all)
    }

    /// Bytes of the objects that no tree links, and of the folders.
    pub fn loose_size(&self) -> Result<u64> {
        let mut total = sys::lstat(&self.dir)?.map_or(0, |meta| meta.disk);
        for (fan, _) in sys::read_dir(&self.dir)? {
            let dir = sys::below(&self.dir, &fan);
            total += sys::lstat(&dir)?.map_or(0, |meta| meta.disk);
            for (name, _) in sys::read_dir(&dir)? {
                let meta = sys::lstat(&sys::below(&dir, &name))?;
                total += meta.map_or(0, |meta| if meta.nlink == 1 { meta.disk } else { 0 });
            }
        }
        Ok(total)
    }

    /// Whether there may be objects that no tree links, and so a reason to [collect](Objects::collect).
    pub fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    pub(crate) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// Bytes of the objects that came, less those that went, since the store was opened.
    pub fn change(&self) -> i64 {
        self.change.load(Ordering::Relaxed)
    }

    /// Removes an object, known by what it is and by its inode, that lost its last link; gives the bytes freed.
    pub(crate) fn release(&self, raw: &[u8; 32], attrs: &Attrs, ino: u64) -> Result<u64> {
        let key = key(Digest::from_sha256(*raw).hex(), attrs);
        let first = self.dir.join(&key[..2]).join(&key);
        // The copies are numbered without gaps, but for those that were removed before.
        const GAP: usize = 8;
        let (mut slot, mut missing) = (0, 0);
        while missing < GAP {
            let path = copy_path(&first, slot);
            match sys::lstat(&path)? {
                Some(meta) if meta.ino == ino => {
                    let freed = self.remove_unlinked(&key, &path)?;
                    if freed == 0 {
                        self.suspect();
                    }
                    return Ok(freed);
                }
                Some(_) => missing = 0,
                None => missing += 1,
            }
            slot += 1;
        }
        self.suspect();
        Ok(0)
    }

    /// Lets go of an object that was taken in for a tree which did not come to be.
    pub fn give_up(&self, object: Object) -> Result<u64> {
        let (key, path) = (object.key.clone(), object.path.clone());
        drop(object);
        self.remove_unlinked(&key, &path)
    }

    /// Removes an object unless a tree links it or somebody has it in hand; gives the bytes freed.
    fn remove_unlinked(&self, key: &str, path: &Path) -> Result<u64> {
        // Under the lock, so that nobody takes it into their hands meanwhile.
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        match sys::lstat(path)? {
            Some(meta) if meta.nlink == 1 && !pins.contains_key(key) => {
                sys::remove_all(path)?;
                drop(pins);
                self.count(meta.disk, -1);
                Ok(meta.disk)
            }
            _ => Ok(0),
        }
    }

    fn count(&self, bytes: u64, sign: i64) {
        self.change.fetch_add(sign * i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The copy number `slot` of an object, made if it is not there.
    pub(crate) fn slot(&self, object: &Object, slot: usize) -> Result<PathBuf> {
        if slot == 0 {
            return Ok(object.path.clone());
        }
        let path = copy_path(&object.path, slot);
        if sys::lstat(&path)?.is_none() {
            self.replace(&object.path, &path, RenameFlags::NOREPLACE)?;
        }
        Ok(path)
    }

    /// Puts a fresh copy in the place of an object whose inode can take no more links.
    pub(crate) fn renew(&self, path: &Path) -> Result<()> {
        self.replace(path, path, RenameFlags::empty())
    }

    fn replace(&self, from: &Path, to: &Path, flags: RenameFlags) -> Result<()> {
        let tmp = self.new_tmp();
        let mut guard = Tmp(Some(tmp.clone()));
        sys::clone_file(from, &tmp)?;
        sys::copy_attrs(from, &tmp)?;
        if rename(&tmp, to, flags)? {
            guard.0 = None;
            self.count(sys::lstat(to)?.map_or(0, |meta| meta.disk), 1);
        }
        Ok(())
    }

    fn new_tmp(&self) -> PathBuf {
        self.tmp.join(format!("object-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Names an object and keeps it from collection.
    fn pin(&self, key: String, raw: [u8; 32]) -> Object {
        *self.pins.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default() += 1;
        let path = self.dir.join(&key[..2]).join(&key);
        Object { key, raw, path, pins: self.pins.clone(), suspect: self.suspect.clone() }
    }

    fn store(&self, tmp: &mut Tmp, raw: [u8; 32], attrs: &Attrs, size: u64) -> Result<Object> {
        let object = self.pin(key(Digest::from_sha256(raw).hex(), attrs), raw);
        let Some(from) = &tmp.0 else { return Ok(object) };
        let renamed = in_fan(&object.path, || rename(from, &object.path, RenameFlags::NOREPLACE))?;
        // What is in the place already serves, unless it shows by its size that it is damaged.
        let is_damaged = !renamed && sys::lstat(&object.path)?.is_none_or(|meta| meta.size != size);
        if renamed || (is_damaged && rename(from, &object.path, RenameFlags::empty())?) {
            tmp.0 = None;
            // As good as what the file system would say, and it need not be asked.
            self.count(size.next_multiple_of(BLOCK), 1);
        }
        Ok(object)
    }
}

/// Does what puts an object into its folder, which may have to be made.
fn in_fan(object: &Path, put: impl Fn() -> Result<bool>) -> Result<bool> {
    match put() {
        Err(e) if e.is_not_found() => {
            let fan = object.parent().expect("an object lies in a folder");
            match std::fs::create_dir(fan) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    Err(sys::fail("make directory", fan, e))
                }
                _ => put(),
            }
        }
        other => other,
    }
}

/// Where copy number `slot` of an object lies.
fn copy_path(object: &Path, slot: usize) -> PathBuf {
    if slot == 0 {
        return object.to_owned();
    }
    let mut path = object.as_os_str().to_owned();
    path.push(format!(".{slot}"));
    PathBuf::from(path)
}

/// Renames; `false` where the place was taken and is not to be replaced.
fn rename(from: &Path, to: &Path, flags: RenameFlags) -> Result<bool> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, flags) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(e) => Err(sys::fail("rename", from, e)),
    }
}

/// Links; `false` where the place was taken.
fn link(from: &Path, to: &Path) -> Result<bool> {
    match rustix::fs::link(from, to) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(e) => Err(sys::fail("link", from, e)),
    }
}

/// The name of an object: digest and modification time, and those attributes that are not in the digest already.
pub(crate) fn key(hex: &str, attrs: &Attrs) -> String {
    let mut key = format!("{hex}-{:x}-{:x}", attrs.mtime.secs, attrs.mtime.nanos);
    let mut rest = Vec::new();
    for (name, value) in attrs.xattrs.iter().filter(|(name, _)| !is_hashed(name)) {
        rest.extend_from_slice(&(name.len() as u64).to_le_bytes());
        rest.extend_from_slice(name);
        rest.extend_from_slice(&(value.len() as u64).to_le_bytes());
        rest.extend_from_slice(value);
    }
    if !rest.is_empty() {
        key.push('-');
        key.push_str(&Digest::of(rest).hex()[..16]);
    }
    key
}

fn create_file(path: &Path, mode: u32) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(mode))
        .map(File::from)
        .map_err(|e| sys::fail("create", path, e))
}

/// A file that is removed unless it found its place.
#[derive(Debug)]
struct Tmp(Option<PathBuf>);

impl Drop for Tmp {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What stays behind is swept at the next start.
            let _ = rustix::fs::unlink(path);
        }
    }
}

/// Writes an object. It is in the store after [`ObjectWriter::finish`]; dropped before, it leaves nothing.
#[must_use]
pub struct ObjectWriter {
    objects: Arc<Objects>,
    attrs: Attrs,
    size: u64,
    written: u64,
    file: File,
    tmp: Tmp,
    hasher: FileHasher,
    /// Owner and mode are there from the start.
    by_itself: bool,
}

impl ObjectWriter {
    /// Puts the file into the store, or drops it where the store has its like.
    pub fn finish(mut self) -> Result<Object> {
        let raw = self.complete()?;
        self.objects.store(&mut self.tmp, raw, &self.attrs, self.written)
    }

    /// Takes a file that was [written in place](Objects::create_in_place) into the store.
    pub fn finish_in_place(mut self) -> Result<Placed> {
        let raw = self.complete()?;
        let object = self.objects.pin(key(Digest::from_sha256(raw).hex(), &self.attrs), raw);
        let Some(place) = &self.tmp.0 else { return Ok(Placed { object, ino: None }) };
        if !in_fan(&object.path, || link(place, &object.path))? {
            let object = self.objects.store(&mut self.tmp, raw, &self.attrs, self.written)?;
            return Ok(Placed { object, ino: None });
        }
        let stat = rustix::fs::fstat(&self.file).map_err(|e| sys::fail("stat", place, e))?;
        self.tmp.0 = None;
        self.objects.count(self.written.next_multiple_of(BLOCK), 1);
        Ok(Placed { object, ino: Some(stat.st_ino) })
    }

    /// Gives the file its attributes; its digest.
    fn complete(&mut self) -> Result<[u8; 32]> {
        let raw = if self.written == self.size {
            std::mem::replace(&mut self.hasher, FileHasher::file(&self.attrs, 0)).finish()
        } else {
            // The file changed while it was sent: hash what is there.
            self.rehash()?
        };
        if let Some(path) = &self.tmp.0 {
            if self.by_itself {
                sys::set_file_rest(&self.file, path, &self.attrs)?;
            } else {
                sys::set_file_attrs(&self.file, path, &self.attrs)?;
            }
        }
        Ok(raw)
    }

    fn rehash(&self) -> Result<[u8; 32]> {
        let mut hasher = FileHasher::file(&self.attrs, self.written);
        if let Some(path) = &self.tmp.0 {
            let mut file = File::open(path).map_err(|e| sys::fail("open", path, e))?;
            io::copy(&mut file, &mut hasher)?;
        }
        Ok(hasher.finish())
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that was written in its place.
#[derive(Debug)]
pub struct Placed {
    pub object: Object,
    /// The inode in the place. None where the store has the object already: then nothing is in the place.
    pub(crate) ino: Option<u64>,
}
