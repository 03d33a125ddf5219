//! Options of a build.

use std::collections::BTreeMap;

use dockerfile::{ULIMITS, csv, go};
use errdefs::{Error, Result, ResultExt};
use frontend::FrontendRequest;
use frontend::sbom::ScanOptions;
use llb::{HostIp, LinuxResources, NetMode, Ulimit};
use oci::Platform;

use crate::state::host_ip;

/// What the client asked for, checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// What is asked in place of a build; empty for a build.
    pub request: String,
    /// The one who asks wants all that Kiln knows, not only what BuildKit would say.
    pub in_full: bool,
    pub target: String,
    pub build_args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Empty is the engine's own.
    pub platforms: Vec<Platform>,
    /// The result is a map, even of one platform.
    pub multi_platform: bool,
    pub no_cache: NoCache,
    pub resolve_mode: String,
    pub network: NetMode,
    pub extra_hosts: Vec<HostIp>,
    pub hostname: String,
    /// Bytes; 0 leaves it to the engine.
    pub shm_size: i64,
    pub ulimits: Vec<Ulimit>,
    pub cgroup_parent: String,
    pub resources: Option<LinuxResources>,
    pub cache_namespace: String,
    /// Names of stages and images to what replaces them.
    pub contexts: BTreeMap<String, String>,
    /// Sessions of local sources that are not the build's own.
    pub local_sessions: BTreeMap<String, String>,
    /// Keys that tell apart the folders which clients send under one name.
    pub shared_keys: BTreeMap<String, String>,
    /// `input:` contexts: JSON maps of metadata.
    pub input_metadata: BTreeMap<String, String>,
    pub context: ContextConfig,
    /// The result is to be scanned.
    pub scan: Option<ScanOptions>,
}

/// Where the Dockerfile and the build context come from.
#[derive(Debug, Clone)]
pub(crate) struct ContextConfig {
    /// The value of the option that names a remote context.
    pub remote: String,
    pub subdir: Option<String>,
    pub filename: String,
    /// The name of the local source with the Dockerfile.
    pub dockerfile_name: String,
    /// The Dockerfile comes from the client even when the context does not.
    pub dockerfile_is_local: bool,
}

impl Default for ContextConfig {
    fn default() -> Self {
        ContextConfig {
            remote: String::new(),
            subdir: None,
            filename: "Dockerfile".into(),
            dockerfile_name: "dockerfile".into(),
            dockerfile_is_local: false,
        }
    }
}

/// Stages whose steps are run anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum NoCache {
    #[default]
    Nothing,
    All,
    Stages(Vec<String>),
}

impl NoCache {
    pub fn holds_for(&self, stage: &str) -> bool {
        match self {
            NoCache::Nothing => false,
            NoCache::All => true,
            NoCache::Stages(names) => names.iter().any(|n| n.eq_ignore_ascii_case(stage)),
        }
    }
}

const KNOWN_CAPS: [&str; 4] = [
    "moby.buildkit.frontend.inputs",
    "moby.buildkit.frontend.subrequests",
    "moby.buildkit.frontend.contexts",
    "moby.buildkit.frontend.gitquerystring",
];

impl Config {
    /// # Errors
    /// For values that cannot be read.
    pub fn read(request: &FrontendRequest) -> Result<Config> {
        let opts = &request.opts;
        let get = |key: &str| opts.get(key).map_or("", String::as_str);
        refuse(opts)?;
        let platforms = platforms(get("platform"))?;
        let multi_platform = multi_platform(opts, platforms.len())?;
        let overridden = |key: &str, arg: &str| match get(arg) {
            "" => get(key).to_owned(),
            value => value.to_owned(),
        };
        Ok(Config {
            request: get("requestid").to_owned(),
            in_full: get("kiln.check") == "full",
            target: get("target").to_owned(),
            build_args: with_prefix(opts, "build-arg:"),
            labels: with_prefix(opts, "label:"),
            platforms,
            multi_platform,
            no_cache: match opts.get("no-cache").map(String::as_str) {
                None => NoCache::Nothing,
                Some("") => NoCache::All,
                Some(names) => NoCache::Stages(names.split(',').map(str::to_owned).collect()),
            },
            resolve_mode: resolve_mode(get("image-resolve-mode"))?,
            network: network(get("force-network-mode"))?,
            extra_hosts: extra_hosts(get("add-hosts")).context("failed to parse additional hosts")?,
            hostname: overridden("hostname", "build-arg:BUILDKIT_SANDBOX_HOSTNAME"),
            shm_size: integer(get("shm-size")).context("failed to parse shm size")?,
            ulimits: ulimits(get("ulimit")).context("failed to parse ulimit")?,
            cgroup_parent: get("cgroup-parent").to_owned(),
            resources: resources(&get).context("failed to parse resource limits")?,
            cache_namespace: get("build-arg:BUILDKIT_CACHE_MOUNT_NS").to_owned(),
            contexts: with_prefix(opts, "context:"),
            local_sessions: with_prefix(opts, "local-sessionid:"),
            shared_keys: with_prefix(opts, "sharedkey:localdir:"),
            input_metadata: with_prefix(opts, "input-metadata:"),
            scan: provenance::attestations(opts)?.remove("sbom").map(ScanOptions::new).transpose()?,
            context: ContextConfig {
                remote: get(opts.get("contextkey").map_or("context", String::as_str)).to_owned(),
                subdir: opts.get("contextsubdir").cloned(),
                filename: opts.get("filename").cloned().unwrap_or_else(|| "Dockerfile".into()),
                dockerfile_name: opts.get("dockerfilekey").cloned().unwrap_or_else(|| "dockerfile".into()),
                dockerfile_is_local: opts.contains_key("dockerfilekey"),
            },
        })
    }
}

/// Refuses what is no longer, or not yet, to be had.
fn refuse(opts: &BTreeMap<String, String>) -> Result<()> {
    if opts.get("override-copy-image").is_some_and(|v| !v.is_empty()) {
        return Err(Error::user("support for \"override-copy-image\" was removed in BuildKit 0.11"));
    }
    let no_file_op = opts.get("build-arg:BUILDKIT_DISABLE_FILEOP");
    if no_file_op.and_then(|v| oci::parse_bool(v)) == Some(true) {
        return Err(Error::user(
            "support for \"BUILDKIT_DISABLE_FILEOP\" build-arg was removed in BuildKit 0.11",
        ));
    }
    let wanted = opts.get("frontend.caps").map_or("", String::as_str);
    for cap in wanted.split(',').filter(|c| !c.is_empty()) {
        let name = cap.split('+').next().unwrap_or_default();
        if !KNOWN_CAPS.contains(&name) {
            return Err(Error::unimplemented(format!("unsupported frontend capability {name}"))
                .with_detail(errdefs::Detail::FrontendCap { name: name.to_owned() }));
        }
    }
    Ok(())
}

fn with_prefix(opts: &BTreeMap<String, String>, prefix: &str) -> BTreeMap<String, String> {
    opts.iter().filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.to_owned(), v.clone()))).collect()
}

fn platforms(value: &str) -> Result<Vec<Platform>> {
    let parse = |text: &str| match text.parse::<Platform>() {
        Ok(platform) => Ok(platform.normalize()),
        Err(e) => Err(Error::user(format!("failed to parse target platform {text}: {e}"))),
    };
    if value.is_empty() { Ok(Vec::new()) } else { value.split(',').map(parse).collect() }
}

fn multi_platform(opts: &BTreeMap<String, String>, platforms: usize) -> Result<bool> {
    let given = |key| opts.get(key).filter(|v| !v.is_empty());
    let Some(value) = given("build-arg:BUILDKIT_MULTI_PLATFORM").or_else(|| given("multi-platform")) else {
        return Ok(platforms > 1);
    };
    match oci::parse_bool(value) {
        None => Err(Error::user(format!("invalid boolean value for multi-platform: {value}"))),
        Some(false) if platforms > 1 => {
            Err(Error::user("conflicting config: returning multiple target platforms is not allowed"))
        }
        Some(given) => Ok(given),
    }
}

fn resolve_mode(value: &str) -> Result<String> {
    match value {
        "" => Ok("default".into()),
        "default" | "pull" | "local" => Ok(value.into()),
        _ => Err(Error::user(format!("invalid image-resolve-mode: {value}"))),
    }
}

fn network(value: &str) -> Result<NetMode> {
    match value {
        "" | "sandbox" => Ok(NetMode::Unset),
        "none" => Ok(NetMode::None),
        "host" => Ok(NetMode::Host),
        _ => Err(Error::user(format!("invalid netmode {value}"))),
    }
}

fn extra_hosts(value: &str) -> Result<Vec<HostIp>> {
    let parse = |field: String| {
        let lower = field.to_lowercase();
        let (host, ip) =
            lower.split_once('=').ok_or_else(|| Error::user(format!("invalid key-value pair {field}")))?;
        let ip = ip.parse().map_err(|_| Error::user(format!("failed to parse IP {ip}")))?;
        Ok(host_ip(host, ip))
    };
    fields(value)?.into_iter().map(parse).collect()
}

fn fields(value: &str) -> Result<Vec<String>> {
    if value.is_empty() { Ok(Vec::new()) } else { Ok(csv::fields(value)?) }
}

fn integer<T: std::str::FromStr + Default>(value: &str) -> Result<T> {
    if value.is_empty() {
        return Ok(T::default());
    }
    value.parse().map_err(|_| Error::user(format!("parsing {}: invalid syntax", go::quote(value))))
}

fn ulimits(value: &str) -> Result<Vec<Ulimit>> {
    fields(value)?.iter().map(|field| ulimit(field)).collect()
}

/// `name=soft[:hard]`; -1 is no limit.
fn ulimit(field: &str) -> Result<Ulimit> {
    let (name, limits) =
        field.split_once('=').ok_or_else(|| Error::user(format!("invalid ulimit argument: {field}")))?;
    if !ULIMITS.contains(&name) {
        return Err(Error::user(format!("invalid ulimit type: {name}")));
    }
    let parts: Vec<&str> = limits.split(':').collect();
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| Error::user(format!("parsing {}: invalid syntax", go::quote(text))))
    };
    let (soft, hard) = match parts[..] {
        [soft] => (number(soft)?, number(soft)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => {
            return Err(Error::user(format!(
                "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
            )));
        }
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        let why = match soft {
            -1 => format!("soft: -1 (unlimited), hard: {hard}"),
            _ => format!("{soft} > {hard}"),
        };
        return Err(Error::user(format!(
            "ulimit soft limit must be less than or equal to hard limit: {why}"
        )));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

fn resources<'a>(get: &impl Fn(&str) -> &'a str) -> Result<Option<LinuxResources>> {
    let positive = |key: &str| -> Result<i64> {
        let value: i64 = integer(get(key)).with_context(|| format!("invalid {key} value: {}", get(key)))?;
        if value <= 0 && !get(key).is_empty() {
            return Err(Error::user(format!("invalid {key} value: {}: must be > 0", get(key))));
        }
        Ok(value)
    };
    let swap: i64 =
        integer(get("memswap")).with_context(|| format!("invalid memswap value: {}", get("memswap")))?;
    if swap < -1 || (swap == 0 && !get("memswap").is_empty()) {
        let value = get("memswap");
        return Err(Error::user(format!("invalid memswap value: {value}: must be -1 (unlimited) or > 0")));
    }
    let cpus = |key: &str| match get(key) {
        value if value.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b',') => Ok(value.to_owned()),
        value => Err(Error::user(format!("invalid {key} value: {value}"))),
    };
    let resources = LinuxResources {
        memory: positive("memory")?,
        memory_swap: swap,
        cpu_shares: positive("cpushares")? as u64,
        cpu_period: positive("cpuperiod")? as u64,
        cpu_quota: positive("cpuquota")?,
        cpuset_cpus: cpus("cpusetcpus")?,
        cpuset_mems: cpus("cpusetmems")?,
    };
    Ok((resources != LinuxResources::default()).then_some(resources))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(opts: &[(&str, &str)]) -> Result<Config> {
        let opts = opts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::read(&FrontendRequest { opts, ..FrontendRequest::default() })
    }

    #[test]
    fn options_are_read() {
        let config = read(&[
            ("build-arg:A", "1"),
            ("add-hosts", "DB=10.0.0.1,v6=::1"),
            ("ulimit", "nofile=1:2,core=-1"),
            ("no-cache", "Build"),
            ("platform", "linux/x86_64,arm64"),
            ("memory", "1024"),
        ])
        .expect("valid");
        assert_eq!(config.build_args["A"], "1");
        assert_eq!((config.extra_hosts[0].host.as_str(), config.extra_hosts[1].ip.as_str()), ("db", "::1"));
        assert_eq!((config.ulimits[0].hard, config.ulimits[1].soft), (2, -1));
        assert!(config.no_cache.holds_for("build") && !config.no_cache.holds_for("x"));
        assert!(config.multi_platform && config.platforms[0] == Platform::new("linux", "amd64", ""));
        assert_eq!(config.resources.map(|r| r.memory), Some(1024));
    }

    #[test]
    fn nonsense_is_refused() {
        let check = |key, value, expected| {
            assert_eq!(read(&[(key, value)]).expect_err(key).to_string(), expected);
        };
        check("image-resolve-mode", "x", "invalid image-resolve-mode: x");
        check("force-network-mode", "x", "invalid netmode x");
        check("add-hosts", "x", "failed to parse additional hosts: invalid key-value pair x");
        check("add-hosts", "x=y", "failed to parse additional hosts: failed to parse IP y");
        check("ulimit", "x", "failed to parse ulimit: invalid ulimit argument: x");
        check("ulimit", "x=1", "failed to parse ulimit: invalid ulimit type: x");
        check("memory", "0", "failed to parse resource limits: invalid memory value: 0: must be > 0");
        check("multi-platform", "x", "invalid boolean value for multi-platform: x");
        check("frontend.caps", "x", "unsupported frontend capability x");
    }
}
