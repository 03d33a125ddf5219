//! Where the files of policies lie: in the context, or with `cwd://` in the folder that the command runs in. A context
//! elsewhere is read through the engine.

use std::fs::File as Opened;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::Made;
use errdefs::{Error, Result, ResultExt as _};
use llb::Definition;
use policy::File;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use tokio::sync::OnceCell;

use crate::policies::Engine;
use crate::policies::groups::{DefaultFile, Wanted};

/// Most bytes of a policy.
const MOST: usize = 1 << 20;

/// The files around a build.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub cwd: PathBuf,
    /// The context, where it is a folder here.
    pub folder: Option<PathBuf>,
    /// Its files, where it is elsewhere.
    pub graph: Option<Definition>,
    /// The policy beside the Dockerfile.
    pub default: Option<DefaultFile>,
    /// The name of the Dockerfile, without its folder.
    pub filename: String,
}

pub(crate) struct Files {
    place: Place,
    engine: Arc<Engine>,
    remote: OnceCell<Made>,
}

impl Files {
    pub(crate) fn new(place: Place, engine: Arc<Engine>) -> Self {
        Files { place, engine, remote: OnceCell::new() }
    }

    /// # Errors
    /// A user error for a file that is missing.
    pub(super) async fn load(&self, wanted: &[Wanted]) -> Result<Vec<File>> {
        let mut files = Vec::new();
        for Wanted { name, optional, data } in wanted {
            let data = match data {
                Some(data) => Some(data.clone()),
                None => self
                    .read(name, MOST)
                    .await
                    .with_context(|| format!("failed to read policy file {name}"))?,
            };
            match data {
                Some(data) => files.push(File { name: name.clone(), data }),
                None if *optional => {}
                None => {
                    return Err(Error::not_found(format!("policy file {name} not found")).hint(
                        "policies lie in the build context; `cwd://FILE` is one in the folder you are in",
                    ));
                }
            }
        }
        Ok(files)
    }

    /// The first `most` bytes of a file; nothing where there is none.
    pub(crate) async fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>> {
        if name.is_empty() {
            return Err(Error::user("policy filename is empty"));
        }
        if let Some(local) = name.strip_prefix("cwd://") {
            if local.is_empty() {
                return Err(Error::user(format!("invalid policy filename {name:?}")));
            }
            return read_below(&self.place.cwd, local, most);
        }
        match (&self.place.graph, &self.place.folder) {
            (Some(graph), _) => {
                let made = self.remote.get_or_try_init(|| self.open(graph.clone())).await?;
                made.read_file(&bake::clean_path(&format!("/{name}")), most).await
            }
            (None, Some(folder)) => {
                let path = Path::new(name);
                let inside = path.strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or(name);
                read_below(folder, inside, most)
            }
            (None, None) => Ok(None),
        }
    }

    async fn open(&self, graph: Definition) -> Result<Made> {
        self.engine.inquiry().await?.open(graph).await.context("failed to read the context")
    }
}

/// A file below a folder; the way to it must not leave the folder.
pub(crate) fn read_below(folder: &Path, name: &str, most: usize) -> Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, folder, flags | OFlags::DIRECTORY, Mode::empty())
        .map_err(std::io::Error::from)
        .with_context(|| format!("failed to open `{}`", folder.display()))?;
    let name = bake::clean_path(name);
    let opened = rustix::fs::openat2(&dir, &name, flags, Mode::empty(), ResolveFlags::BENEATH);
    let file = match opened {
        Ok(file) => Opened::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(rustix::io::Errno::XDEV) => {
            return Err(Error::user(format!("`{name}` lies outside of `{}`", folder.display()))
                .hint("policies, and what they read, lie below the build context, or below the folder you are in (`cwd://`)"));
        }
        Err(e) => {
            return Err(Error::from(std::io::Error::from(e)).context(format!("failed to open `{name}`")));
        }
    };
    let mut data = Vec::new();
    file.take(most as u64).read_to_end(&mut data).with_context(|| format!("failed to read `{name}`"))?;
    Ok(Some(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_below_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(dir.path().join("in/a.rego"), "text").unwrap();
        std::os::unix::fs::symlink("../secret", dir.path().join("in/link")).unwrap();
        let folder = dir.path().join("in");
        assert_eq!(read_below(&folder, "./a.rego", 2).unwrap().unwrap(), b"te");
        assert_eq!(read_below(&folder, "none", 9).unwrap(), None);
        for outside in ["../secret", "link", "/etc/passwd"] {
            let error = read_below(&folder, outside, 9).unwrap_err().to_string();
            assert!(error.contains("lies outside of"), "{outside}: {error}");
        }
    }
}
