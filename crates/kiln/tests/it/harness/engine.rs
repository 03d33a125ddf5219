use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Build, Folder, Layout, busybox, tool};

/// A store of its own and the engine on it, which starts with the first build. The end of the value is the end of the
/// engine, and a test fails that leaves a process or a mount behind.
pub struct Engine {
    root: PathBuf,
    /// Where `root` lies, unless it was given.
    _root: Option<Folder>,
    home: Folder,
    base: Arc<Layout>,
    /// Where a test starts the engine itself.
    daemon: Option<Child>,
    /// What stands before the program, such as `unshare --mount`.
    wrapper: Vec<String>,
}

impl Engine {
    pub fn new() -> Self {
        let folder = Folder::new(&[]);
        Engine::on(folder.path().to_owned(), Some(folder))
    }

    /// An engine with a configuration file, which runs from the start.
    pub fn with_config(text: &str) -> Self {
        Engine::new().configured(text)
    }

    /// The same, also in the place of one that has ended.
    pub fn configured(mut self, text: &str) -> Self {
        if let Some(mut ended) = self.daemon.take() {
            let _ = ended.wait();
        }
        self.home.write("kiln.toml", text);
        let log = std::fs::File::create(self.root.join("engine.log")).expect("a log");
        let mut daemon = self.kiln(["daemon", "--config", "kiln.toml"]);
        daemon.stdout(Stdio::null()).stderr(log);
        self.daemon = Some(daemon.spawn().expect("it starts"));
        let began = Instant::now();
        while !self.log().contains("listening on unix://") {
            assert!(began.elapsed() < Duration::from_secs(20), "it does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        self
    }

    /// Bytes that the store takes, as `du` counts them.
    pub fn disk(&self) -> u64 {
        // What vanishes meanwhile is no fault.
        let output = tool("du").args(["-s", "-x", "--block-size=1"]).arg(&self.root).output();
        let text = String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned();
        text.split('\t').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no size: {text}"))
    }

    /// One on a store that lies in a given folder and stays there.
    pub fn at(root: &Path) -> Self {
        Engine::on(root.to_owned(), None)
    }

    fn on(root: PathBuf, folder: Option<Folder>) -> Self {
        let home = Folder::new(&[(".docker/", "")]);
        Engine { root, _root: folder, home, base: busybox(), daemon: None, wrapper: Vec::new() }
    }

    /// The program is started by this command, which is given it with its arguments.
    pub fn wrapped(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The folder of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The program with this store, in an environment that holds nothing else.
    pub fn kiln<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut words = self.wrapper.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_kiln")]);
        let mut command = Command::new(words.next().expect("at least the program"));
        command.args(words).args(args).env_clear().current_dir(self.home.path());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", self.home.path());
        // No Docker of the machine takes part.
        command.env("DOCKER_HOST", format!("unix://{}", self.home.join("no-docker.sock").display()));
        command.env("KILN_ROOT", &self.root);
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

    /// Asks the engine to stop, and once more where the disk of a busy machine is slow to take what it has to write.
    fn ask_to_stop(&self) -> Output {
        let mut output = self.run("engine stop");
        for _ in 0..4 {
            if output.status.success() || !String::from_utf8_lossy(&output.stderr).contains("does not stop") {
                break;
            }
            output = self.run("engine stop");
        }
        output
    }

    /// Stops the engine; the next build starts it again.
    pub fn stop(&self) {
        let output = self.ask_to_stop();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The engine's process, as `kiln engine status` tells it.
    pub fn pid(&self) -> Option<u32> {
        let output = self.run("engine status");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|l| l.strip_prefix("Process:"))?;
        Some(line.trim().parse().expect("a number"))
    }

    /// Where commands run, and a place for what they write.
    pub fn home(&self) -> &Folder {
        &self.home
    }

    /// Processes of this engine: itself, its helper, and steps.
    pub fn processes(&self) -> Vec<u32> {
        let root = self.root.display().to_string();
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
        let root = self.root.display().to_string();
        let mounts = |pid| proc_file(pid, "mountinfo").lines().map(str::to_owned).collect::<Vec<_>>();
        let mut all: Vec<_> = pids().into_iter().flat_map(mounts).filter(|l| l.contains(&root)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// What the engine has told, and those before it on this store.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.root.join("engine.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("the engine's log ends with:\n{end}");
        }
        let family = self.processes();
        let stop = self.ask_to_stop();
        let alive = |pid: &u32| is_alive(*pid);
        let left: (Vec<u32>, _) = (family.into_iter().filter(alive).collect(), self.mounts());
        for pid in &left.0 {
            let _ = tool("kill").args(["-9", &pid.to_string()]).status();
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.wait();
        }
        if left.0.is_empty() && left.1.is_empty() && stop.status.success() {
            return;
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

/// Whether a process runs: one that has ended and was not yet waited for has no arguments.
pub fn is_alive(pid: u32) -> bool {
    !proc_file(pid, "cmdline").is_empty()
}

/// A file of a process; empty where the process has gone.
pub(super) fn proc_file(pid: u32, name: &str) -> String {
    let data = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    String::from_utf8_lossy(&data).into_owned()
}
