use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result};

use crate::environment::Environment;

/// Longest path of a unix socket: `sun_path` less its final zero.
const LONGEST_SOCKET: usize = 107;

/// The folder of an engine and what lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    pub root: PathBuf,
    pub socket: PathBuf,
    pub log: PathBuf,
    /// Held by who starts the engine.
    pub start_lock: PathBuf,
    /// Held by the engine itself.
    pub store_lock: PathBuf,
    /// More arguments of the engine.
    pub flags: Vec<String>,
    /// The engine's configuration file, if it has one of its own.
    pub config: Option<Vec<u8>>,
}

impl Home {
    /// `root` if given, else `/var/lib/kiln` for root and `$XDG_DATA_HOME/kiln` for others.
    pub(crate) fn find(root: Option<&Path>, env: &Environment) -> Result<Self> {
        let root = match root {
            Some(root) => env.cwd.join(root),
            None if env.uid == 0 => PathBuf::from("/var/lib/kiln"),
            None => data_home(env)?.join("kiln"),
        };
        Ok(Home {
            socket: socket(&root, env),
            log: root.join("engine.log"),
            start_lock: root.join("start.lock"),
            store_lock: root.join("lock"),
            flags: Vec::new(),
            config: None,
            root,
        })
    }

    /// Where the engines of builders have their stores: next to the user's own.
    pub(crate) fn of_builders(root: Option<&Path>, env: &Environment) -> Result<PathBuf> {
        let mut root = Home::find(root, env)?.root.into_os_string();
        root.push("-builders");
        Ok(root.into())
    }
}

fn data_home(env: &Environment) -> Result<PathBuf> {
    if let Some(dir) = env.filled("XDG_DATA_HOME") {
        return Ok(PathBuf::from(dir));
    }
    let home = env.filled("HOME").ok_or_else(|| {
        Error::environment(
            "neither HOME nor XDG_DATA_HOME is set, so there is no place for the engine's store",
        )
        .hint("give one with `--root` or KILN_ROOT")
    })?;
    Ok(Path::new(home).join(".local/share"))
}

/// In the root, unless that path is too long for a socket.
fn socket(root: &Path, env: &Environment) -> PathBuf {
    let inside = root.join("engine.sock");
    if inside.as_os_str().len() <= LONGEST_SOCKET {
        return inside;
    }
    let name = oci::Digest::of(root.as_os_str().as_bytes());
    let run = match env.filled("XDG_RUNTIME_DIR") {
        Some(dir) => PathBuf::from(dir).join("kiln"),
        None => PathBuf::from(format!("/tmp/kiln-{}", env.uid)),
    };
    run.join(format!("{}.sock", &name.hex()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let check = |uid, root: Option<&str>, vars: &[(&str, &str)], expect: &str| {
            let mut env = Environment::of(vars);
            env.uid = uid;
            let told = match Home::find(root.map(Path::new), &env) {
                Ok(home) => home.socket.display().to_string(),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expect);
        };
        check(0, None, &[], "/var/lib/kiln/engine.sock");
        check(1000, None, &[("HOME", "/home/a")], "/home/a/.local/share/kiln/engine.sock");
        check(1000, None, &[("HOME", "/home/a"), ("XDG_DATA_HOME", "/d")], "/d/kiln/engine.sock");
        check(1000, Some("x"), &[], "/work/x/engine.sock");
        let long = format!("/{}", "x".repeat(100));
        check(
            1000,
            Some(&long),
            &[("XDG_RUNTIME_DIR", "/run/user/1")],
            "/run/user/1/kiln/e50e7828cbafcbee.sock",
        );
        check(
            1000,
            None,
            &[],
            "neither HOME nor XDG_DATA_HOME is set, so there is no place for the engine's store",
        );
    }
}
