//! Connecting, and starting the user's own engine when it does not answer.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use client::{Address, Client};
use errdefs::{Code, Error, Result, ResultExt as _};
use rustix::fs::{FlockOperation, MemfdFlags, flock, memfd_create};

use crate::commands::VERSION;
use crate::console;
use crate::engine::{EngineProcess, Home, Place};

/// An engine that nobody uses ends after this time.
const IDLE_TIMEOUT: &str = "15m";
/// An engine that does not answer by then is given up.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// An engine that ends lets go of the store within this time, unless it still builds.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(60);
/// An engine that takes connections and does not answer is asked again for this time.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);
/// Waiting that takes longer than this is told.
const UNTOLD_WAIT: Duration = Duration::from_secs(1);
/// A log that is larger, in bytes, is put aside at the next start.
const LONG_LOG: u64 = 8 << 20;
/// An engine of another version has this long to end its builds.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(600);

/// Connects to the engine that is meant, and starts it if it is the user's own and does not run.
pub(crate) async fn connect(place: &Place) -> Result<Client> {
    let home = match place {
        Place::Given(address, tls) => return Client::connect_with(address, tls).await,
        Place::Own(home) => home,
    };
    let began = Instant::now();
    loop {
        let client = match try_connect(home).await? {
            Some(client) => client,
            None => start(home).await?,
        };
        match is_current(&client).await {
            Ok(true) => return Ok(client),
            Ok(false) => {
                drop(client);
                return replace(home).await;
            }
            // It ended just now: it was idle for long enough, or somebody killed it. A connection that breaks off comes
            // under several codes.
            Err(e)
                if matches!(e.code(), Code::Unavailable | Code::Unknown | Code::Canceled)
                    && began.elapsed() < ENDING_TIMEOUT =>
            {
                tracing::debug!("an engine that was about to end: {e}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(e) => return Err(e),
        }
    }
}

/// Connects to the engine that is meant if it runs.
pub(crate) async fn connect_running(place: &Place) -> Result<Option<Client>> {
    match place {
        Place::Given(address, tls) => Client::connect_with(address, tls).await.map(Some),
        Place::Own(home) => try_connect(home).await,
    }
}

async fn try_connect(home: &Home) -> Result<Option<Client>> {
    match Client::connect(&Address::Unix(home.socket.clone())).await {
        Ok(client) => Ok(Some(client)),
        Err(e) if e.code() == Code::Unavailable && nobody_listens(&home.socket) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether a connection is refused because there is no engine, and not for want of a right.
fn nobody_listens(socket: &Path) -> bool {
    use std::io::ErrorKind;
    match std::os::unix::net::UnixStream::connect(socket) {
        Ok(_) => true,
        Err(e) => matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused),
    }
}

/// An engine and a client of one version understand each other in all they do.
async fn is_current(client: &Client) -> Result<bool> {
    let version = client.version().await?.unwrap_or_default();
    tracing::debug!(?version, "connected");
    Ok(version.package != "kiln" || version.version == VERSION)
}

/// Lets an engine of another version end, and starts one of this.
async fn replace(home: &Home) -> Result<Client> {
    if let Some(old) = EngineProcess::behind(&home.socket)? {
        console::note(format_args!(
            "The engine is of another version than this one, {VERSION}: replacing it\n"
        ));
        old.tell_to_stop()?;
        tokio::task::spawn_blocking(move || old.wait(DRAIN_TIMEOUT))
            .await
            .map_err(|e| Error::internal(e.to_string()))??;
    }
    start(home).await
}

/// Starts an engine, unless another process does just now: then that one is waited for.
async fn start(home: &Home) -> Result<Client> {
    let home = home.clone();
    let waiting = home.clone();
    prepare(&home)?;
    let _lock = tokio::task::spawn_blocking(move || lock(&waiting))
        .await
        .map_err(|e| Error::internal(e.to_string()))??;
    if let Some(client) = try_connect(&home).await? {
        return Ok(client);
    }
    wait_for_store(&home).await;
    put_long_log_aside(&home);
    let log_start = home.log.metadata().map_or(0, |m| m.len());
    let (mut child, words) = spawn(&home)?;
    let began = Instant::now();
    loop {
        if home.socket.exists()
            && let Some(client) = try_connect(&home).await?
        {
            tracing::debug!(pid = child.id(), took = ?began.elapsed(), "started an engine");
            return Ok(client);
        }
        if let Ok(Some(status)) = child.try_wait() {
            let what = format!("the engine did not start ({status})");
            return Err(failed(&home, log_start, &words, &what));
        }
        if began.elapsed() > START_TIMEOUT {
            let _ = child.kill();
            return Err(failed(&home, log_start, &words, "the engine did not answer in time"));
        }
        // The file system tells nothing of a socket that is listened on, so look again; the first looks are close
        // together since a start takes milliseconds.
        tokio::time::sleep((began.elapsed() / 4).clamp(Duration::from_millis(1), Duration::from_millis(50)))
            .await;
    }
}

/// An engine that has just closed its socket may still hold the store. One that keeps it is told of by the engine that
/// is started in vain.
async fn wait_for_store(home: &Home) {
    let began = Instant::now();
    let mut told = false;
    while began.elapsed() < RELEASE_TIMEOUT {
        let Ok(file) = File::open(&home.store_lock) else { return };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return;
        }
        if !told && began.elapsed() > UNTOLD_WAIT {
            told = true;
            console::note(format_args!("Waiting for another engine to let go of {}\n", home.root.display()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes the folders of the store and of the socket. What others could write into is not used.
fn prepare(home: &Home) -> Result<()> {
    for dir in [Some(home.root.as_path()), home.socket.parent()].into_iter().flatten() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("failed to make `{}`", dir.display()))?;
        let stat = dir.metadata().with_context(|| format!("failed to look at `{}`", dir.display()))?;
        let uid = rustix::process::geteuid().as_raw();
        if stat.uid() != uid && uid != 0 {
            return Err(Error::environment(format!("`{}` belongs to somebody else", dir.display()))
                .hint("choose another folder with `--root`"));
        }
    }
    Ok(())
}

fn lock(home: &Home) -> Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&home.start_lock);
    let file = file.with_context(|| format!("failed to open `{}`", home.start_lock.display()))?;
    flock(&file, FlockOperation::LockExclusive).map_err(std::io::Error::from).context("failed to lock")?;
    Ok(file)
}

/// Starts `kiln daemon`, apart from this terminal and its session. The file is in memory; it holds what the engine could
/// not write into its log, for want of room.
fn spawn(home: &Home) -> Result<(Child, File)> {
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&home.log);
    let log = log.with_context(|| format!("failed to open `{}`", home.log.display()))?;
    let words = memfd_create("last words", MemfdFlags::CLOEXEC).map(File::from);
    let words = words.map_err(std::io::Error::from).context("failed to start the engine")?;
    let also = words.try_clone().context("failed to start the engine")?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("kiln").arg("daemon").arg("--root").arg(&home.root);
    command.arg("--addr").arg(format!("unix://{}", home.socket.display()));
    command.args(["--idle-timeout", IDLE_TIMEOUT]);
    if let Some(config) = &home.config {
        let path = home.root.join("buildkitd.toml");
        std::fs::write(&path, config).with_context(|| format!("failed to write `{}`", path.display()))?;
        command.arg("--config").arg(path);
    }
    command.args(&home.flags);
    command.current_dir("/").stdin(Stdio::null()).stdout(also).stderr(log);
    // SAFETY: setsid is async-signal-safe, and the closure touches nothing of the parent.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
    Ok((command.spawn().context("failed to start the engine")?, words))
}

fn put_long_log_aside(home: &Home) {
    if home.log.metadata().is_ok_and(|m| m.len() > LONG_LOG) {
        let _ = std::fs::rename(&home.log, home.log.with_extension("log.old"));
    }
}

/// The error of a start, with what the engine said of it in its log, or where that was full.
fn failed(home: &Home, log_start: u64, words: &File, what: &str) -> Error {
    let log = std::fs::read(&home.log).unwrap_or_default();
    let mut said =
        usize::try_from(log_start).ok().and_then(|start| log.get(start..)).unwrap_or_default().to_vec();
    // The engine has written through the same file, so it is at its end.
    let mut words = words;
    let _what_the_log_has_is_all = words.rewind().and_then(|()| words.read_to_end(&mut said));
    let error = match reason(&String::from_utf8_lossy(&said)) {
        Some(reason) => Error::environment(format!("{what}: {reason}")),
        None => Error::environment(what.to_owned()),
    };
    error.hint(format!("its log is `{}`", home.log.display()))
}

/// The last error of a log, or else its last line.
fn reason(log: &str) -> Option<&str> {
    let lines = || log.lines().rev().map(str::trim).filter(|l| !l.is_empty());
    lines().find_map(|l| l.strip_prefix("ERROR: ")).or_else(|| lines().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let check = |log, expect| assert_eq!(reason(log), expect, "{log:?}");
        check("", None);
        check("INFO x\nERROR: could not lock\nhint: stop it\n", Some("could not lock"));
        check("thread main panicked\n\n", Some("thread main panicked"));
    }
}
