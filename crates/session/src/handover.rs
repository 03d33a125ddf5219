//! Folders and files that a client on the same machine hands over, so that the engine reads and writes them itself.
//!
//! The client keeps each folder open and names the descriptor's number in its hello; that of a file for an output it
//! names once the engine asks for the output. The engine opens that descriptor
//! through `/proc/<pid>/fd`, which leads to the very folder whatever either side has mounted. It does so only for a
//! client of its own user, which the kernel tells of a unix socket's peer: that client has no right less than the
//! engine, so nobody reads with rights that are not theirs. Whatever fails, the files go through the session.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Who is at the other end of a unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
}

impl Peer {
    /// Whether it has no right less than this process.
    pub(crate) fn is_own(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw() && self.pid > 0
    }

    /// The file that it has open under this number, to be written from its start.
    pub(crate) fn file(&self, number: u32) -> Option<File> {
        let file = File::from(self.open(number, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK)?);
        file.metadata().is_ok_and(|meta| meta.is_file()).then_some(file)
    }

    fn open(&self, number: u32, flags: OFlags) -> Option<OwnedFd> {
        let link = format!("/proc/{}/fd/{number}", self.pid);
        rustix::fs::openat(CWD, link, flags, Mode::empty()).ok()
    }
}

/// Folders by the names under which the client offers them.
#[derive(Debug, Default)]
pub struct Folders(BTreeMap<String, OwnedFd>);

impl Folders {
    /// Opens a folder that is to be handed over. One that cannot be opened is told of when it is asked for.
    pub(crate) fn open(&mut self, name: &str, path: &Path) {
        if let Ok(folder) = rustix::fs::openat(CWD, path, FOLDER, Mode::empty()) {
            self.0.insert(name.to_owned(), folder);
        }
    }

    /// What the hello says: number and name of each.
    pub(crate) fn words(&self) -> Vec<String> {
        self.0.iter().map(|(name, folder)| format!("{} {name}", folder.as_raw_fd())).collect()
    }

    /// Takes the folders that the words of a hello name from the process that said them.
    pub(crate) fn take(words: &[String], peer: Option<Peer>) -> Self {
        let Some(peer) = peer.filter(Peer::is_own) else { return Self::default() };
        let take = |word: &String| {
            let (number, name) = word.split_once(' ')?;
            Some((name.to_owned(), peer.open(number.parse().ok()?, FOLDER)?))
        };
        Folders(words.iter().filter_map(take).collect())
    }

    /// The folder of this name, to be read through a descriptor of its own.
    pub(crate) fn get(&self, name: &str) -> Option<OwnedFd> {
        self.0.get(name)?.try_clone().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uid: u32, pid: i32, words: &[&str], found: bool) {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let taken = Folders::take(&words, Some(Peer { pid, uid }));
        assert_eq!(taken.get("context").is_some(), found, "{uid} {pid} {words:?}");
    }

    #[test]
    fn only_folders_of_the_same_user_are_taken() {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut own = Folders::default();
        own.open("context", dir.path());
        own.open("missing", &dir.path().join("no"));
        let words = own.words();
        assert_eq!(words.len(), 1);
        let (uid, pid) = (rustix::process::geteuid().as_raw(), std::process::id().cast_signed());
        check(uid, pid, &[&words[0]], true);
        check(uid + 1, pid, &[&words[0]], false);
        check(uid, 0, &[&words[0]], false);
        check(uid, pid, &["999999 context", "x context", "3", ""], false);
        let file = std::fs::File::create(dir.path().join("f")).expect("a file");
        check(uid, pid, &[&format!("{} context", file.as_raw_fd())], false);
        assert!(Folders::take(&words, None).get("context").is_none());
    }
}
