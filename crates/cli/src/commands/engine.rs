use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use errdefs::{Code, Error, Result, ResultExt as _};

use crate::args::{EngineCommand, LogsArgs};
use crate::console;
use crate::engine::{EngineProcess, Home, Place, connect_running};
use crate::table::Table;

/// An engine that was told to stop ends within this time.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Looks after the engine.
pub(crate) async fn engine(command: &EngineCommand, place: &Place) -> Result<ExitCode> {
    match (command, place) {
        (EngineCommand::Status, _) => status(place).await,
        (EngineCommand::Stop(args), Place::Own(home)) => stop(home, args.force),
        (EngineCommand::Check, Place::Own(home)) => check(home),
        (EngineCommand::Logs(args), Place::Own(home)) => logs(args, &home.log).await,
        (
            EngineCommand::Stop(_) | EngineCommand::Check | EngineCommand::Logs(_),
            Place::Given(address, _),
        ) => Err(Error::user(format!("the engine at `{address}` is not one that kiln looks after"))),
    }
}

/// Tells whether an engine runs; the exit code tells it too.
async fn status(place: &Place) -> Result<ExitCode> {
    let mut table = Table::default();
    let mut put = |name: &str, value: String| table.row([format!("{name}:"), value]);
    let client = connect_running(place).await?;
    match &client {
        None => put("Engine", "not running; the next build starts it".into()),
        Some(client) => {
            let version = client.version().await?.unwrap_or_default();
            put("Engine", format!("{} {} running", version.package, version.version));
            if let Place::Own(home) = place
                && let Some(process) = EngineProcess::behind(&home.socket)?
            {
                put("Process", process.pid.as_raw_nonzero().to_string());
            }
            for worker in client.workers().await? {
                put("Platforms", worker.platforms.join(", "));
            }
        }
    }
    put("Address", place.address().to_string());
    if let Place::Own(home) = place {
        put("Store", home.root.display().to_string());
        put("Log", home.log.display().to_string());
    }
    console::out(table.to_string())?;
    Ok(if client.is_some() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn stop(home: &Home, force: bool) -> Result<ExitCode> {
    match EngineProcess::behind(&home.socket)? {
        Some(process) => {
            process.tell_to_stop()?;
            if force {
                process.tell_to_hurry()?;
            }
            process.wait(STOP_TIMEOUT)?;
            console::out("The engine has stopped.\n")?;
        }
        None => console::out("The engine is not running.\n")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets the engine's side of this program look through the store: the command line knows nothing of it.
fn check(home: &Home) -> Result<ExitCode> {
    if EngineProcess::behind(&home.socket)?.is_some() {
        return Err(Error::environment("the engine is running on this store")
            .with_code(Code::FailedPrecondition)
            .hint("stop it first with `kiln engine stop`"));
    }
    if !home.root.exists() {
        return Err(Error::not_found(format!("there is no store at `{}`", home.root.display())));
    }
    let status = Command::new("/proc/self/exe")
        .arg0("kiln")
        .args(["daemon", "--check", "--root"])
        .arg(&home.root)
        .status()
        .context("failed to start the check")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

async fn logs(args: &LogsArgs, path: &Path) -> Result<ExitCode> {
    let failed = || format!("failed to read `{}`", path.display());
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::not_found("there is no log: no engine has run yet"));
        }
        Err(e) => return Err(Error::from(e).context(failed())),
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text).with_context(failed)?;
    console::out(last_lines(&text, args.lines))?;
    let mut at = text.len() as u64;
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        text.clear();
        file.seek(SeekFrom::Start(at)).with_context(failed)?;
        at += file.read_to_end(&mut text).with_context(failed)? as u64;
        console::out(&text)?;
    }
}

/// The end of `text` that holds `count` lines.
fn last_lines(text: &[u8], count: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let mut ends = body.iter().enumerate().rev().filter(|(_, b)| **b == b'\n').map(|(i, _)| i);
    match count.checked_sub(1) {
        None => &[],
        Some(before) => ends.nth(before).map_or(text, |i| &text[i + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_logs() {
        let check = |text: &str, count, expect: &str| {
            assert_eq!(
                String::from_utf8_lossy(last_lines(text.as_bytes(), count)),
                expect,
                "{text:?} {count}"
            );
        };
        check("a\nb\nc\n", 2, "b\nc\n");
        check("a\nb\nc", 2, "b\nc");
        check("a\nb\n", 9, "a\nb\n");
        check("a\nb\n", 0, "");
        check("", 3, "");
    }
}
