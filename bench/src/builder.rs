//! The builders that are compared, each with an engine and a store of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use client::{Address, Client};

use crate::process::{Background, find, run, run_within, version};

/// A builder of which this machine has what it needs.
#[derive(Debug, Clone)]
pub enum Builder {
    Kiln {
        kiln: PathBuf,
    },
    /// Kiln's engine, driven by the stock client.
    KilnByBuildx {
        kiln: PathBuf,
        buildx: PathBuf,
    },
    Buildctl {
        buildkitd: PathBuf,
        buildctl: PathBuf,
    },
    Buildx {
        buildkitd: PathBuf,
        buildx: PathBuf,
    },
    Buildah {
        buildah: PathBuf,
    },
}

pub const KILN: &str = "kiln";
pub const KILN_BY_BUILDX: &str = "kiln by buildx";
pub const BUILDX: &str = "buildx";

/// How long one build may take. One that takes longer counts as having taken this long.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Where the result of a build goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It stays in the build cache.
    Nothing,
    /// The image store of the engine.
    Image,
    /// A gzip OCI archive.
    Oci,
    /// The same, packed by zstd.
    Zstd,
    /// A folder of files.
    Local,
    /// A registry, under the name that the row gives.
    Push,
    /// All targets of the context's bake file; they stay in the build cache.
    Bake,
}

impl Builder {
    /// All builders of this machine; `kiln` is given.
    pub fn all(kiln: &Path) -> Vec<Builder> {
        let mut all = vec![Builder::Kiln { kiln: kiln.to_owned() }];
        let plugin = PathBuf::from("/usr/libexec/docker/cli-plugins/docker-buildx");
        let buildx = find("buildx").or_else(|| plugin.is_file().then_some(plugin));
        all.extend(buildx.clone().map(|buildx| Builder::KilnByBuildx { kiln: kiln.to_owned(), buildx }));
        if let Some(buildkitd) = find("buildkitd") {
            if let Some(buildctl) = find("buildctl") {
                all.push(Builder::Buildctl { buildkitd: buildkitd.clone(), buildctl });
            }
            all.extend(buildx.map(|buildx| Builder::Buildx { buildkitd, buildx }));
        }
        all.extend(find("buildah").map(|buildah| Builder::Buildah { buildah }));
        all
    }

    pub fn name(&self) -> &'static str {
        match self {
            Builder::Kiln { .. } => KILN,
            Builder::KilnByBuildx { .. } => KILN_BY_BUILDX,
            Builder::Buildctl { .. } => "buildctl",
            Builder::Buildx { .. } => BUILDX,
            Builder::Buildah { .. } => "buildah",
        }
    }

    pub fn version(&self) -> String {
        match self {
            Builder::Kiln { kiln } | Builder::KilnByBuildx { kiln, .. } => version(kiln, &["version"]),
            Builder::Buildctl { buildctl, .. } => version(buildctl, &["--version"]),
            Builder::Buildx { buildx, .. } => version(buildx, &["version"]),
            Builder::Buildah { buildah } => version(buildah, &["--version"]),
        }
    }

    /// Whether the builder has this output. Buildah makes an image in any case, and no folder; bake is buildx's.
    pub fn can(&self, output: Output) -> bool {
        match self {
            Builder::Buildah { .. } => {
                !matches!(output, Output::Local | Output::Push | Output::Zstd | Output::Bake)
            }
            Builder::Buildctl { .. } => output != Output::Bake,
            Builder::Kiln { .. } | Builder::KilnByBuildx { .. } | Builder::Buildx { .. } => true,
        }
    }

    /// Whether builds can be sent to its engine without its client. Those of other clients are the same engines.
    pub fn takes_requests(&self) -> bool {
        matches!(self, Builder::Kiln { .. } | Builder::Buildctl { .. })
    }

    /// Starts the builder on an empty store, or the one that `dir` holds.
    pub fn start(&self, dir: &Path) -> Result<Bench<'_>> {
        std::fs::create_dir_all(dir.join("docker"))?;
        // Buildah insists on the file.
        std::fs::write(dir.join("docker/config.json"), "{}")?;
        let log = dir.join("engine.log");
        let socket = dir.join("engine.sock");
        let address = format!("unix://{}", socket.display());
        let started = Instant::now();
        let engine = match self {
            Builder::Kiln { kiln } | Builder::KilnByBuildx { kiln, .. } => {
                let mut command = Command::new(kiln);
                command.arg("daemon").arg("--root").arg(dir).args(["--addr", &address]);
                Some(Background::start(command, &log)?)
            }
            Builder::Buildctl { buildkitd, .. } | Builder::Buildx { buildkitd, .. } => {
                let mut command = Command::new(buildkitd);
                command.arg("--root").arg(dir.join("store")).args(["--addr", &address]);
                command.args([
                    "--containerd-worker=false",
                    "--oci-worker-binary=runc",
                    "--oci-worker-net=host",
                ]);
                Some(Background::start(command, &log)?)
            }
            Builder::Buildah { .. } => None,
        };
        let mut bench = Bench { builder: self, dir: dir.to_owned(), address, engine, ready: Duration::ZERO };
        bench.wait(&socket)?;
        bench.ready = started.elapsed();
        if let Builder::Buildx { buildx, .. } | Builder::KilnByBuildx { buildx, .. } = self {
            let mut command = bench.client(buildx);
            run(command.args(["create", "--name", "bench", "--driver", "remote", &bench.address]))?;
        }
        Ok(bench)
    }
}

/// A builder that is ready to build.
pub struct Bench<'a> {
    builder: &'a Builder,
    dir: PathBuf,
    address: String,
    engine: Option<Background>,
    /// From the start of the engine to its first answer.
    pub ready: Duration,
}

impl Bench<'_> {
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn engine(&self) -> Option<u32> {
        self.engine.as_ref().map(Background::id)
    }

    /// Ends the engine without a word to it.
    pub fn kill(mut self) {
        if let Some(engine) = self.engine.take() {
            engine.kill();
        }
    }

    /// Waits for the engine's first answer.
    fn wait(&mut self, socket: &Path) -> Result<()> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let address: Address = self.address.parse()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked = Instant::now();
        loop {
            if socket.exists() {
                let answer = runtime.block_on(async { Client::connect(&address).await?.workers().await });
                if answer.is_ok() {
                    return Ok(());
                }
            }
            if engine.has_ended() || asked.elapsed() > Duration::from_secs(60) {
                let log = std::fs::read_to_string(self.dir.join("engine.log")).unwrap_or_default();
                bail!("the engine of {} does not answer:\n{log}", self.builder.name());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// A client with a home of its own.
    fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("BUILDX_CONFIG", self.dir.join("buildx")).env("DOCKER_CONFIG", self.dir.join("docker"));
        command
    }

    /// Builds `context`. What is written goes to `out`, an empty or absent place; `image` names the image. A build that
    /// takes longer than [`LIMIT`] is broken off.
    pub fn build(&self, context: &Path, output: Output, out: &Path, image: &str) -> Result<()> {
        let run = |command: &mut Command| run_within(command, LIMIT).map(drop);
        let file = out.join("image.tar");
        let to = match output {
            Output::Nothing | Output::Bake => None,
            Output::Image => Some(format!("type=image,name={image}")),
            Output::Push => Some(format!("type=image,name={image},push=true")),
            Output::Oci => Some(format!("type=oci,dest={}", file.display())),
            Output::Zstd => Some(format!("type=oci,compression=zstd,dest={}", file.display())),
            Output::Local => Some(format!("type=local,dest={}", out.join("files").display())),
        };
        std::fs::create_dir_all(out)?;
        match self.builder {
            Builder::Kiln { kiln } => {
                let mut command = self.client(kiln);
                if output == Output::Bake {
                    command.args(["bake", "--host", &self.address, "--progress=plain"]);
                    return run(command.current_dir(context));
                }
                command.args(["build", "--host", &self.address, "--progress=plain"]);
                command.args(["-o", to.as_deref().unwrap_or("type=cacheonly")]);
                run(command.arg(context))
            }
            Builder::Buildx { buildx, .. } | Builder::KilnByBuildx { buildx, .. } => {
                let mut command = self.client(buildx);
                if output == Output::Bake {
                    command.args(["bake", "--builder=bench", "--progress=plain"]);
                    return run(command.current_dir(context));
                }
                command.args(["build", "--builder=bench", "--progress=plain"]);
                command.args(["-o", to.as_deref().unwrap_or("type=cacheonly")]);
                run(command.arg(context))
            }
            Builder::Buildctl { buildctl, .. } => {
                let mut command = self.client(buildctl);
                command.args([
                    "--addr",
                    &self.address,
                    "build",
                    "--frontend=dockerfile.v0",
                    "--progress=plain",
                    // The other clients ask for it by themselves.
                    "--opt=attest:provenance=mode=min,inline-only=true",
                ]);
                command.arg("--local").arg(format!("context={}", context.display()));
                command.arg("--local").arg(format!("dockerfile={}", context.display()));
                command.args(to.map(|to| format!("--output={to}")));
                run(&mut command)
            }
            Builder::Buildah { buildah } => {
                let storage = |command: &mut Command| {
                    command.arg("--root").arg(self.dir.join("store"));
                    command.arg("--runroot").arg(self.dir.join("run"));
                };
                let mut command = self.client(buildah);
                storage(&mut command);
                command.args([
                    "build",
                    "--layers",
                    "--isolation=oci",
                    "--network=host",
                    "--tls-verify=false",
                ]);
                run(command.args(["-t", "bench"]).arg(context))?;
                if output == Output::Oci {
                    let mut command = self.client(buildah);
                    storage(&mut command);
                    run(command.args(["push", "bench"]).arg(format!("oci-archive:{}", file.display())))?;
                }
                Ok(())
            }
        }
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        self.engine.take();
        if let Builder::Buildah { buildah } = self.builder {
            // Its store holds mounts.
            let mut command = Command::new(buildah);
            command.arg("--root").arg(self.dir.join("store")).arg("--runroot").arg(self.dir.join("run"));
            let _ = run(command.args(["rmi", "--all", "--force"]));
        }
    }
}
