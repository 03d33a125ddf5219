use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use super::{Build, Folder, Layout, busybox, tool};

/// A store of its own and the engine on it, which starts with the first build. The end of the value is the end of the
/// engine, and a test fails that leaves a process or a mount behind.
pub struct Engine {
    root: Folder,
    home: Folder,
    base: Arc<Layout>,
}

impl Engine {
    pub fn new() -> Self {
        Engine { root: Folder::new(&[]), home: Folder::new(&[(".docker/", "")]), base: busybox() }
    }

    /// The program with this store, in an environment that holds nothing else.
    pub fn kiln<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(args).env_clear().current_dir(self.home.path());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", self.home.path());
        // No Docker of the machine takes part.
        command.env("DOCKER_HOST", format!("unix://{}", self.home.join("no-docker.sock").display()));
        command.env("KILN_ROOT", self.root.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, words: &str) -> Output {
        self.kiln(words.split(' ')).output().expect("it starts")
    }

    /// A build of a folder, with `busybox` as a named context.
    pub fn build(&self, context: &Folder) -> Build<'_> {
        self.build_from(&context.path().display().to_string())
    }

    /// A build of anything that `kiln build` takes as a context.
    pub fn build_from(&self, context: &str) -> Build<'_> {
        Build::new(self, context).args(["--build-context", &self.base.named("busybox")])
    }

    /// Processes of the machine whose arguments hold a text that only this test uses.
    pub fn processes_with(text: &str) -> Vec<u32> {
        pids().into_iter().filter(|pid| proc_file(*pid, "cmdline").contains(text)).collect()
    }

    /// Docker's configuration, as `docker login` writes it.
    pub fn write_docker_config(&self, text: &str) {
        self.home.write(".docker/config.json", text);
    }

    /// Stops the engine; the next build starts it again.
    pub fn stop(&self) {
        let output = self.run("engine stop");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where commands run, and a place for what they write.
    pub fn home(&self) -> &Folder {
        &self.home
    }

    /// Processes of this engine: itself, its helper, and steps.
    pub fn processes(&self) -> Vec<u32> {
        let root = self.root.path().display().to_string();
        let pids = pids();
        let mut family: Vec<u32> =
            pids.iter().copied().filter(|pid| proc_file(*pid, "cmdline").contains(&root)).collect();
        loop {
            let is_new = |pid: &u32| !family.contains(pid) && family.contains(&parent(*pid));
            let Some(child) = pids.iter().copied().find(is_new) else { return family };
            family.push(child);
        }
    }

    /// Mounts that lie in the store, in any namespace of the machine.
    pub fn mounts(&self) -> Vec<String> {
        let root = self.root.path().display().to_string();
        let mounts = |pid| proc_file(pid, "mountinfo").lines().map(str::to_owned).collect::<Vec<_>>();
        let mut all: Vec<_> = pids().into_iter().flat_map(mounts).filter(|l| l.contains(&root)).collect();
        all.sort();
        all.dedup();
        all
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.root.join("engine.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the engine's log ends with:\n{}", self.log());
        }
        let family = self.processes();
        let stop = self.run("engine stop");
        // Those that have ended and were not yet waited for have no arguments.
        let alive = |pid: &u32| !proc_file(*pid, "cmdline").is_empty();
        let left: (Vec<u32>, _) = (family.into_iter().filter(alive).collect(), self.mounts());
        if left.0.is_empty() && left.1.is_empty() && stop.status.success() {
            return;
        }
        for pid in &left.0 {
            let _ = tool("kill").args(["-9", &pid.to_string()]).status();
        }
        let told = format!("{}left behind: {left:?}", String::from_utf8_lossy(&stop.stderr));
        match std::thread::panicking() {
            true => eprintln!("{told}"),
            false => panic!("{told}"),
        }
    }
}

fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("proc is mounted").flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: u32) -> u32 {
    let status = proc_file(pid, "status");
    let line = status.lines().find_map(|l| l.strip_prefix("PPid:"));
    line.and_then(|l| l.trim().parse().ok()).unwrap_or_default()
}

/// A file of a process; empty where the process has gone.
fn proc_file(pid: u32, name: &str) -> String {
    let data = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    String::from_utf8_lossy(&data).into_owned()
}
