//! The files of a result, as they go to the client.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use errdefs::{Error, Result, ResultExt};
use jiff::Timestamp;
use progress::Step;
use session::files::{Stat, Tree, compare_paths};
use snapshot::{FileType, View};

use crate::Exportable;
use crate::attestation::of_files as statements;
use crate::attrs::{Attrs, parse_bool};
use crate::context::ExportContext;
use crate::epoch::Epoch;

/// One platform of a result.
#[derive(Clone)]
pub struct Part {
    pub platform: String,
    pub view: View,
    /// What all times become, in nanoseconds since 1970.
    pub mtime_ns: Option<i64>,
    /// What is said about them, by the names of files.
    pub statements: BTreeMap<Vec<u8>, Bytes>,
    /// When that was written.
    pub made_ns: i64,
}

/// How files are put in order.
#[derive(Debug, Clone, Default)]
pub struct FileOptions {
    pub epoch: Epoch,
    /// Each platform in a folder of its own; where nothing is said, when there are several.
    pub split: Option<bool>,
    /// Goes before the names of statements.
    pub attestation_prefix: String,
}

impl FileOptions {
    pub fn take(attrs: &mut Attrs) -> Result<Self> {
        let split = attrs.take("platform-split").map(|value| {
            parse_bool("platform-split", &value)
                .map_err(|_| Error::user(format!("non-bool value for platform-split: {value}")))
        });
        Ok(FileOptions {
            epoch: Epoch::take(attrs)?,
            split: split.transpose()?,
            attestation_prefix: attrs.take("attestation-prefix").unwrap_or_default(),
        })
    }

    pub fn is_split(&self, result: &Exportable) -> bool {
        self.split.unwrap_or(result.is_map())
    }
}

/// The parts of a result.
pub async fn parts(result: &Exportable, options: &FileOptions, cx: &ExportContext) -> Result<Vec<Part>> {
    let platforms = result.platforms()?;
    if !result.is_map() && platforms.len() > 1 {
        return Err(Error::user("unable to export multiple platforms without map"));
    }
    let mut parts = Vec::new();
    for platform in platforms {
        let view = match result.find(&platform.id)? {
            Some(reference) => reference.view().await?,
            None => View::empty(),
        };
        let mtime_ns = options.epoch.of(result, &platform)?;
        let mtime_ns = mtime_ns.map(|seconds| seconds.saturating_mul(1_000_000_000));
        let statements = statements(result, &platform, &view, options, cx).await?;
        let made_ns = Timestamp::now().as_second().saturating_mul(1_000_000_000);
        parts.push(Part { platform: platform.id, view, mtime_ns, statements, made_ns });
    }
    Ok(parts)
}

impl Part {
    /// Files as they are, with nothing said of them.
    pub fn plain(view: View) -> Self {
        Part { platform: String::new(), view, mtime_ns: None, statements: BTreeMap::new(), made_ns: 0 }
    }

    /// The folder of the platform, where platforms are kept apart.
    fn dir(&self) -> Vec<u8> {
        self.platform.replace('/', "_").into_bytes()
    }

    /// Lists all files in wire order, below `dir` where it is not empty.
    fn list(&self, dir: &[u8], each: &mut dyn FnMut(Stat) -> Result<()>) -> Result<()> {
        // Files that came by several names stand once, then as links to that.
        let mut names: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        let mut statements = self.statements.iter().peekable();
        for entry in self.view.walk(b"")? {
            let entry = entry?;
            if entry.path.is_empty() || self.is_hidden(&entry.path) {
                continue;
            }
            while let Some(next) = statements.next_if(|(name, _)| compare_paths(name, &entry.path).is_lt()) {
                each(self.statement(dir, next))?;
            }
            let meta = &entry.meta;
            let path = join(dir, &entry.path);
            let mut stat = Stat {
                path: path.clone(),
                mode: meta.st_mode(),
                uid: meta.uid,
                gid: meta.gid,
                size: if meta.is_file() { meta.size } else { 0 },
                mtime_ns: self.mtime_ns.unwrap_or_else(|| meta.mtime.as_nanos()),
                xattrs: self.view.xattrs(&entry.path)?,
                ..Stat::default()
            };
            match meta.file_type {
                FileType::Symlink => stat.linkname = self.view.read_link(&entry.path)?,
                FileType::Char | FileType::Block => (stat.dev_major, stat.dev_minor) = meta.rdev,
                FileType::File if meta.nlink > 1 => match names.entry((meta.dev, meta.ino)) {
                    Slot::Occupied(first) => {
                        stat.linkname.clone_from(first.get());
                        stat.size = 0;
                    }
                    Slot::Vacant(slot) => _ = slot.insert(path),
                },
                _ => {}
            }
            each(stat)?;
        }
        statements.try_for_each(|next| each(self.statement(dir, next)))
    }

    /// A statement stands in the place of what the result has by its name.
    fn is_hidden(&self, path: &[u8]) -> bool {
        let first = path.split(|&b| b == b'/').next().unwrap_or_default();
        self.statements.contains_key(first)
    }

    fn statement(&self, dir: &[u8], (name, bytes): (&Vec<u8>, &Bytes)) -> Stat {
        Stat {
            path: join(dir, name),
            mode: 0o100_600,
            size: bytes.len() as u64,
            mtime_ns: self.mtime_ns.unwrap_or(self.made_ns),
            ..Stat::default()
        }
    }

    fn open(&self, path: &[u8]) -> Result<Content> {
        let name = path.strip_prefix(b"/").unwrap_or(path);
        match self.statements.get(name) {
            Some(bytes) => Ok(Box::new(bytes.clone().reader())),
            None => Ok(Box::new(self.view.open(path)?)),
        }
    }

    fn root(&self) -> Stat {
        Stat { path: self.dir(), mode: 0o040_755, mtime_ns: self.mtime_ns.unwrap_or(0), ..Stat::default() }
    }
}

fn join(dir: &[u8], path: &[u8]) -> Vec<u8> {
    if dir.is_empty() { path.to_vec() } else { [dir, b"/", path].concat() }
}

/// The bytes of a file.
pub type Content = Box<dyn Read + Send>;

/// By path, the part that a file is of.
type Owners = HashMap<Vec<u8>, usize>;

/// Some parts as one tree.
pub enum Files {
    /// The files of one part as they are.
    Plain(Part),
    /// Each part in the folder of its platform.
    Split(Vec<Part>),
    /// All parts in one folder. A file that two of them have is an error.
    Merged { parts: Vec<Part>, owners: Mutex<Owners> },
}

impl Files {
    pub fn split(mut parts: Vec<Part>) -> Self {
        parts.sort_by_key(Part::dir);
        Files::Split(parts)
    }

    pub fn merged(mut parts: Vec<Part>) -> Self {
        match parts.len() {
            1 => Files::Plain(parts.remove(0)),
            _ => Files::Merged { parts, owners: Mutex::default() },
        }
    }

    /// Checks that no two parts have the same file.
    pub fn check(&self) -> Result<()> {
        match self {
            Files::Merged { .. } => self.each(&mut |_| Ok(())),
            Files::Plain(_) | Files::Split(_) => Ok(()),
        }
    }

    /// Gives all files in wire order, folders before what they hold.
    pub fn each(&self, each: &mut dyn FnMut(Stat) -> Result<()>) -> Result<()> {
        match self {
            Files::Plain(part) => part.list(b"", each),
            Files::Split(parts) => parts.iter().try_for_each(|part| {
                each(part.root())?;
                part.list(&part.dir(), each)
            }),
            Files::Merged { parts, owners } => {
                let (all, owned) = merge(parts)?;
                *owners.lock().unwrap_or_else(PoisonError::into_inner) = owned;
                all.into_iter().try_for_each(each)
            }
        }
    }

    /// Opens a regular file that was listed.
    pub fn open_file(&self, path: &[u8]) -> Result<Content> {
        match self {
            Files::Plain(part) => part.open(path),
            Files::Split(parts) => {
                let slash = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
                let part =
                    parts.iter().find(|part| part.dir() == path[..slash]).ok_or_else(|| missing(path))?;
                part.open(&path[slash..])
            }
            Files::Merged { parts, owners } => {
                let owner = owners.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
                parts[owner.ok_or_else(|| missing(path))?].open(path)
            }
        }
    }
}

fn missing(path: &[u8]) -> Error {
    Error::not_found(format!("`{}` not found", path.escape_ascii()))
}

/// The files of all parts, and whose each is.
fn merge(parts: &[Part]) -> Result<(Vec<Stat>, Owners)> {
    let mut all: Vec<Stat> = Vec::new();
    let mut owners = Owners::new();
    for (i, part) in parts.iter().enumerate() {
        part.list(b"", &mut |stat| {
            match owners.entry(stat.path.clone()) {
                Slot::Vacant(slot) => {
                    slot.insert(i);
                    all.push(stat);
                }
                Slot::Occupied(first) if !stat.is_dir() => {
                    return Err(Error::user(format!(
                        "cannot overwrite {} from {} with {} when split option is disabled",
                        stat.path.escape_ascii(),
                        parts[*first.get()].platform,
                        part.platform
                    )));
                }
                Slot::Occupied(_) => {}
            }
            Ok(())
        })?;
    }
    all.sort_by(|a, b| compare_paths(&a.path, &b.path));
    Ok((all, owners))
}

/// A tree that tells how many bytes were read of it.
pub struct Counted {
    pub files: Files,
    pub meter: Arc<Meter>,
}

impl Tree for Counted {
    fn list(&self, each: &mut dyn FnMut(Stat) -> Result<()>) -> Result<()> {
        self.files.each(each)
    }

    fn open(&self, path: &[u8]) -> Result<Box<dyn Read + Send>> {
        let file = self
            .files
            .open_file(path)
            .with_context(|| format!("failed to open `{}`", path.escape_ascii()))?;
        Ok(Box::new(CountedFile { file, meter: self.meter.clone() }))
    }
}

struct CountedFile {
    file: Content,
    meter: Arc<Meter>,
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.meter.add(n);
        Ok(n)
    }
}

/// Counts bytes for the client to see.
pub struct Meter {
    step: Step,
    label: String,
    started: Timestamp,
    bytes: AtomicI64,
    told: Mutex<std::time::Instant>,
}

impl Meter {
    const EVERY: std::time::Duration = std::time::Duration::from_millis(100);

    pub fn start(step: &Step, label: impl Into<String>) -> Arc<Self> {
        let (label, started) = (label.into(), Timestamp::now());
        step.transfer(&label, 0, started, false);
        let told = Mutex::new(std::time::Instant::now());
        Arc::new(Meter { step: step.clone(), label, started, bytes: AtomicI64::new(0), told })
    }

    fn add(&self, bytes: usize) {
        let now = self.bytes.fetch_add(bytes as i64, Ordering::Relaxed) + bytes as i64;
        // Who does not get the lock has nothing newer to tell.
        if let Ok(mut told) = self.told.try_lock()
            && told.elapsed() >= Self::EVERY
        {
            *told = std::time::Instant::now();
            self.step.transfer(&self.label, now, self.started, false);
        }
    }

    pub fn finish(&self) {
        self.step.transfer(&self.label, self.bytes.load(Ordering::Relaxed), self.started, true);
    }
}
