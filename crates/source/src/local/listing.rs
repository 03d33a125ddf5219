//! What a client's folder held at the last sync, kept in memory: it tells what changed without a look at the store.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use session::files::{Kind, Stat, compare_paths};

/// Entries that are kept of all places together. Of a larger folder the store is asked.
const MOST_ENTRIES: usize = 300_000;

/// The entries of one sync, in wire order.
#[derive(Debug, Default)]
pub struct Listing {
    entries: Vec<Stat>,
    /// Some files have several names.
    has_hardlinks: bool,
}

impl Listing {
    pub fn push(&mut self, stat: Stat) {
        self.has_hardlinks |= stat.is_hardlink();
        self.entries.push(stat);
    }
}

/// The listings of the last syncs, by the state that each left.
#[derive(Debug, Default)]
pub struct Listings(Mutex<HashMap<String, Arc<Listing>>>);

impl Listings {
    pub fn get(&self, state: &str) -> Option<Arc<Listing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(state).cloned()
    }

    /// Keeps a listing in place of the one of the state before. What is too much is not kept.
    pub fn put(&self, before: Option<&str>, state: &str, listing: Listing) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        before.map(|before| all.remove(before));
        let mut total: usize = all.values().map(|l| l.entries.len()).sum::<usize>() + listing.entries.len();
        while total > MOST_ENTRIES {
            let Some(other) = all.keys().next().cloned() else { return };
            total -= all.remove(&other).map_or(0, |l| l.entries.len());
        }
        all.insert(state.to_owned(), Arc::new(listing));
    }
}

/// Goes through a listing beside a new one, which comes in the same order.
pub struct Beside {
    listing: Arc<Listing>,
    at: usize,
}

/// What a new entry is to the last listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Was {
    /// Just so. Of a folder the time may differ: it says only that something came or went, which shows by itself.
    Same { same_time: bool },
    /// Another, or not there.
    Other,
}

impl Beside {
    /// Nothing where files have several names: which of them changed does not show entry by entry.
    pub fn new(listing: Arc<Listing>) -> Option<Self> {
        (!listing.has_hardlinks).then_some(Beside { listing, at: 0 })
    }

    /// Goes on to a new entry. `gone` hears of what was there before it and is no more; what lay in a folder that is
    /// gone, or is none any more, is not told.
    pub fn next(&mut self, stat: &Stat, gone: &mut dyn FnMut(&[u8])) -> Was {
        while let Some(old) = self.listing.entries.get(self.at) {
            match compare_paths(&old.path, &stat.path) {
                Ordering::Less => self.skip(gone),
                Ordering::Greater => return Was::Other,
                Ordering::Equal => {
                    let was = compare(old, stat);
                    if old.is_dir() && !stat.is_dir() {
                        self.skip(&mut |_| {});
                    } else {
                        self.at += 1;
                    }
                    return was;
                }
            }
        }
        Was::Other
    }

    /// The new listing is complete.
    pub fn end(&mut self, gone: &mut dyn FnMut(&[u8])) {
        while self.at < self.listing.entries.len() {
            self.skip(gone);
        }
    }

    /// Goes past an entry and all that lies in it.
    fn skip(&mut self, gone: &mut dyn FnMut(&[u8])) {
        let listing = Arc::clone(&self.listing);
        let top = &listing.entries[self.at];
        gone(&top.path);
        self.at += 1;
        while listing.entries.get(self.at).is_some_and(|e| is_in(&e.path, &top.path)) {
            self.at += 1;
        }
    }
}

fn is_in(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.first() == Some(&b'/'))
}

fn compare(old: &Stat, new: &Stat) -> Was {
    let kind = new.kind();
    let same = old.kind() == kind
        && (old.mode == new.mode || kind == Kind::Symlink)
        && old.linkname == new.linkname
        && (kind != Kind::File || old.size == new.size)
        && (old.dev_major, old.dev_minor) == (new.dev_major, new.dev_minor)
        && old.xattrs == new.xattrs;
    let same_time = old.mtime_ns == new.mtime_ns;
    if same && (same_time || kind == Kind::Dir) { Was::Same { same_time } } else { Was::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths that end in a slash are folders; a digit at the end is the time.
    fn stats(text: &str) -> Vec<Stat> {
        let stat = |word: &str| {
            let (path, time) = word.split_once('@').unwrap_or((word, "0"));
            let mode = if path.ends_with('/') { 0o040_755 } else { 0o100_644 };
            let path = path.trim_end_matches('/').into();
            Stat { path, mode, mtime_ns: time.parse().expect("a number"), ..Stat::default() }
        };
        text.split_whitespace().map(stat).collect()
    }

    fn check(old: &str, new: &str, expected: &str) {
        let mut listing = Listing::default();
        stats(old).into_iter().for_each(|stat| listing.push(stat));
        let mut beside = Beside::new(Arc::new(listing)).expect("no hard links");
        let told = std::cell::RefCell::new(Vec::new());
        let mut gone = |path: &[u8]| told.borrow_mut().push(format!("-{}", path.escape_ascii()));
        for stat in stats(new) {
            let was = beside.next(&stat, &mut gone);
            let path = stat.path.escape_ascii();
            match was {
                Was::Same { same_time: true } => {}
                Was::Same { same_time: false } => told.borrow_mut().push(format!("~{path}")),
                Was::Other => told.borrow_mut().push(format!("+{path}")),
            }
        }
        beside.end(&mut gone);
        assert_eq!(told.into_inner().join(" "), expected, "{old} => {new}");
    }

    #[test]
    fn changes_show_entry_by_entry() {
        check("", "", "");
        check("", "a b/ b/c", "+a +b +b/c");
        check("a b/ b/c d", "a b/ b/c d", "");
        check("a b/ b/c d", "a@1 b/@1 b/c d", "+a ~b");
        check("a b/ b/c b/d/ b/d/e f", "a f", "-b");
        check("a b/ b/c b/d", "a b/ b/d e", "-b/c +e");
        check("a/ a/x b", "a b", "+a");
        check("a b", "a/ a/x b", "+a +a/x");
        check("a/ a/x a-b", "a-b", "-a");
        check("a z", "", "-a -z");
    }

    #[test]
    fn too_much_is_not_kept() {
        let listings = Listings::default();
        let of = |count| Listing { entries: vec![Stat::default(); count], has_hardlinks: false };
        listings.put(None, "a", of(MOST_ENTRIES / 2));
        listings.put(Some("a"), "b", of(MOST_ENTRIES / 2));
        assert!(listings.get("a").is_none() && listings.get("b").is_some());
        listings.put(None, "c", of(MOST_ENTRIES));
        assert!(listings.get("b").is_none() && listings.get("c").is_some());
        listings.put(None, "d", of(MOST_ENTRIES + 1));
        assert!(listings.get("d").is_none());
    }
}
