//! Programs that run for the benchmark, and end with it.

use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A program in the background. Dropped, it is told to end and waited for.
pub struct Background {
    child: Child,
}

impl Background {
    /// Starts `command`, whose output goes to `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let out = std::fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Background { child })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by force.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(20) {
            if self.has_ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end. Its output is shown where it fails.
pub fn run(command: &mut Command) -> Result<()> {
    run_within(command, Duration::MAX).map(drop)
}

/// Runs a command to its end, or for as long as `limit`; says whether it ended by itself.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<bool> {
    let (mut stderr, mut log) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(stderr.try_clone()?);
    let child = command.spawn();
    let mut child = child.with_context(|| format!("cannot start {:?}", command.get_program()))?;
    let pidfd = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pidfd, rustix::process::PidfdFlags::empty())?;
    let timeout = rustix::event::Timespec::try_from(limit).ok();
    let mut ended = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    if rustix::event::poll(&mut ended, timeout.as_ref())? == 0 {
        child.kill()?;
        child.wait()?;
        return Ok(false);
    }
    let status = child.wait()?;
    if !status.success() {
        let mut text = String::new();
        for file in [&mut log, &mut stderr] {
            file.rewind()?;
            file.read_to_string(&mut text)?;
        }
        let from = text.lines().count().saturating_sub(30);
        let tail: Vec<&str> = text.lines().skip(from).collect();
        bail!("{command:?} failed, {status}:\n{}", tail.join("\n"));
    }
    Ok(true)
}

/// A program in PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The first line of what a program says of its version.
pub fn version(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
