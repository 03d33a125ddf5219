//! The engine's own log, on its standard error.

use errdefs::{Error, Result};
use tracing_subscriber::EnvFilter;

use crate::args::Args;
use crate::config::Config;

/// Libraries that say more than anybody wants to read.
const QUIET: &str = "h2=info,hyper=info,tower=info,rustls=info";

/// Starts it, as flags and configuration say.
pub fn start(args: &Args, config: &Config) -> Result<()> {
    let level = level(args, config)?;
    let wanted = match level {
        "debug" | "trace" => format!("{level},{QUIET}"),
        level => level.to_owned(),
    };
    let filter = EnvFilter::try_from_env("KILN_LOG").unwrap_or_else(|_| EnvFilter::new(wanted));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match args.log_format.as_deref().unwrap_or(&config.log.format) {
        "json" => log.json().init(),
        "" | "text" => log.init(),
        other => return Err(Error::user(format!("unsupported log type {other:?}")).hint("text or json")),
    }
    Ok(())
}

fn level<'a>(args: &'a Args, config: &'a Config) -> Result<&'a str> {
    let named = args.log_level.as_deref().or(Some(&config.log.level)).filter(|level| !level.is_empty());
    if args.debug || config.debug {
        return Ok("debug");
    }
    match named {
        None if config.trace => Ok("trace"),
        None => Ok("info"),
        Some("panic" | "fatal" | "error") => Ok("error"),
        Some("warning") => Ok("warn"),
        Some(level @ ("warn" | "info" | "debug" | "trace")) => Ok(level),
        Some(other) => Err(Error::user(format!("not a valid log level: {other:?}"))
            .hint("panic, fatal, error, warn, info, debug or trace")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn levels() {
        let check = |words: &[&str], config: &str, expect: &str| {
            let args = Args::try_parse_from([&["d"], words].concat()).expect("valid");
            let config = Config::parse(config).expect("valid");
            let told = level(&args, &config).map(str::to_owned).unwrap_or_else(|e| e.to_string());
            assert_eq!(told, expect, "{words:?}");
        };
        check(&[], "", "info");
        check(&["--log-level=warning"], "", "warn");
        check(&["--debug"], "[log]\nlevel = \"error\"", "debug");
        check(&[], "[log]\nlevel = \"fatal\"", "error");
        check(&[], "trace = true", "trace");
        check(&["--log-level=loud"], "", "not a valid log level: \"loud\"");
    }
}
