//! A folder as a target.

mod place;

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use errdefs::{Error, Result, ResultExt};
use rustix::fs::{CWD, Mode, OFlags};

use crate::files::{FileSink, Kind, Stat, SyncReceiver};
use crate::outputs::DirMode;
use place::{Place, Temporary};

/// Writes what comes into one folder. Files belong to whoever runs this, whatever their owner was.
pub(crate) struct DirWriter {
    root: Arc<OwnedFd>,
    mode: DirMode,
    /// Links can be made, and modes of folders set, when all contents are there.
    links: Vec<Stat>,
    dirs: Vec<Stat>,
    sent: HashSet<Vec<u8>>,
}

impl DirWriter {
    pub(crate) fn open(path: &Path, mode: DirMode) -> Result<Self> {
        let failed = || format!("failed to open `{}`", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(failed)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty());
        let root = Arc::new(root.map_err(std::io::Error::from).with_context(failed)?);
        Ok(DirWriter { root, mode, links: Vec::new(), dirs: Vec::new(), sent: HashSet::new() })
    }

    fn make(&mut self, stat: &Stat) -> std::io::Result<()> {
        let place = Place::open(&self.root, &stat.path)?;
        match stat.kind() {
            Kind::Dir => place.make_dir(),
            Kind::Symlink => place.replace(|temporary| place.make_symlink(stat, temporary)),
            Kind::Char | Kind::Block | Kind::Fifo => {
                place.replace(|temporary| place.make_node(stat, temporary))
            }
            Kind::File | Kind::Socket => Ok(()),
        }
    }
}

impl SyncReceiver for DirWriter {
    fn entry(&mut self, stat: Stat) -> Result<Option<Box<dyn FileSink>>> {
        if self.mode == DirMode::Mirror {
            self.sent.insert(stat.path.clone());
        }
        if stat.has_data() {
            return Ok(Some(Box::new(Sink { root: self.root.clone(), stat, open: None })));
        }
        if stat.is_hardlink() {
            self.links.push(stat);
            return Ok(None);
        }
        self.make(&stat).with_context(|| failed(&stat))?;
        if stat.is_dir() {
            self.dirs.push(stat);
        }
        Ok(None)
    }

    fn complete(&mut self) -> Result<()> {
        for stat in &self.links {
            let made = Place::open(&self.root, &stat.path).and_then(|place| {
                let first = Place::open(&self.root, &stat.linkname)?;
                place.replace(|temporary| first.link_to(&place, temporary))
            });
            made.with_context(|| failed(stat))?;
        }
        if self.mode == DirMode::Mirror {
            place::remove_others(&self.root, b"", &self.sent).context("failed to remove old files")?;
        }
        // From the inside out, for a folder's time changes with what is done in it.
        for stat in self.dirs.iter().rev() {
            Place::open(&self.root, &stat.path)
                .and_then(|place| place.set_metadata(stat))
                .with_context(|| failed(stat))?;
        }
        Ok(())
    }
}

fn failed(stat: &Stat) -> String {
    format!("failed to write `{}`", stat.path.escape_ascii())
}

/// One file. Nothing is open before its first bytes come, for thousands may have been asked for.
struct Sink {
    root: Arc<OwnedFd>,
    stat: Stat,
    open: Option<(Place, Temporary, File)>,
}

impl Sink {
    fn file(&mut self) -> std::io::Result<&mut File> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let place = Place::open(&self.root, &self.stat.path)?;
                let (temporary, file) = place.create()?;
                (place, temporary, file)
            }
        };
        Ok(&mut self.open.insert(open).2)
    }

    fn keep(&mut self) -> std::io::Result<()> {
        self.file()?;
        let Some((place, temporary, file)) = self.open.take() else { return Ok(()) };
        place::set_file_metadata(&file, &self.stat)?;
        place.put(temporary)
    }
}

impl FileSink for Sink {
    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        let written = self.file().and_then(|file| file.write_all(chunk));
        written.map_err(Error::from).map_err(|e| e.context(failed(&self.stat)))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.keep().map_err(Error::from).map_err(|e| e.context(failed(&self.stat)))
    }
}
