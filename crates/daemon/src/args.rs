//! Arguments of `kiln daemon`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Run the build engine in the foreground.
///
/// It speaks BuildKit's protocol, so that buildctl, docker buildx and `kiln build` can use it. `kiln build` starts one
/// in the background when none answers.
#[derive(Debug, Clone, Parser)]
#[command(name = "kiln daemon", version)]
pub struct Args {
    /// Folder of the store.
    #[arg(long, env = "KILN_ROOT", value_name = "FOLDER")]
    pub root: Option<PathBuf>,

    /// Where to listen: `unix://PATH`, or `fd://` for sockets handed over by systemd. Repeatable.
    #[arg(long = "addr", value_name = "ADDRESS")]
    pub addrs: Vec<String>,

    /// Configuration file, in the format of buildkitd.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Allow steps that ask for more than the sandbox: `network.host`, `security.insecure`. Repeatable.
    #[arg(long = "allow-insecure-entitlement", value_name = "NAME")]
    pub allow: Vec<String>,

    /// Label of the worker, as `KEY=VALUE`, shown to clients. Repeatable.
    #[arg(long = "oci-worker-labels", value_name = "LABEL", value_parser = label, value_delimiter = ',', hide = true)]
    pub labels: Vec<(String, String)>,

    /// Stop after this time without a client, as `15m`. Runs on by default.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub idle_timeout: Option<Duration>,

    /// Log more.
    #[arg(long)]
    pub debug: bool,
}

/// `key=value`, or a key alone.
fn label(text: &str) -> Result<(String, String), std::convert::Infallible> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((key.to_owned(), value.to_owned()))
}

/// `90`, `90s`, `15m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("`{text}` is no duration; write it as `90s` or `15m`"))?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("`{unit}` is no unit of time; use s, m or h")),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let seconds = |t| duration(t).map(|d| d.as_secs()).ok();
        assert_eq!(
            [seconds("90"), seconds("90s"), seconds("15m"), seconds("2h")],
            [Some(90), Some(90), Some(900), Some(7200)]
        );
        assert_eq!([seconds("x"), seconds("3d"), seconds("")], [None; 3]);
    }
}
