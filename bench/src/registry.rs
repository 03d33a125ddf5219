//! A registry for the rows that pull, on this machine and for this run.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::builder::{Builder, Output};
use crate::process::{Background, find};

pub struct Registry {
    pub host: String,
    _server: Background,
}

impl Registry {
    /// Starts Debian's docker-registry; `None` where it is not installed.
    pub fn start(dir: &Path) -> Result<Option<Self>> {
        let Some(program) = find("docker-registry") else { return Ok(None) };
        std::fs::create_dir_all(dir)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let host = format!("127.0.0.1:{port}");
        let config = dir.join("config.yml");
        let store = dir.join("store");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{host}\"}}\n",
            store.display()
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(program);
        command.arg("serve").arg(&config);
        let mut server = Background::start(command, &dir.join("registry.log"))?;
        let asked = Instant::now();
        while TcpStream::connect(&host).is_err() {
            if server.has_ended() || asked.elapsed() > Duration::from_secs(20) {
                bail!(
                    "docker-registry does not start: {}",
                    std::fs::read_to_string(dir.join("registry.log"))?
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(Registry { host, _server: server }))
    }

    /// A name for what is pushed in one turn.
    pub fn name(&self, turn: u64) -> String {
        format!("{}/bench/turn-{turn}:latest", self.host)
    }

    /// Builds and pushes the image that `context` begins with, and names it in the Dockerfile there.
    pub fn fill(&self, kiln: &Builder, context: &Path, work: &Path) -> Result<()> {
        let image = format!("{}/bench/layers:latest", self.host);
        let dir = work.join("push");
        let bench = kiln.start(&dir)?;
        bench.build(&context.join("image"), Output::Push, &work.join("none"), &image)?;
        drop(bench);
        std::fs::remove_dir_all(&dir)?;
        // Only the image is pulled; what it is made of is no context.
        std::fs::remove_dir_all(context.join("image"))?;
        let path = context.join("Dockerfile");
        let text = std::fs::read_to_string(&path).context("the context has no Dockerfile")?;
        std::fs::write(&path, text.replace("@IMAGE@", &image))?;
        Ok(())
    }
}
