//! Takes the files of a client into a tree, or finds that they are those of the last time.

use std::sync::{Arc, Mutex, PoisonError};

use errdefs::{Result, ResultExt};
use session::files::{FileSink, Kind, Stat, SyncReceiver};
use snapshot::{
    Attrs, FileType, HashOptions, Meta, Object, ObjectWriter, Owner, Store, Time, TreeBuilder, TreeWriter,
    View,
};

/// What came.
pub enum Received {
    /// All is as it was.
    Same,
    New {
        tree: TreeWriter,
        entries: u64,
    },
}

/// Builds the tree of a sync.
pub struct Receiver {
    store: Arc<Store>,
    /// What the last sync left, and how many entries it has.
    last: Option<(View, u64)>,
    entries: u64,
    state: State,
    /// Files whose contents came, from the threads that took them.
    done: Done,
}

/// Files by path.
type Done = Arc<Mutex<Vec<(Vec<u8>, Object)>>>;

enum State {
    /// No entry differs from the last sync so far; nothing is built.
    Same(Vec<Stat>),
    /// Something does.
    Building {
        builder: Box<TreeBuilder>,
        /// Path and target; made when all files are there.
        hardlinks: Vec<(Vec<u8>, Vec<u8>)>,
    },
}

impl Receiver {
    pub fn new(store: Arc<Store>, last: Option<(View, u64)>) -> Result<Self> {
        let state = match last {
            Some(_) => State::Same(Vec::new()),
            None => State::start(&store)?,
        };
        Ok(Receiver { store, last, entries: 0, state, done: Arc::default() })
    }

    /// Ends the work on the tree.
    pub fn finish(self) -> Result<Received> {
        match self.state {
            State::Same(_) => Ok(Received::Same),
            State::Building { builder, .. } => {
                Ok(Received::New { tree: builder.finish()?, entries: self.entries })
            }
        }
    }

    /// Whether the last sync had this entry just so. As for BuildKit, the time of a folder does not count: it says only
    /// that something came or went, which shows by itself.
    fn is_known(&self, stat: &Stat) -> Result<bool> {
        let Some((last, _)) = &self.last else { return Ok(false) };
        let path = stat.path.as_slice();
        let Some(meta) = last.lstat(path)? else { return Ok(false) };
        let attrs = attrs(stat);
        if meta.file_type != file_type(stat.kind()) || meta.mode != attrs.mode && !meta.is_symlink() {
            return Ok(false);
        }
        let same = match stat.kind() {
            Kind::Dir => true,
            Kind::Symlink => meta.mtime == attrs.mtime && last.read_link(path)? == stat.linkname,
            Kind::File if stat.is_hardlink() => is_one_file(last, &meta, &stat.linkname)?,
            Kind::File => meta.mtime == attrs.mtime && meta.size == stat.size,
            _ => meta.mtime == attrs.mtime && meta.rdev == (stat.dev_major, stat.dev_minor),
        };
        Ok(same && (stat.is_hardlink() || last.xattrs(path)? == attrs.xattrs))
    }

    /// Starts a tree with all entries that are as they were, unless one is being built.
    fn build(&mut self) -> Result<()> {
        let State::Same(seen) = &mut self.state else { return Ok(()) };
        let seen = std::mem::take(seen);
        self.state = State::start(&self.store)?;
        for stat in seen {
            let object = if stat.has_data() { Some(self.known_object(&stat)?) } else { None };
            self.place(stat, object)?;
        }
        Ok(())
    }

    /// The content of a file that the last sync has.
    fn known_object(&self, stat: &Stat) -> Result<Object> {
        let (last, _) = self.last.as_ref().expect("what is known is known from there");
        let attrs = attrs(stat);
        let digest = last.path_hash(&stat.path, &HashOptions::default())?;
        if let Some(object) = self.store.objects().find(&digest, &attrs)? {
            return Ok(object);
        }
        // Its object is gone, for the tree had a copy of its own.
        let mut writer = self.store.objects().create(&attrs, stat.size)?;
        std::io::copy(&mut last.open(&stat.path)?, &mut writer)
            .context("failed to copy a file of the context")?;
        writer.finish()
    }

    fn place(&mut self, stat: Stat, object: Option<Object>) -> Result<()> {
        let State::Building { builder, hardlinks } = &mut self.state else { return Ok(()) };
        let attrs = attrs(&stat);
        let path = stat.path.as_slice();
        match (stat.kind(), object) {
            (Kind::Dir, _) => builder.put_dir(path, &attrs),
            (Kind::Symlink, _) => builder.put_symlink(path, &stat.linkname, &attrs),
            (Kind::File, Some(object)) => builder.put_object(path, &object),
            (Kind::File, None) => {
                if stat.is_hardlink() {
                    hardlinks.push((stat.path, stat.linkname));
                }
                Ok(())
            }
            (kind, _) => builder.put_special(path, file_type(kind), (stat.dev_major, stat.dev_minor), &attrs),
        }
    }
}

impl State {
    fn start(store: &Arc<Store>) -> Result<Self> {
        let builder = Box::new(store.new_tree()?.builder(View::empty()));
        Ok(State::Building { builder, hardlinks: Vec::new() })
    }
}

impl SyncReceiver for Receiver {
    fn entry(&mut self, stat: Stat) -> Result<Option<Box<dyn FileSink>>> {
        self.entries += 1;
        // While a tree is built, only what may have to be sent is looked up.
        let known = (matches!(self.state, State::Same(_)) || stat.has_data()) && self.is_known(&stat)?;
        if let State::Same(seen) = &mut self.state {
            if known {
                seen.push(stat);
                return Ok(None);
            }
            self.build()?;
        }
        if !stat.has_data() {
            self.place(stat, None)?;
            return Ok(None);
        }
        if known {
            let object = self.known_object(&stat)?;
            self.place(stat, Some(object))?;
            return Ok(None);
        }
        let writer = self.store.objects().create(&attrs(&stat), stat.size)?;
        Ok(Some(Box::new(Sink { path: stat.path, writer, done: Arc::clone(&self.done) })))
    }

    fn listed(&mut self) -> Result<()> {
        // Fewer entries than the last time: something went.
        match &self.last {
            Some((_, entries)) if *entries != self.entries => self.build(),
            _ => Ok(()),
        }
    }

    fn complete(&mut self) -> Result<()> {
        let State::Building { builder, hardlinks } = &mut self.state else { return Ok(()) };
        for (path, object) in self.done.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            builder.put_object(&path, &object)?;
        }
        for (path, target) in hardlinks.drain(..) {
            builder.put_hardlink(&path, &target)?;
        }
        Ok(())
    }
}

/// Takes the contents of one file.
struct Sink {
    path: Vec<u8>,
    writer: ObjectWriter,
    done: Done,
}

impl FileSink for Sink {
    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        std::io::Write::write_all(&mut self.writer, chunk).context("failed to store a file of the context")
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let object = self.writer.finish()?;
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push((self.path, object));
        Ok(())
    }
}

/// All files of a client belong to root.
fn attrs(stat: &Stat) -> Attrs {
    Attrs {
        mode: stat.mode & 0o7777,
        owner: Owner::default(),
        mtime: Time::from_nanos(stat.mtime_ns),
        xattrs: stat.xattrs.clone(),
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::File,
        Kind::Dir => FileType::Dir,
        Kind::Symlink => FileType::Symlink,
        Kind::Char => FileType::Char,
        Kind::Block => FileType::Block,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
    }
}

fn is_one_file(last: &View, meta: &Meta, target: &[u8]) -> Result<bool> {
    Ok(last.lstat(target)?.is_some_and(|t| (t.dev, t.ino) == (meta.dev, meta.ino)))
}
