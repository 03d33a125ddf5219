//! Takes the files of a client into a tree, or finds that they are those of the last time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::listing::{Beside, Listing, Was};
use errdefs::{Result, ResultExt};
use session::files::{FileSink, Kind, Stat, SyncReceiver};
use snapshot::{
    Attrs, FileType, HashOptions, Meta, Object, ObjectWriter, Owner, Placed, Spot, Store, Time, TreeBuilder,
    TreeWriter, View,
};

/// After this many entries, the files that came meanwhile are put into the tree.
const PLACE_EVERY: u64 = 256;

/// What came.
pub enum Received {
    /// All is as it was.
    Same(Listing),
    New {
        tree: TreeWriter,
        entries: u64,
        /// The tree holds what changed, and lies on that of the last sync.
        stacked: bool,
        listing: Listing,
    },
}

/// What the last sync left.
pub struct Last {
    pub view: View,
    /// How many entries it has.
    pub entries: u64,
    /// The entries, where they are remembered.
    pub listing: Option<Arc<Listing>>,
    /// A tree of changes may be put on it.
    pub may_stack: bool,
}

/// Builds the tree of a sync.
pub struct Receiver {
    store: Arc<Store>,
    last: Option<(View, Memory)>,
    /// All is sent, whatever the last sync has.
    resent: Option<Resent>,
    may_stack: bool,
    entries: u64,
    listing: Listing,
    state: State,
    /// What came, from the threads that took it. Behind the tree: its end leaves the files to nobody.
    arrived: Arc<Arrived>,
}

/// How entries of the last sync are known again.
enum Memory {
    Listing(Beside),
    /// The store is asked; the number of entries tells whether some are gone.
    Store {
        entries: u64,
    },
}

/// What is sent again only to be looked at: mostly it is what the last sync has.
struct Resent {
    view: View,
    beside: Beside,
    /// No entry differs so far.
    same: bool,
}

impl Resent {
    /// Whether all that came is as it was, byte by byte.
    fn is_same(&self, arrived: &Arrived) -> bool {
        let as_it_was = |(path, object): &(Vec<u8>, Object)| {
            self.view.path_hash(path, &HashOptions::default()).is_ok_and(|was| was == object.digest())
        };
        self.same && arrived.files().placed.iter().all(as_it_was)
    }
}

/// Files whose contents came, by path. What no tree came to hold goes with them.
struct Arrived {
    store: Arc<Store>,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    new: Vec<(Vec<u8>, Object)>,
    /// Those that were written where the tree shows them.
    in_place: Vec<(Spot, Placed)>,
    /// Those of them that the store had already. They are put when all others are there.
    again: Vec<(Vec<u8>, Object)>,
    /// The tree holds them. They are kept in hand until it is whole.
    placed: Vec<(Vec<u8>, Object)>,
}

impl Arrived {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let Files { new, in_place, again, placed } = std::mem::take(&mut *self.files());
        let in_place = in_place.into_iter().map(|(spot, file)| (spot.into_path(), file.object));
        for (_, object) in new.into_iter().chain(in_place).chain(again).chain(placed) {
            if let Err(e) = self.store.objects().give_up(object) {
                tracing::warn!("a file of a context that did not come whole stays until the next prune: {e}");
            }
        }
    }
}

enum State {
    /// No entry differs from the last sync so far; nothing is built.
    Same {
        seen: Vec<Stat>,
        /// Folders of which only the time differs.
        retimed: Vec<Stat>,
    },
    /// Something does.
    Building {
        builder: Box<TreeBuilder>,
        /// Path and target; made when all files are there.
        hardlinks: Vec<(Vec<u8>, Vec<u8>)>,
        stacked: bool,
    },
}

impl Receiver {
    /// Where `compare` is false, all files are to be sent, as they may differ where their times do not.
    pub fn new(store: Arc<Store>, last: Option<Last>, compare: bool) -> Result<Self> {
        let (mut may_stack, mut memory, mut resent) = (false, None, None);
        if let Some(last) = last {
            let beside = last.listing.and_then(Beside::new);
            if compare {
                may_stack = last.may_stack && beside.is_some();
                let remembered = beside.map_or(Memory::Store { entries: last.entries }, Memory::Listing);
                memory = Some((last.view, remembered));
            } else {
                resent = beside.map(|beside| Resent { view: last.view, beside, same: true });
            }
        }
        let state = match memory {
            Some(_) => State::Same { seen: Vec::new(), retimed: Vec::new() },
            None => State::start(&store, None)?,
        };
        let (entries, listing) = Default::default();
        let arrived = Arc::new(Arrived { store: Arc::clone(&store), files: Mutex::default() });
        Ok(Receiver { store, last: memory, resent, may_stack, entries, listing, state, arrived })
    }

    /// Ends the work on the tree.
    pub fn finish(self) -> Result<Received> {
        let Receiver { state, entries, listing, arrived, resent, .. } = self;
        match state {
            State::Building { .. } if resent.is_some_and(|resent| resent.is_same(&arrived)) => {
                // Its tree goes before its files.
                drop(state);
                Ok(Received::Same(listing))
            }
            State::Same { .. } => Ok(Received::Same(listing)),
            State::Building { mut builder, stacked, .. } => {
                if stacked {
                    builder.keep_dir_times()?;
                }
                let tree = builder.finish()?;
                *arrived.files() = Files::default();
                Ok(Received::New { tree, entries, stacked, listing })
            }
        }
    }

    /// What the entry was at the last sync.
    fn was(&mut self, stat: &Stat) -> Result<Was> {
        let mut gone = Vec::new();
        let was = match &mut self.last {
            Some((_, Memory::Listing(beside))) => beside.next(stat, &mut |path| gone.push(path.to_vec())),
            // While a tree is built anew, only what may have to be sent is looked up.
            _ if matches!(self.state, State::Same { .. }) || stat.has_data() => {
                if self.is_known(stat)? {
                    Was::Same { same_time: true }
                } else {
                    Was::Other
                }
            }
            _ => Was::Other,
        };
        self.remove(&gone)?;
        Ok(was)
    }

    /// Puts files that came into the tree.
    fn place_arrived(&mut self) -> Result<()> {
        let State::Building { builder, .. } = &mut self.state else { return Ok(()) };
        let (new, in_place) = {
            let mut files = self.arrived.files();
            (std::mem::take(&mut files.new), std::mem::take(&mut files.in_place))
        };
        let placed = new.iter().try_for_each(|(path, object)| builder.put_object(path, object));
        let mut files = self.arrived.files();
        files.placed.extend(new);
        for (spot, file) in in_place {
            let is_there = builder.put_placed(&spot, &file);
            let of = if is_there { &mut files.placed } else { &mut files.again };
            of.push((spot.into_path(), file.object));
        }
        placed
    }

    /// Takes out what is gone.
    fn remove(&mut self, gone: &[Vec<u8>]) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        self.build()?;
        if let State::Building { builder, stacked: true, .. } = &mut self.state {
            gone.iter().try_for_each(|path| builder.remove_if_there(path))?;
        }
        Ok(())
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
        let State::Same { seen, retimed } = &mut self.state else { return Ok(()) };
        let (seen, retimed) = (std::mem::take(seen), std::mem::take(retimed));
        let on = self.last.as_ref().filter(|_| self.may_stack).map(|(view, _)| view.clone());
        let stacked = on.is_some();
        self.state = State::start(&self.store, on)?;
        if stacked {
            return retimed.into_iter().try_for_each(|stat| self.place(stat, None));
        }
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
        if let Some(object) = self.store.objects().find(&digest, &attrs, stat.size)? {
            return Ok(object);
        }
        // Its object is gone, for the tree had a copy of its own.
        let mut writer = self.store.objects().create(&attrs, stat.size)?;
        std::io::copy(&mut last.open(&stat.path)?, &mut writer)
            .context("failed to copy a file of the context")?;
        writer.finish()
    }

    /// Puts a file that is no entry of the listing into the tree. To be called when the listing is complete.
    pub fn put_beside(&mut self, path: &[u8], bytes: &[u8]) -> Result<()> {
        let same = match &self.last {
            Some((last, _)) => holds(last, path, bytes)?,
            None => false,
        };
        if same && !matches!(self.state, State::Building { stacked: false, .. }) {
            return Ok(());
        }
        self.build()?;
        let attrs = Attrs { mode: 0o644, ..Attrs::default() };
        let mut writer = self.store.objects().create(&attrs, bytes.len() as u64)?;
        std::io::Write::write_all(&mut writer, bytes).context("failed to store a file of the context")?;
        self.arrived.files().new.push((path.to_vec(), writer.finish()?));
        Ok(())
    }

    fn place(&mut self, stat: Stat, object: Option<Object>) -> Result<()> {
        let State::Building { builder, hardlinks, .. } = &mut self.state else { return Ok(()) };
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
    /// A new tree, on the one of the last sync where it is to hold only what changed.
    fn start(store: &Arc<Store>, on: Option<View>) -> Result<Self> {
        let stacked = on.is_some();
        let builder = Box::new(store.new_tree()?.builder(on.unwrap_or_else(View::empty)));
        Ok(State::Building { builder, hardlinks: Vec::new(), stacked })
    }
}

impl SyncReceiver for Receiver {
    fn entry(&mut self, stat: Stat) -> Result<Option<Box<dyn FileSink>>> {
        self.entries += 1;
        if self.entries.is_multiple_of(PLACE_EVERY) {
            self.place_arrived()?;
        }
        self.listing.push(stat.clone());
        if let Some(Resent { beside, same, .. }) = &mut self.resent {
            let was = beside.next(&stat, &mut |_| *same = false);
            *same &= was == Was::Same { same_time: true };
        }
        let was = self.was(&stat)?;
        if was == Was::Other {
            self.build()?;
        }
        match (&mut self.state, was) {
            (State::Same { seen, retimed }, Was::Same { same_time }) => {
                if !same_time {
                    retimed.push(stat.clone());
                }
                if !self.may_stack {
                    seen.push(stat);
                }
                return Ok(None);
            }
            (State::Building { stacked: true, .. }, Was::Same { same_time: true }) => return Ok(None),
            _ => {}
        }
        if !stat.has_data() {
            self.place(stat, None)?;
            return Ok(None);
        }
        if was != Was::Other {
            let object = self.known_object(&stat)?;
            self.place(stat, Some(object))?;
            return Ok(None);
        }
        let spot = match &mut self.state {
            // After a last sync, the tree might have got the same object from there meanwhile.
            State::Building { builder, .. } if self.last.is_none() => Some(builder.keep_place(&stat.path)?),
            _ => None,
        };
        Ok(Some(Box::new(Sink { stat, spot, writer: None, arrived: Arc::clone(&self.arrived) })))
    }

    fn listed(&mut self) -> Result<()> {
        let mut gone = Vec::new();
        if let Some(Resent { beside, same, .. }) = &mut self.resent {
            beside.end(&mut |_| *same = false);
        }
        match &mut self.last {
            Some((_, Memory::Listing(beside))) => beside.end(&mut |path| gone.push(path.to_vec())),
            // Fewer entries than the last time: something went.
            Some((_, Memory::Store { entries })) if *entries != self.entries => return self.build(),
            _ => {}
        }
        self.remove(&gone)
    }

    fn complete(&mut self) -> Result<()> {
        self.place_arrived()?;
        {
            let mut files = self.arrived.files();
            let again = std::mem::take(&mut files.again);
            files.new.extend(again);
        }
        self.place_arrived()?;
        let State::Building { builder, hardlinks, .. } = &mut self.state else { return Ok(()) };
        for (path, target) in hardlinks.drain(..) {
            builder.put_hardlink(&path, &target)?;
        }
        Ok(())
    }
}

/// Takes the contents of one file. Nothing is open before they come, for thousands may have been asked for.
struct Sink {
    stat: Stat,
    /// Where the tree is to show the file, if it may be written there.
    spot: Option<Spot>,
    writer: Option<ObjectWriter>,
    arrived: Arc<Arrived>,
}

impl Sink {
    fn writer(&mut self) -> Result<&mut ObjectWriter> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let (objects, attrs, size) =
                    (self.arrived.store.objects(), attrs(&self.stat), self.stat.size);
                match &self.spot {
                    Some(spot) => objects.create_in_place(spot, &attrs, size)?,
                    None => objects.create(&attrs, size)?,
                }
            }
        };
        Ok(self.writer.insert(writer))
    }
}

impl FileSink for Sink {
    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        std::io::Write::write_all(self.writer()?, chunk).context("failed to store a file of the context")
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.writer()?;
        let Some(writer) = self.writer.take() else { return Ok(()) };
        match self.spot {
            Some(spot) => {
                let file = writer.finish_in_place()?;
                self.arrived.files().in_place.push((spot, file));
            }
            None => {
                let object = writer.finish()?;
                self.arrived.files().new.push((self.stat.path, object));
            }
        }
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

/// Whether a file is there with these bytes.
fn holds(view: &View, path: &[u8], bytes: &[u8]) -> Result<bool> {
    let size = bytes.len() as u64;
    let is_file = |meta: Meta| meta.file_type == FileType::File && meta.size == size;
    Ok(view.lstat(path)?.is_some_and(is_file) && view.read(path, size)?.is_some_and(|found| found == bytes))
}
