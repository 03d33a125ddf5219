//! Options of the frontend, in BuildKit's names.

use std::collections::BTreeMap;

use errdefs::{Error, Result};

use crate::args::BuildArgs;
use crate::environment::Environment;
use crate::flags::{extra_hosts, fields, key_values, parse_bool, parse_size, resources, ulimits};
use crate::names;

/// The frontend that is asked, and all of its options but those that tell of contexts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrontendSettings {
    pub frontend: String,
    pub attrs: BTreeMap<String, String>,
    pub entitlements: Vec<String>,
    /// `--allow buildx.local.delete`: a local output may remove files anywhere.
    pub may_delete: bool,
}

pub(crate) fn frontend(
    args: &BuildArgs,
    env: &Environment,
    proxies: &BTreeMap<String, String>,
) -> Result<FrontendSettings> {
    if args.no_cache && !args.no_cache_filter.is_empty() {
        return Err(Error::user("--no-cache and --no-cache-filter cannot currently be used together"));
    }
    let (mut entitlements, may_delete) = entitlements(&args.allow)?;
    let mut attrs = BTreeMap::new();
    let mut set = |key: &str, value: String| attrs.insert(key.to_owned(), value);

    let frontend = build_args(args, env, proxies, &mut set)?;
    for (key, value) in key_values(&args.labels, |_| Some(String::new()))? {
        set(&format!("label:{key}"), value);
    }
    if let Some(target) = args.target.as_ref().filter(|t| !t.is_empty()) {
        set("target", target.clone());
    }
    if let Some(platform) = platform(&args.platforms)? {
        set("platform", platform);
    }
    if args.pull {
        set("image-resolve-mode", "pull".into());
    }
    if args.no_cache {
        set("no-cache", String::new());
    } else if !args.no_cache_filter.is_empty() {
        set("no-cache", args.no_cache_filter.join(","));
    }
    match args.network.as_str() {
        "" | "default" => {}
        "none" => {
            set("force-network-mode", "none".into());
        }
        "host" => {
            set("force-network-mode", "host".into());
            entitlements.push("network.host".into());
        }
        mode => {
            return Err(Error::user(format!("network mode {mode:?} not supported by buildkit"))
                .hint("use `--network` with default, none or host"));
        }
    }
    let hosts = extra_hosts(&args.add_hosts)?;
    if !hosts.is_empty() {
        set("add-hosts", hosts);
    }
    let shm = args.shm_size.as_deref().map(parse_size).transpose()?.unwrap_or(0);
    if shm > 0 {
        set("shm-size", shm.to_string());
    }
    let limits = ulimits(&args.ulimits)?;
    if !limits.is_empty() {
        set("ulimit", limits);
    }
    if let Some(parent) = args.cgroup_parent.as_ref().filter(|p| !p.is_empty()) {
        set("cgroup-parent", parent.clone());
    }
    for (key, value) in resources(&resource_flags(args))? {
        set(&key, value);
    }
    Ok(FrontendSettings { frontend, attrs, entitlements, may_delete })
}

/// Sets the build arguments; some of them speak to the client too. Gives the frontend.
fn build_args(
    args: &BuildArgs,
    env: &Environment,
    proxies: &BTreeMap<String, String>,
    set: &mut impl FnMut(&str, String) -> Option<String>,
) -> Result<String> {
    let mut values = key_values(&args.build_args, |key| env.get(key).map(str::to_owned))?;
    if let Some(epoch) = env.filled("SOURCE_DATE_EPOCH") {
        values.entry("SOURCE_DATE_EPOCH".into()).or_insert_with(|| epoch.to_owned());
    }
    let mut frontend = "dockerfile.v0";
    if let Some(syntax) = values.get("BUILDKIT_SYNTAX") {
        let source = syntax.trim().split(' ').next().filter(|s| !s.is_empty()).ok_or_else(|| {
            Error::user("empty BUILDKIT_SYNTAX build-arg is invalid, use --build-arg BUILDKIT_SYNTAX without '=' for optional behavior")
        })?;
        frontend = "gateway.v0";
        set("source", source.to_owned());
        set("cmdline", syntax.clone());
    }
    if values.get("BUILDKIT_MULTI_PLATFORM").and_then(|v| parse_bool(v)) == Some(true) {
        set("multi-platform", "true".into());
    }
    for (key, value) in proxies {
        if !values.keys().any(|k| k.eq_ignore_ascii_case(key)) {
            set(&format!("build-arg:{key}"), value.clone());
        }
    }
    for (key, value) in values {
        set(&format!("build-arg:{key}"), value);
    }
    Ok(frontend.to_owned())
}

/// All platforms, each once.
fn platform(flags: &[String]) -> Result<Option<String>> {
    let mut platforms = Vec::new();
    for flag in flags.iter().filter(|f| !f.is_empty()) {
        for name in fields(flag)? {
            let platform = names::platform(name.trim())?;
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
        }
    }
    Ok((!platforms.is_empty()).then(|| platforms.join(",")))
}

fn entitlements(allow: &[String]) -> Result<(Vec<String>, bool)> {
    let mut out = Vec::new();
    let mut may_delete = false;
    for flag in allow.iter().filter(|a| !a.is_empty()) {
        let (key, value) = flag.split_once('=').map_or((flag.as_str(), None), |(k, v)| (k, Some(v)));
        match key {
            "buildx.local.delete" if value.is_some() => {
                return Err(Error::user("buildx.local.delete does not accept a value"));
            }
            "buildx.local.delete" => may_delete = true,
            "network.host" | "security.insecure" | "device" => out.push(flag.clone()),
            _ => {
                return Err(Error::user(format!("unknown entitlement {flag}"))
                    .hint("known are network.host, security.insecure, device and buildx.local.delete"));
            }
        }
    }
    Ok((out, may_delete))
}

/// `--resource`, after the old flags that say the same.
fn resource_flags(args: &BuildArgs) -> Vec<String> {
    let legacy = &args.legacy;
    let old = [
        ("memory", &legacy.memory),
        ("memory-swap", &legacy.memory_swap),
        ("cpu-shares", &legacy.cpu_shares),
        ("cpu-period", &legacy.cpu_period),
        ("cpu-quota", &legacy.cpu_quota),
        ("cpuset-cpus", &legacy.cpuset_cpus),
        ("cpuset-mems", &legacy.cpuset_mems),
    ];
    let old = old.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
    old.chain(args.resources.iter().cloned()).collect()
}
