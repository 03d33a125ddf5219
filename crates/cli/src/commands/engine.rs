use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use errdefs::{Error, Result, ResultExt as _};

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
        (EngineCommand::Stop, Place::Own(home)) => stop(home),
        (EngineCommand::Logs(args), Place::Own(home)) => logs(args, &home.log).await,
        (EngineCommand::Stop | EngineCommand::Logs(_), Place::Given(address)) => {
            Err(Error::user(format!("the engine at `{address}` is not one that kiln looks after")))
        }
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

fn stop(home: &Home) -> Result<ExitCode> {
    match EngineProcess::behind(&home.socket)? {
        Some(process) => {
            process.stop(STOP_TIMEOUT)?;
            console::out("The engine has stopped.\n")?;
        }
        None => console::out("The engine is not running.\n")?,
    }
    Ok(ExitCode::SUCCESS)
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
