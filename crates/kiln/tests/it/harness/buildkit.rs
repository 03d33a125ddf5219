use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Folder, Process};

/// BuildKit's own daemon, where the machine has one.
pub struct BuildKit {
    _process: Process,
    folder: Folder,
}

impl BuildKit {
    /// Starts one with a configuration file. Nothing where there is no BuildKit.
    pub fn start(config: &str) -> Option<Self> {
        let daemon = BuildKit::find("buildkitd")?;
        let runtime = BuildKit::find("buildkit-runc").or_else(|| BuildKit::find("runc"))?;
        let folder = Folder::new(&[("tmp/", ""), ("buildkitd.toml", config)]);
        let socket = folder.join("sock");
        let mut daemon = Command::new(daemon);
        daemon.args(["--oci-worker=true", "--containerd-worker=false", "--oci-worker-net=host"]);
        daemon.arg(format!("--oci-worker-binary={}", runtime.display()));
        daemon.arg("--config").arg(folder.join("buildkitd.toml"));
        daemon.arg("--root").arg(folder.join("root"));
        daemon.arg("--addr").arg(format!("unix://{}", socket.display()));
        // It leaves folders there.
        daemon.env("TMPDIR", folder.join("tmp"));
        let (process, ()) = Process::start(&mut daemon, |line| line.contains("running server").then_some(()));
        let began = Instant::now();
        while !socket.exists() && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(BuildKit { _process: process, folder })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("unix://{}", self.folder.join("sock").display())
    }

    /// A program of the machine.
    pub fn find(name: &str) -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
    }
}
