use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use errdefs::Result;
use oci::Digest;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::hash::{FileHasher, is_hashed};
use crate::layer::raw_digest;
use crate::meta::{Attrs, FileType};
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
}

/// The objects that are in somebody's hands though no tree links them yet.
type Pins = Mutex<HashMap<String, usize>>;

/// One immutable regular file. It stays in the store at least as long as this value.
#[derive(Debug)]
pub struct Object {
    pub(crate) key: String,
    pub(crate) raw: [u8; 32],
    path: PathBuf,
    pins: Arc<Pins>,
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
            }
        }
    }
}

impl Objects {
    pub(crate) fn new(dir: PathBuf, tmp: PathBuf) -> Self {
        Objects { dir, tmp, next: AtomicU64::new(0), pins: Arc::default() }
    }

    /// Takes in a file of `size` bytes, hashing it as it is written.
    pub fn create(self: &Arc<Self>, attrs: &Attrs, size: u64) -> Result<ObjectWriter> {
        let tmp = self.new_tmp();
        let file = create_file(&tmp)?;
        let hasher = FileHasher::file(attrs, size);
        Ok(ObjectWriter {
            objects: Arc::clone(self),
            attrs: attrs.clone(),
            size,
            written: 0,
            file,
            tmp: Tmp(Some(tmp)),
            hasher,
        })
    }

    /// The object of this digest and these attributes, if the store has it.
    pub fn find(&self, digest: &Digest, attrs: &Attrs) -> Result<Option<Object>> {
        let key = key(digest.hex(), attrs);
        let object = self.pin(key, raw_digest(digest));
        Ok(sys::lstat(&object.path)?.is_some_and(|meta| meta.is_file()).then_some(object))
    }

    /// Removes the objects that no tree links, and gives the number of bytes this freed.
    pub fn collect(&self) -> Result<u64> {
        let mut freed = 0;
        for (fan, _) in sys::read_dir(&self.dir)? {
            let dir = sys::below(&self.dir, &fan);
            for (name, _) in sys::read_dir(&dir)? {
                let path = sys::below(&dir, &name);
                let text = String::from_utf8_lossy(&name);
                let key = text.split('.').next().unwrap_or_default();
                // Under the lock, so that nobody takes it into their hands meanwhile.
                let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(meta) = sys::lstat(&path)?
                    && meta.nlink == 1
                    && !pins.contains_key(key)
                {
                    sys::remove_all(&path)?;
                    freed += meta.disk;
                }
            }
        }
        Ok(freed)
    }

    /// The copy number `slot` of an object, made if it is not there.
    pub(crate) fn slot(&self, object: &Object, slot: usize) -> Result<PathBuf> {
        if slot == 0 {
            return Ok(object.path.clone());
        }
        let mut path = object.path.clone().into_os_string();
        path.push(format!(".{slot}"));
        let path = PathBuf::from(path);
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
        Object { key, raw, path, pins: self.pins.clone() }
    }

    fn store(&self, tmp: &mut Tmp, raw: [u8; 32], attrs: &Attrs) -> Result<Object> {
        let object = self.pin(key(Digest::from_sha256(raw).hex(), attrs), raw);
        let Some(from) = &tmp.0 else { return Ok(object) };
        let renamed = match rename(from, &object.path, RenameFlags::NOREPLACE) {
            Err(e) if e.is_not_found() => {
                let fan = object.path.parent().expect("an object lies in a folder");
                match std::fs::create_dir(fan) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(sys::fail("make directory", fan, e));
                    }
                    _ => rename(from, &object.path, RenameFlags::NOREPLACE),
                }
            }
            other => other,
        }?;
        if renamed {
            tmp.0 = None;
        }
        Ok(object)
    }
}

/// Renames; `false` where the place was taken and is not to be replaced.
fn rename(from: &Path, to: &Path, flags: RenameFlags) -> Result<bool> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, flags) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(e) => Err(sys::fail("rename", from, e)),
    }
}

/// Digest and modification time, and those attributes that are not in the digest already.
fn key(hex: &str, attrs: &Attrs) -> String {
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

fn create_file(path: &Path) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
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
}

impl ObjectWriter {
    /// Puts the file into the store, or drops it where the store has its like.
    pub fn finish(mut self) -> Result<Object> {
        let raw = if self.written == self.size {
            self.hasher.finish()
        } else {
            // The file changed while it was sent: hash what is there.
            self.rehash()?
        };
        if let Some(path) = &self.tmp.0 {
            sys::set_attrs(path, FileType::File, &self.attrs)?;
        }
        self.objects.store(&mut self.tmp, raw, &self.attrs)
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
