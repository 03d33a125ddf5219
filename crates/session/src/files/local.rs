//! A local folder as a tree to be sent.

mod filter;
mod follow;
mod read;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use errdefs::{Error, Result, ResultExt};
use fsutil::pattern::MatchInfo;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::files::send::Tree;
use crate::files::stat::Stat;

pub use filter::Filter;
use filter::{Choice, Chooser};
pub(crate) use read::names as names_in;

/// A folder of the client. All its files look as owned by root, as every client of Docker Build has it.
pub struct LocalTree {
    root: OwnedFd,
    chooser: Chooser,
}

impl LocalTree {
    /// Opens a folder of which `filter` chooses a part.
    pub fn open(path: &Path, filter: Filter) -> Result<Self> {
        let failed = || format!("failed to read `{}`", path.display());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty());
        let root = root.map_err(std::io::Error::from).with_context(failed)?;
        let followed = follow::follow(path, &filter.follow).with_context(failed)?;
        Ok(LocalTree { root, chooser: Chooser::new(filter, followed)? })
    }

    /// A folder that is open already. What leads out of it is looked up from where it lies.
    pub(crate) fn of(root: OwnedFd, filter: Filter) -> Result<Self> {
        let path = format!("/proc/self/fd/{}", root.as_raw_fd());
        let followed =
            follow::follow(Path::new(&path), &filter.follow).context("failed to read the folder")?;
        Ok(LocalTree { root, chooser: Chooser::new(filter, followed)? })
    }
}

impl Tree for LocalTree {
    fn list(&self, each: &mut dyn FnMut(Stat) -> Result<()>) -> Result<()> {
        let mut walk = Walk { tree: self, each, waiting: Vec::new(), links: HashMap::new() };
        walk.dir(b"", &MatchInfo::default(), &MatchInfo::default())
    }

    fn open(&self, path: &[u8]) -> Result<Box<dyn Read + Send>> {
        // A pipe that took the place of a file must not make us wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), inside) {
            Ok(file) => Ok(Box::new(File::from(file))),
            // Sockets are listed as empty files.
            Err(Errno::NXIO) => Ok(Box::new(std::io::empty())),
            Err(e) => Err(Error::from(std::io::Error::from(e))),
        }
    }
}

/// One listing of a tree.
struct Walk<'a> {
    tree: &'a LocalTree,
    each: &'a mut dyn FnMut(Stat) -> Result<()>,
    /// Folders above that are sent only when something in them is.
    waiting: Vec<Vec<u8>>,
    /// Files with several names that were sent, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl Walk<'_> {
    /// Lists what is in a folder, whose own matches are given.
    fn dir(&mut self, path: &[u8], included: &MatchInfo, excluded: &MatchInfo) -> Result<()> {
        let (folder, names) = match read::folder(&self.tree.root, path) {
            // Gone, or no folder any more, since it was listed.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            // Nothing was asked from it for itself.
            Err(Errno::ACCESS) if self.waiting.last().is_some_and(|w| w == path) => return Ok(()),
            read => read.map_err(|e| failed(path, e))?,
        };
        for (name, is_dir) in names {
            let child = join(path, &name);
            let Choice { send, descend, included, excluded } =
                self.tree.chooser.choose(&child, is_dir, included, excluded);
            if send {
                self.send(&child, (&folder, &name))?;
            }
            if is_dir && descend {
                if !send {
                    self.waiting.push(child.clone());
                }
                self.dir(&child, &included, &excluded)?;
                // Still there when nothing in it was sent.
                self.waiting.pop_if(|last| *last == child);
            }
        }
        Ok(())
    }

    /// Sends an entry, after the folders above that wait. It lies `at` this name of a folder.
    fn send(&mut self, path: &[u8], at: (&OwnedFd, &[u8])) -> Result<()> {
        let tree = self.tree;
        for above in std::mem::take(&mut self.waiting) {
            self.send_one(&above, (&tree.root, &above))?;
        }
        self.send_one(path, at)
    }

    fn send_one(&mut self, path: &[u8], (folder, name): (&OwnedFd, &[u8])) -> Result<()> {
        let found = match read::stat(folder, name, path) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            found => found.map_err(|e| failed(path, e))?,
        };
        let mut stat = found.stat;
        if let Some(inode) = found.shared_inode {
            match self.links.get(&inode) {
                Some(first) => {
                    stat.linkname.clone_from(first);
                    stat.size = 0;
                }
                None => {
                    self.links.insert(inode, path.to_vec());
                }
            }
        }
        (self.each)(stat)
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match dir {
        b"" => name.to_vec(),
        dir => [dir, b"/", name].concat(),
    }
}

fn failed(path: &[u8], e: Errno) -> Error {
    let path = if path.is_empty() { b"." } else { path };
    Error::from(std::io::Error::from(e)).context(format_args!("failed to read `{}`", path.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::files::order::Checker;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = dir.path();
        for name in ["a/deep/er", "a-b", "node_modules/x", "src"] {
            std::fs::create_dir_all(root.join(name)).expect("mkdir");
        }
        let files =
            ["a/deep/er/f", "a/g", "a-b/h", "node_modules/x/i", "src/main.rs", "src/lib.go", "README.md"];
        for name in files {
            std::fs::write(root.join(name), name).expect("write");
        }
        symlink("src/main.rs", root.join("link")).expect("symlink");
        std::fs::hard_link(root.join("README.md"), root.join("src/README")).expect("link");
        dir
    }

    fn list(tree: &LocalTree) -> Result<Vec<Stat>> {
        let (mut sent, mut checker) = (Vec::new(), Checker::default());
        tree.list(&mut |stat| {
            checker.check(&stat)?;
            sent.push(stat);
            Ok(())
        })?;
        Ok(sent)
    }

    fn check(include: &[&str], exclude: &[&str], follow: &[&str], expected: &str) {
        let owned = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect();
        let filter = Filter { include: owned(include), exclude: owned(exclude), follow: owned(follow) };
        let dir = folder();
        let tree = LocalTree::open(dir.path(), filter).expect("opens");
        let sent = list(&tree).expect("lists");
        let paths: Vec<_> = sent.iter().map(|s| s.path.escape_ascii().to_string()).collect();
        assert_eq!(paths.join(" "), expected, "{include:?} {exclude:?} {follow:?}");
    }

    #[test]
    fn filters() {
        let all = "README.md a a/deep a/deep/er a/deep/er/f a/g a-b a-b/h link node_modules node_modules/x \
                   node_modules/x/i src src/README src/lib.go src/main.rs";
        check(&[], &[], &[], all);
        check(&["a"], &[], &[], "a a/deep a/deep/er a/deep/er/f a/g");
        check(&["a/deep/er/f"], &[], &[], "a a/deep a/deep/er a/deep/er/f");
        check(&["**/*.rs"], &[], &[], "src src/main.rs");
        check(&["missing"], &[], &[], "");
        check(&[], &["*", "!a/g"], &[], "a a/g");
        check(&[], &["node_modules", "a*", "src", "link"], &[], "README.md");
        check(
            &[],
            &["**/x", "*.md", "link", "src"],
            &[],
            "a a/deep a/deep/er a/deep/er/f a/g a-b a-b/h node_modules",
        );
        check(&["src"], &["**/*.go"], &[], "src src/README src/main.rs");
        check(&[], &[], &["link"], "link src src/main.rs");
        check(&["a/g"], &[], &["link"], "a a/g link src src/main.rs");
        check(&["a/g"], &[], &["."], "a a/g");
    }

    #[test]
    fn entries_tell_what_they_are() {
        let dir = folder();
        let root = dir.path();
        std::fs::set_permissions(root.join("a/g"), std::fs::Permissions::from_mode(0o4755)).expect("chmod");
        let _socket = UnixListener::bind(root.join("socket")).expect("binds");
        let tree = LocalTree::open(root, Filter::default()).expect("opens");
        let sent = list(&tree).expect("lists");
        let find = |path: &[u8]| sent.iter().find(|s| s.path == path).expect("was sent");
        assert!(sent.iter().all(|s| (s.uid, s.gid) == (0, 0)));
        assert_eq!((find(b"a/g").mode, find(b"a/g").size), (0o104_755, 3));
        assert_eq!(find(b"link").linkname, b"src/main.rs");
        assert_eq!(
            (find(b"src/README").linkname.as_slice(), find(b"src/README").size),
            (&b"README.md"[..], 0)
        );
        assert!(find(b"socket").has_data());
        let read = |path: &[u8]| {
            let mut data = Vec::new();
            tree.open(path)?.read_to_end(&mut data)?;
            Ok::<_, Error>(data)
        };
        assert_eq!(read(b"a-b/h").expect("reads"), b"a-b/h");
        assert_eq!(read(b"socket").expect("reads"), b"");
        assert!(read(b"gone").expect_err("is not there").is_not_found());
        assert!(read(b"link").is_err() && read(b"../etc/passwd").is_err());
    }

    #[test]
    fn a_hard_link_whose_first_name_is_left_out_is_a_file() {
        check_link(&["README.md"], b"src/README", b"");
        check_link(&[], b"src/README", b"README.md");
    }

    fn check_link(exclude: &[&str], path: &[u8], linkname: &[u8]) {
        let filter =
            Filter { exclude: exclude.iter().map(|p| (*p).to_owned()).collect(), ..Filter::default() };
        let dir = folder();
        let tree = LocalTree::open(dir.path(), filter).expect("opens");
        let sent = list(&tree).expect("lists");
        let found = sent.iter().find(|s| s.path == path).expect("was sent");
        assert_eq!((found.linkname.as_slice(), found.size == 0), (linkname, !linkname.is_empty()));
    }

    #[test]
    fn bad_patterns_and_folders_are_refused() {
        let missing = LocalTree::open(Path::new("/no/such/folder"), Filter::default());
        assert!(
            missing.err().expect("is refused").to_string().starts_with("failed to read `/no/such/folder`: ")
        );
        let filter = Filter { exclude: vec!["[".into()], ..Filter::default() };
        let bad = LocalTree::open(folder().path(), filter);
        assert_eq!(
            bad.err().expect("is refused").to_string(),
            "invalid excludepatterns: [[]: syntax error in pattern"
        );
    }
}
