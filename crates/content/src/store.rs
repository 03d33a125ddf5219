use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use errdefs::{Error, Result, ResultExt};
use oci::Digest;
use redb::Database;

use crate::lease::Held;
use crate::table::Table;
use crate::{Ingest, Lease, Verified};

/// Blobs by digest. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    /// Where damaged blobs are put.
    damaged: PathBuf,
    table: Table,
    /// Names of files in `ingest/`.
    next: AtomicU64,
    held: Held,
    /// Committed and not yet known to be durable.
    pending: Mutex<Vec<Digest>>,
    /// The boot of the machine, while the last one that the store has noted is another.
    new_boot: Mutex<Option<String>>,
}

/// What a collection took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    pub blobs: u64,
    pub bytes: u64,
}

impl Store {
    /// Opens the store in `root`, or makes one. One process has it open at a time; the caller holds the lock.
    pub fn open(root: &Path, db: Arc<Database>) -> Result<Self> {
        let dir = root.join("content-v1");
        let ingest = dir.join("ingest");
        let clear = || {
            std::fs::create_dir_all(&ingest)?;
            std::fs::read_dir(&ingest)?.try_for_each(|entry| std::fs::remove_file(entry?.path()))
        };
        clear().with_context(|| format!("failed to open `{}`", dir.display()))?;
        let inner = Inner {
            dir,
            damaged: root.join("damaged"),
            table: Table::open(db)?,
            next: AtomicU64::new(0),
            held: Held::default(),
            pending: Mutex::default(),
            new_boot: Mutex::default(),
        };
        let store = Store(Arc::new(inner));
        store.recover()?;
        Ok(store)
    }

    /// Blobs that were not flushed are whole as long as the machine has not gone down since.
    fn recover(&self) -> Result<()> {
        let mut there = HashSet::new();
        self.walk(|digest, _| {
            there.insert(digest);
            Ok(())
        })?;
        let loose = self.0.table.retain_durable(there)?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        if self.0.table.boot()?.as_deref() == Some(&boot) && !boot.is_empty() {
            *self.pending() = loose;
            return Ok(());
        }
        for digest in &loose {
            std::fs::remove_file(self.path(digest))
                .with_context(|| format!("failed to drop blob `{digest}`"))?;
        }
        *self.0.new_boot.lock().unwrap_or_else(PoisonError::into_inner) = Some(boot);
        Ok(())
    }

    /// Whether the machine went down since the store was last open, as far as [`Store::recovered`] was told. What was
    /// not durable then is not to be trusted.
    pub fn machine_restarted(&self) -> bool {
        self.0.new_boot.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Says that everything that lies beside the blobs is fit for use too.
    pub fn recovered(&self) -> Result<()> {
        match self.0.new_boot.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(boot) => self.0.table.set_boot(&boot),
            None => Ok(()),
        }
    }

    /// Starts a blob. With `expected`, the commit fails unless digest and size come out so.
    pub fn ingest(&self, expected: Option<(Digest, u64)>) -> Result<Ingest> {
        Ingest::new(self, expected, None)
    }

    /// A lease that holds nothing yet.
    pub fn lease(&self) -> Lease {
        Lease::new(self)
    }

    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Bytes. A blob that is not there is an error.
    pub fn size(&self, digest: &Digest) -> Result<u64> {
        let metadata = std::fs::metadata(self.path(digest)).map_err(|e| failed(digest, e))?;
        Ok(metadata.len())
    }

    /// Bytes that a blob takes on disk; `None` where it is not there.
    pub fn disk_size(&self, digest: &Digest) -> Option<u64> {
        std::fs::metadata(self.path(digest)).ok().map(|metadata| disk(&metadata))
    }

    /// Bytes on disk of all but the blobs: folders, and files that are being written.
    pub fn folders_size(&self) -> Result<u64> {
        let mut total = 0;
        let mut todo = vec![(self.0.dir.clone(), 0)];
        while let Some((dir, depth)) = todo.pop() {
            let is_ingest = dir.ends_with("ingest");
            let Ok(metadata) = std::fs::symlink_metadata(&dir) else { continue };
            total += disk(&metadata);
            for entry in list(&dir)? {
                match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => todo.push((entry.path(), depth + 1)),
                    // Blobs lie two folders down.
                    Ok(metadata) if is_ingest || depth < 2 => total += disk(&metadata),
                    _ => {}
                }
            }
        }
        Ok(total)
    }

    /// The file of a blob. It can be read to its end though the blob be removed meanwhile.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        File::open(self.path(digest)).map_err(|e| failed(digest, e))
    }

    /// As [`Store::open_blob`], with the bytes checked against the digest. A blob that turns out to be damaged is taken
    /// out of the store. One that was just written is read from memory, as it was hashed, and not hashed again.
    pub fn open_verified(&self, digest: &Digest) -> Result<Verified> {
        let file = self.open_blob(digest)?;
        match self.pending().contains(digest) {
            true => Ok(Verified::in_memory(file, digest)),
            false => Ok(Verified::new(file, digest, Some(self.clone()))),
        }
    }

    /// As [`Store::open_verified`], but nothing is done about damage.
    pub(crate) fn open_plain(&self, digest: &Digest) -> Result<Verified> {
        Ok(Verified::new(self.open_blob(digest)?, digest, None))
    }

    /// The bytes of a blob, checked. For manifests and configs: all of it is held in memory.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_verified(digest)?.read_to_end(&mut bytes).map_err(|e| failed(digest, e))?;
        Ok(bytes)
    }

    /// Stores bytes at hand.
    pub fn write(&self, bytes: &[u8]) -> Result<Digest> {
        let mut ingest = self.ingest(None)?;
        io::Write::write_all(&mut ingest, bytes).context("failed to store a blob")?;
        ingest.commit()
    }

    /// Removes a blob, unless a lease holds it. `true` where it is gone.
    pub fn remove(&self, digest: &Digest) -> Result<bool> {
        let removed = self.unlink(digest)?.is_some();
        if removed {
            self.0.table.forget(std::slice::from_ref(digest))?;
        }
        Ok(removed || !self.contains(digest))
    }

    /// Visits all blobs with their sizes, in no order.
    pub fn walk(&self, mut visit: impl FnMut(Digest, u64) -> Result<()>) -> Result<()> {
        for algorithm in ["sha256", "sha384", "sha512"] {
            for start in list(&self.0.dir.join(algorithm))? {
                for blob in list(&start.path())? {
                    let (start, rest) = (start.file_name(), blob.file_name());
                    let text = format!("{algorithm}:{}{}", start.to_string_lossy(), rest.to_string_lossy());
                    // Foreign files are not ours to judge.
                    if let Ok(digest) = text.parse() {
                        visit(digest, blob.metadata().context("failed to list blobs")?.len())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes what is neither a root nor held by a lease, if it has been there for `age`. `roots` is asked after the blobs were listed, so a blob that
    /// comes later stays; one that comes earlier needs a lease until it is a root.
    pub fn gc(&self, age: Duration, roots: impl FnOnce() -> Result<HashSet<Digest>>) -> Result<Collected> {
        let mut there = Vec::new();
        self.walk(|digest, _| {
            there.push(digest);
            Ok(())
        })?;
        let roots = roots()?;
        let is_old = |digest: &Digest| {
            let modified = std::fs::metadata(self.path(digest)).and_then(|m| m.modified());
            age.is_zero() || modified.is_ok_and(|t| t.elapsed().is_ok_and(|is| is >= age))
        };
        let mut collected = Collected::default();
        let mut gone = Vec::new();
        for digest in there.into_iter().filter(|digest| !roots.contains(digest) && is_old(digest)) {
            if let Some(size) = self.unlink(&digest)? {
                collected.blobs += 1;
                collected.bytes += size;
                gone.push(digest);
            }
        }
        if !gone.is_empty() {
            self.0.table.forget(&gone)?;
        }
        Ok(collected)
    }

    pub fn labels(&self, digest: &Digest) -> Result<std::collections::BTreeMap<String, String>> {
        self.0.table.labels(digest)
    }

    /// Sets labels of a blob, and removes those without a value.
    pub fn set_labels(&self, digest: &Digest, labels: &[(&str, Option<&str>)]) -> Result<()> {
        self.0.table.set_labels(digest, labels)
    }

    /// Makes all blobs that were committed before the call durable: one `syncfs`, however many there are.
    pub fn flush(&self) -> Result<()> {
        let batch = std::mem::take(&mut *self.pending());
        if batch.is_empty() {
            return Ok(());
        }
        let sync = || -> Result<()> {
            rustix::fs::syncfs(File::open(&self.0.dir)?).map_err(io::Error::from)?;
            // One that was removed meanwhile is not to be vouched for when it comes again.
            let held = self.lock_held();
            let there: Vec<_> = batch.iter().filter(|digest| self.contains(digest)).cloned().collect();
            let done = self.0.table.set_durable(&there);
            drop(held);
            done
        };
        sync().inspect_err(|_| self.pending().extend(batch.iter().cloned())).context("failed to flush blobs")
    }

    pub(crate) fn held(&self) -> &Held {
        &self.0.held
    }

    pub(crate) fn create_ingest(&self) -> Result<(File, PathBuf)> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.0.dir.join("ingest").join(self.0.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::options().write(true).create_new(true).mode(0o444).open(&path);
        Ok((file.with_context(|| format!("failed to create `{}`", path.display()))?, path))
    }

    /// Moves a finished file into its place.
    pub(crate) fn put(&self, from: &Path, digest: &Digest, size: u64) -> Result<()> {
        let to = self.path(digest);
        let held = self.lock_held();
        if std::fs::metadata(&to).is_ok_and(|there| there.len() == size) {
            drop(held);
            return Ok(std::fs::remove_file(from)?);
        }
        std::fs::create_dir_all(to.parent().expect("a blob lies in a directory"))?;
        std::fs::rename(from, &to)?;
        drop(held);
        self.pending().push(digest.clone());
        Ok(())
    }

    /// Takes a blob off the disk unless it is held, and gives its size. No lease can begin to hold it meanwhile.
    fn unlink(&self, digest: &Digest) -> Result<Option<u64>> {
        let held = self.lock_held();
        if held.contains_key(digest) {
            return Ok(None);
        }
        let path = self.path(digest);
        let Ok(metadata) = std::fs::metadata(&path) else { return Ok(None) };
        std::fs::remove_file(&path).with_context(|| format!("failed to remove blob `{digest}`"))?;
        Ok(Some(metadata.len()))
    }

    pub(crate) fn damaged_dir(&self) -> &Path {
        &self.0.damaged
    }

    pub(crate) fn forget(&self, digest: &Digest) -> Result<()> {
        self.0.table.forget(std::slice::from_ref(digest))
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let (start, rest) = digest.hex().split_at(2);
        self.0.dir.join(digest.algorithm()).join(start).join(rest)
    }

    fn pending(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_held(&self) -> MutexGuard<'_, std::collections::HashMap<Digest, usize>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn disk(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

fn list(dir: &Path) -> Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(dir) {
        Ok(entries) => entries.collect::<io::Result<_>>().context("failed to list blobs"),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(e) => Err(Error::from(e).context("failed to list blobs")),
    }
}

fn failed(digest: &Digest, e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("content digest {digest}: not found")),
        _ => Error::from(e).context(format!("failed to read blob `{digest}`")),
    }
}
