//! Where things lie that nobody gave a place. Under the name of buildkitd they lie where BuildKit's do.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};

use crate::args::Args;
use crate::config::Config;

/// Under which name the engine was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Kiln,
    Buildkitd,
}

impl Name {
    pub fn of(program: Option<&OsStr>) -> Self {
        match program.and_then(|program| Path::new(program).file_name()) {
            Some(name) if name == "buildkitd" => Name::Buildkitd,
            _ => Name::Kiln,
        }
    }

    /// The configuration that is read if it is there.
    pub fn config_file(self) -> PathBuf {
        let is_root = rustix::process::geteuid().is_root();
        let home = || std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| in_home(".config"));
        match self {
            Name::Kiln => "/etc/kiln/kiln.toml".into(),
            Name::Buildkitd if is_root => "/etc/buildkit/buildkitd.toml".into(),
            Name::Buildkitd => home().unwrap_or_default().join("buildkit/buildkitd.toml"),
        }
    }

    /// The network of steps, which is used if the file is there.
    pub fn cni_config(self) -> PathBuf {
        self.config_file().with_file_name("cni.json")
    }

    /// The name of a bridge for steps, and its addresses. They differ, so that both may be on one machine.
    pub fn bridge(self) -> (&'static str, &'static str) {
        match self {
            Name::Kiln => ("kiln0", "10.12.0.0/16"),
            Name::Buildkitd => ("buildkit0", "10.10.0.0/16"),
        }
    }

    /// The folder of the store.
    pub fn root(self, args: &Args, config: &Config) -> Result<PathBuf> {
        if let Some(root) = args.root.clone().or_else(|| config.root.clone()) {
            return std::path::absolute(&root)
                .with_context(|| format!("failed to find `{}`", root.display()));
        }
        let own = match self {
            Name::Kiln => "kiln",
            Name::Buildkitd => "buildkit",
        };
        if rustix::process::geteuid().is_root() {
            return Ok(Path::new("/var/lib").join(own));
        }
        let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).or_else(|| in_home(".local/share"));
        let data = data.ok_or_else(|| {
            Error::environment("neither HOME nor XDG_DATA_HOME is set").hint("give `--root`")
        })?;
        Ok(data.join(own))
    }

    /// Where the engine listens.
    pub fn addresses(self, args: &Args, config: &Config, root: &Path) -> Vec<String> {
        match (&args.addrs[..], &config.grpc.address[..]) {
            ([], []) => vec![format!("unix://{}", self.socket(root).display())],
            ([], configured) => configured.to_vec(),
            (given, _) => given.to_vec(),
        }
    }

    fn socket(self, root: &Path) -> PathBuf {
        let run = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        match (self, run) {
            (Name::Kiln, _) => root.join("engine.sock"),
            (Name::Buildkitd, Some(run)) if !rustix::process::geteuid().is_root() => {
                run.join("buildkit/buildkitd.sock")
            }
            (Name::Buildkitd, _) => "/run/buildkit/buildkitd.sock".into(),
        }
    }
}

fn in_home(dir: &str) -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| Path::new(&home).join(dir))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn names_and_addresses() {
        let check = |program: &str, words: &[&str], config: &str, expect: &[&str]| {
            let args = Args::try_parse_from([&["d"], words].concat()).expect("valid");
            let config = Config::parse(config).expect("valid");
            let name = Name::of(Some(OsStr::new(program)));
            assert_eq!(name.addresses(&args, &config, Path::new("/r")), expect, "{program} {words:?}");
        };
        check("/usr/bin/kiln", &[], "", &["unix:///r/engine.sock"]);
        let configured = "[grpc]\naddress = [\"tcp://h:1\"]";
        check("buildkitd", &[], configured, &["tcp://h:1"]);
        check("buildkitd", &["--addr", "fd://", "--addr=unix:///x"], configured, &["fd://", "unix:///x"]);
        assert_eq!(Name::of(None), Name::Kiln);
    }
}
