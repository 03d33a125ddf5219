//! Arguments of `kiln daemon`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::units::Size;

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

    /// Where to listen: `unix://PATH`, `tcp://HOST:PORT`, or `fd://` for sockets handed over by systemd, of which
    /// `fd://NAME` takes one. Repeatable.
    #[arg(long = "addr", value_name = "ADDRESS")]
    pub addrs: Vec<String>,

    /// Configuration file, in the format of buildkitd.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Allow steps that ask for more than the sandbox: `network.host`, `security.insecure`. Repeatable.
    #[arg(long = "allow-insecure-entitlement", value_name = "NAME")]
    pub allow: Vec<String>,

    /// Let the steps of all builds reach the network only through proxies, which keep account.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub proxy_network: Option<bool>,

    /// Platforms that the engine says it builds, ahead of its own; the first is what a build is for that names none.
    /// Repeatable.
    #[arg(long = "oci-worker-platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub platforms: Vec<String>,

    /// How steps reach the network: auto, host, cni or bridge.
    #[arg(long = "oci-worker-net", value_name = "MODE")]
    pub network: Option<String>,

    /// Configuration of the network of steps, for CNI plugins.
    #[arg(long = "oci-cni-config-path", value_name = "FILE")]
    pub cni_config_path: Option<PathBuf>,

    /// Folder of CNI plugins.
    #[arg(long = "oci-cni-binary-dir", value_name = "FOLDER")]
    pub cni_binary_dir: Option<PathBuf>,

    /// Network namespaces that are kept ready for steps.
    #[arg(long = "oci-cni-pool-size", value_name = "COUNT")]
    pub cni_pool_size: Option<usize>,

    /// Let no step ask for devices.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        hide = true)]
    pub cdi_disabled: Option<bool>,

    /// Folder of spec files of devices that steps may ask for. Repeatable.
    #[arg(long = "cdi-spec-dir", value_name = "FOLDER", value_delimiter = ',')]
    pub cdi_spec_dirs: Vec<PathBuf>,

    /// Label of the worker, as `KEY=VALUE`, shown to clients. Repeatable.
    #[arg(long = "oci-worker-labels", value_name = "LABEL", value_parser = label, value_delimiter = ',', hide = true)]
    pub labels: Vec<(String, String)>,

    /// Keep the build cache within its limits.
    #[arg(long = "oci-worker-gc", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide = true)]
    pub gc: Option<bool>,

    /// Limits of the build cache in megabytes: `RESERVED[,FREE[,MAXIMUM]]`.
    #[arg(long = "oci-worker-gc-keepstorage", value_name = "LIMITS", value_parser = limits, hide = true)]
    pub gc_limits: Option<[Size; 3]>,

    /// Certificate for what comes over TCP.
    #[arg(long = "tlscert", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Key of that certificate.
    #[arg(long = "tlskey", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Let in over TCP only clients that have a certificate of this authority.
    #[arg(long = "tlscacert", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,

    /// Group that may use the engine's sockets, by name or number.
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,

    /// Serve a view into the engine's doings over HTTP, at `HOST:PORT` or `unix://PATH`.
    #[arg(long = "debugaddr", env = "BUILDKITD_DEBUGADDR", value_name = "ADDRESS", hide_env = true)]
    pub debug_address: Option<String>,

    /// Form of the log: text or json.
    #[arg(long, value_name = "FORM", value_parser = ["text", "json"])]
    pub log_format: Option<String>,

    /// What the log tells: panic, fatal, error, warn, info, debug or trace.
    #[arg(long, env = "BUILDKITD_LOG_LEVEL", value_name = "LEVEL", hide_env = true)]
    pub log_level: Option<String>,

    /// Steps that run at the same time: a number, or `num-cpu`.
    #[arg(long = "oci-max-parallelism", value_name = "COUNT", value_parser = parallelism, hide = true)]
    pub max_parallelism: Option<usize>,

    /// Stop after this time without a client, as `15m`. Runs on by default.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub idle_timeout: Option<Duration>,

    /// Look for damage in the store and repair it, in place of running.
    #[arg(long, hide = true)]
    pub check: bool,

    /// Log more.
    #[arg(long)]
    pub debug: bool,
}

/// `key=value`, or a key alone.
fn label(text: &str) -> Result<(String, String), std::convert::Infallible> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((key.to_owned(), value.to_owned()))
}

/// A number, or that of the processors.
fn parallelism(text: &str) -> Result<usize, String> {
    match text {
        "num-cpu" => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        number => number.parse().map_err(|_| format!("`{number}` is neither a number nor `num-cpu`")),
    }
}

/// Reserved, free and maximum, each in megabytes or as a share of the disk; those that are missing are not set.
fn limits(text: &str) -> Result<[Size; 3], String> {
    let mut limits = [Size::default(); 3];
    let words: Vec<_> = text.split(',').map(str::trim).collect();
    if words.len() > limits.len() {
        return Err(format!("`{text}` has more than three limits"));
    }
    for (limit, word) in limits.iter_mut().zip(words) {
        *limit = match word.parse::<u64>() {
            Ok(megabytes) => Size::Bytes(megabytes.saturating_mul(1_000_000)),
            Err(_) => Size::parse(word).ok_or_else(|| format!("`{word}` is no size; write it as `9000`"))?,
        };
    }
    Ok(limits)
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
    fn limits_are_megabytes() {
        let mb = |n: u64| Size::Bytes(n * 1_000_000);
        assert_eq!(limits("9000"), Ok([mb(9000), mb(0), mb(0)]));
        assert_eq!(limits("1, 20% ,3"), Ok([mb(1), Size::Percent(20), mb(3)]));
        assert!(limits("x").is_err() && limits("1,2,3,4").is_err());
        let gc = |words: &[&str]| Args::try_parse_from([&["d"], words].concat()).map(|a| a.gc).ok();
        assert_eq!(gc(&["--oci-worker-gc"]), Some(Some(true)));
        assert_eq!(gc(&["--oci-worker-gc=false", "--debug"]), Some(Some(false)));
        assert_eq!(gc(&[]), Some(None));
    }

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
