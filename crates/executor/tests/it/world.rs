//! A root file system of busybox, a writable layer over it, and an executor.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use executor::{Executor, Exit, Io, Options, Spec, Stream};
use fsutil::mount::{Mount, Source, Upper};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub struct World {
    pub dir: TempDir,
    pub executor: Executor,
    cgroup_parent: String,
}

/// How a run ended and what it wrote.
#[derive(Debug)]
pub struct Ran {
    pub exit: Exit,
    pub usage: Option<meter::Usage>,
    pub stdout: String,
    pub stderr: String,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An id that no other test, of this process or another, uses.
pub fn unique() -> String {
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl World {
    pub fn new() -> World {
        World::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> World {
        let dir = tempfile::tempdir().expect("tempdir");
        let bin = dir.path().join("base/bin");
        fs::create_dir_all(&bin).expect("mkdir");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is installed");
        let applets = "sh ls cat id true false sleep env stat echo kill touch mkdir rm mount ps head dd tail stty \
                       hostname grep wc tr mknod chroot seq sync ip nproc test ulimit";
        for applet in applets.split_whitespace() {
            symlink("busybox", bin.join(applet)).expect("symlink");
        }
        let mut options = Options::new(dir.path().join("state"));
        let cgroup_parent = format!("kiln-{}", unique());
        options.cgroup_parent = cgroup_parent.clone();
        change(&mut options);
        let executor = Executor::start(options).expect("an executor");
        World { dir, executor, cgroup_parent }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Adds a file to the lower layer.
    pub fn base(&self, path: &str, text: &str) -> &Self {
        let path = self.path("base").join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("mkdir");
        fs::write(path, text).expect("write");
        self
    }

    /// A writable root over the base; `layer` names its upper directory.
    pub fn root(&self, layer: &str) -> Mount {
        let [dir, work] = [layer.to_owned(), format!("{layer}.work")].map(|name| self.path(&name));
        fs::create_dir_all(&dir).expect("mkdir");
        fs::create_dir_all(&work).expect("mkdir");
        Mount::new(Source::Overlay { lower: vec![self.path("base")], upper: Some(Upper { dir, work }) }, "/")
    }

    pub fn spec(&self, args: &[&str]) -> Spec {
        let id = unique();
        let mut spec = Spec::new(id.clone(), self.root(&id), args.iter().copied());
        spec.process.env = vec!["PATH=/usr/bin:/bin".into()];
        spec
    }

    pub fn shell(&self, script: &str) -> Spec {
        self.spec(&["/bin/sh", "-c", script])
    }

    pub async fn try_run(&self, spec: Spec) -> errdefs::Result<Ran> {
        let output = Arc::new(Mutex::new([Vec::new(), Vec::new()]));
        let sink = Arc::clone(&output);
        let io = Io::new(move |stream, chunk| {
            sink.lock().expect("no panic")[usize::from(stream == Stream::Stderr)].extend_from_slice(&chunk);
        });
        let (exit, usage) = self.executor.run_metered(spec, io, CancellationToken::new()).await?;
        let [stdout, stderr] = std::mem::take(&mut *output.lock().expect("no panic"));
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ok(Ran { exit, usage, stdout: text(stdout), stderr: text(stderr) })
    }

    pub async fn run(&self, spec: Spec) -> Ran {
        self.try_run(spec).await.expect("a container")
    }

    /// What a script prints; it must succeed.
    pub async fn output(&self, spec: Spec) -> String {
        let ran = self.run(spec).await;
        assert!(ran.exit.success(), "{ran:?}");
        ran.stdout
    }

    /// All paths below `dir`, relative to it.
    pub fn listing(&self, dir: &str) -> BTreeSet<String> {
        let top = self.path(dir);
        let mut found = BTreeSet::new();
        let mut open = vec![top.clone()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).expect("readable") {
                let path = entry.expect("an entry").path();
                found.insert(path.strip_prefix(&top).expect("below").display().to_string());
                if path.is_dir() && !path.is_symlink() {
                    open.push(path);
                }
            }
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The parent of the containers' cgroups stays; they are gone themselves.
        remove_cgroup(&self.cgroup_parent);
    }
}

/// Removes a cgroup that is empty, or is so in a moment.
pub fn remove_cgroup(name: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while cgroups(name).iter().any(|dir| fs::remove_dir(dir).is_err()) && std::time::Instant::now() < deadline
    {
        std::thread::yield_now();
    }
}

/// Cgroup directories with this name, in any hierarchy.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|e| e.path());
    let roots = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
    roots.map(|root| root.join(name)).filter(|dir| dir.is_dir()).collect()
}

/// Processes whose command line has `mark` in it.
pub fn processes(mark: &str) -> Vec<String> {
    let pids = fs::read_dir("/proc").expect("proc").flatten().map(|e| e.path());
    let lines = pids.filter_map(|dir| fs::read(dir.join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(mark))
        .collect()
}

/// Waits until `done`, which takes the kernel a moment; fails after five seconds.
pub async fn eventually(what: &str, done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

pub fn tmpfs(target: &str) -> Mount {
    Mount::new(Source::Tmpfs { size: Some(1 << 20), mode: 0o755 }, target)
}

pub fn bind(source: &Path, target: &str) -> Mount {
    Mount::new(Source::Bind(source.to_owned()), target)
}
