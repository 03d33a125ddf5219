//! Puts the parts of an engine together.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use cdi::Devices;
use control::About;
use engine::history::{History, Limits};
use engine::{Engine, Parts, Told};
use errdefs::{Error, Result, ResultExt};
use executor::Executor;
use executor::emulation;
use exporter::Exporters;
use frontend::{Frontend, Worker};
use network::Networks;
use oci::{Digest, Platform};
use ops::Ops;
use refs::PruneOptions;
use registry::Registry;
use remote_cache::Importer;
use serde_json::Value;
use session::Sessions;
use solver::{Options, Scheduler};
use source::Sources;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::config::Config;
use crate::gc;
use crate::networks;
use crate::place::Name;
use crate::stores::Stores;

const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));
/// The version of Dockerfiles that the built-in frontend reads.
const DOCKERFILE_VERSION: &str = "1.20.0";
const REVISION: &str = match option_env!("KILN_REVISION") {
    Some(revision) => revision,
    None => "",
};

/// Starts the helper that makes containers.
pub fn executor(root: &Path, config: &Config) -> Result<Executor> {
    let mut options = executor::Options::new(root.join("executor"));
    // Named by what no other store of this machine has, whatever name space of files it is seen from.
    let place = root.metadata().with_context(|| format!("failed to look at `{}`", root.display()))?;
    options.cgroup_parent = format!("kiln/{:x}-{:x}", place.dev(), place.ino());
    options.owns_cgroup_parent = true;
    if let Some(dns) = &config.dns {
        let addresses = dns.nameservers.iter().map(|n| {
            n.parse().map_err(|_| Error::user(format!("`{n}` under [dns] is no address of a name server")))
        });
        options.dns = executor::Dns {
            nameservers: addresses.collect::<Result<_>>()?,
            options: dns.options.clone(),
            search_domains: dns.search_domains.clone(),
        };
    }
    Executor::start(options)
}

/// What [`engine`] puts together.
pub struct Wired {
    pub engine: Engine,
    pub networks: Networks,
    /// Tells when the store can be used no more.
    pub broken: CancellationToken,
}

/// Opens the store and puts the engine together.
pub async fn engine(
    name: Name,
    args: &Args,
    config: &Config,
    root: &Path,
    executor: Executor,
    env: BTreeMap<String, Value>,
) -> Result<Wired> {
    let told = Told { dockerfile_version: DOCKERFILE_VERSION.into(), env };
    let stores = Stores::open(root, false, history(config, root)).await?;
    let Stores { content, refs, records, more: history, broken, .. } = stores;
    Stores::end_on_damage(root);
    let max_parallelism = args.max_parallelism.unwrap_or(config.worker.oci.max_parallelism);
    let max_parallelism = NonZeroUsize::new(max_parallelism);
    let scheduler =
        Scheduler::new(records.keys.clone(), records.results.clone(), Options { max_parallelism });
    let registry = Registry::new(registry_config(config)?, Arc::new(registry::Anonymous));
    let sources = Arc::new(Sources::new(source::Parts {
        refs: refs.clone(),
        content: content.clone(),
        registry: registry.clone(),
    }));
    let devices = devices(args, config);
    let networks = networks::open(name, args, config, root).await?;
    let proxied = args.proxy_network.unwrap_or(config.proxy_network);
    let ops = Ops::new(ops::Parts {
        refs: refs.clone(),
        sources: Arc::clone(&sources),
        executor,
        devices,
        networks: networks.clone(),
    });
    let sessions = Sessions::new();
    let importer = Arc::new(Importer::new(registry.clone(), sessions.clone(), refs.clone()));
    let exporters = Arc::new(Exporters::new(refs.clone(), registry));
    let dockerfile: Arc<dyn Frontend> = Arc::new(dockerfile_llb::DockerfileFrontend);
    let allowed = config.frontend.get("gateway.v0").map_or(&[][..], |f| &f.allowed_repositories);
    let gateway = gateway::ImageFrontend::new(allowed)?;
    let engine = Engine::new(Parts {
        sessions,
        refs,
        records,
        sources,
        ops,
        scheduler,
        exporters,
        history,
        importer,
        frontends: enabled(
            config,
            BTreeMap::from([
                ("dockerfile.v0".to_owned(), dockerfile),
                ("gateway.v0".to_owned(), Arc::new(gateway) as _),
            ]),
        ),
        entitlements: entitlements(name, args, config, networks.is_host() && !proxied),
        proxied,
        worker: worker(args, config, root, &networks)?,
        told,
    });
    Ok(Wired { engine, networks, broken })
}

/// Without those that the configuration turns off.
fn enabled(
    config: &Config,
    mut frontends: BTreeMap<String, Arc<dyn Frontend>>,
) -> BTreeMap<String, Arc<dyn Frontend>> {
    frontends.retain(|name, _| config.frontend.get(name).is_none_or(|f| f.enabled != Some(false)));
    frontends
}

/// Opens the history; it takes in what a killed engine left.
fn history(config: &Config, root: &Path) -> impl Fn(&refs::Refs) -> Result<History> + use<> {
    let standard = Limits::default();
    let limits = Limits {
        age: config.history.max_age.map_or(standard.age, |age| age.0),
        entries: config.history.max_entries.unwrap_or(standard.entries),
    };
    let root = root.to_owned();
    let wire = Arc::new(control::BuildKitWire {
        version: VERSION.into(),
        revision: REVISION.into(),
        cmdline: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
    });
    move |refs| History::open(refs, &root, wire.clone(), limits)
}

/// A user's own engine grants the host's network where its steps share that anyway; in BuildKit's place it grants what it
/// is told to. Devices are for those whom the client lets have them.
fn entitlements(name: Name, args: &Args, config: &Config, shares_network: bool) -> BTreeSet<String> {
    let asked = args.allow.iter().chain(&config.insecure_entitlements).cloned();
    let network = (name == Name::Kiln && shares_network).then(|| "network.host".to_owned());
    let devices = has_devices(args, config).then(|| "device".to_owned());
    asked.chain(network).chain(devices).collect()
}

fn has_devices(args: &Args, config: &Config) -> bool {
    !args.cdi_disabled.or(config.cdi.disabled).unwrap_or(false)
}

fn devices(args: &Args, config: &Config) -> Devices {
    if !has_devices(args, config) {
        return Devices::none();
    }
    let given = if args.cdi_spec_dirs.is_empty() { &config.cdi.spec_dirs } else { &args.cdi_spec_dirs };
    Devices::new(given.clone(), config.cdi.auto_allowed.iter().cloned())
}

fn registry_config(config: &Config) -> Result<registry::Config> {
    let variable =
        |name: &str| std::env::var(name).or_else(|_| std::env::var(name.to_lowercase())).unwrap_or_default();
    let hosts = config.registry.iter().map(|(name, r)| Ok((name.clone(), registry_host(r)?)));
    Ok(registry::Config {
        hosts: hosts.collect::<Result<_>>()?,
        proxy: registry::ProxyConfig {
            http: variable("HTTP_PROXY"),
            https: variable("HTTPS_PROXY"),
            no: variable("NO_PROXY"),
        },
        ..registry::Config::default()
    })
}

/// With what the folders hold: authorities in `*.crt`, certificates of the engine in `*.cert` beside their `*.key`.
fn registry_host(r: &crate::config::Registry) -> Result<registry::HostConfig> {
    let pair = |k: &crate::config::KeyPair| registry::KeyPair { cert: k.cert.clone(), key: k.key.clone() };
    let (mut ca, mut keys) = (r.ca.clone(), r.keypair.iter().map(pair).collect::<Vec<_>>());
    for dir in &r.tlsconfigdir {
        let entries =
            std::fs::read_dir(dir).with_context(|| format!("failed to read `{}`", dir.display()))?;
        let mut paths = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
        paths.sort();
        for path in paths {
            match path.extension().and_then(std::ffi::OsStr::to_str) {
                Some("crt") => ca.push(path),
                Some("cert") => keys.push(registry::KeyPair { key: path.with_extension("key"), cert: path }),
                _ => {}
            }
        }
    }
    Ok(registry::HostConfig { mirrors: r.mirrors.clone(), http: r.http, insecure: r.insecure, ca, keys })
}

/// How the build cache of a store is kept small.
pub fn policies(args: &Args, config: &Config, root: &Path) -> Result<Vec<PruneOptions>> {
    let mut gc = config.worker.oci.gc.clone();
    gc.gc = args.gc.or(gc.gc);
    if let Some([reserved, free, maximum]) = args.gc_limits {
        (gc.reserved_space, gc.min_free_space, gc.max_used_space) = (reserved, free, maximum);
    }
    gc::policies(&gc, root)
}

/// What the engine says of itself.
pub fn about(
    args: &Args,
    config: &Config,
    root: &Path,
    networks: &Networks,
    gc: Vec<PruneOptions>,
) -> Result<About> {
    let Worker { id, labels, platforms } = worker(args, config, root, networks)?;
    Ok(About {
        package: "kiln".into(),
        version: VERSION.into(),
        revision: REVISION.into(),
        dockerfile_version: DOCKERFILE_VERSION.into(),
        worker_id: id,
        labels,
        platforms,
        gc,
    })
}

/// Who runs the steps.
fn worker(args: &Args, config: &Config, root: &Path, networks: &Networks) -> Result<Worker> {
    let mut labels = config.worker.oci.labels.clone();
    labels.extend(args.labels.iter().cloned());
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for (key, value) in [
        ("executor", "kiln"),
        ("snapshotter", "overlayfs"),
        ("network", networks.name()),
        ("hostname", hostname.as_str()),
        ("oci.process-mode", "sandbox"),
    ] {
        labels.insert(format!("org.mobyproject.buildkit.worker.{key}"), value.to_owned());
    }
    Ok(Worker {
        id: Digest::of(root.as_os_str().as_encoded_bytes()).hex()[..25].to_owned(),
        labels,
        platforms: platforms(args, config)?,
    })
}

/// What the engine was told to say that it builds, and its own platform; where it was told nothing, all that it runs,
/// emulated or not.
fn platforms(args: &Args, config: &Config) -> Result<Vec<Platform>> {
    let given = if args.platforms.is_empty() { &config.worker.oci.platforms } else { &args.platforms };
    if given.is_empty() {
        return Ok(emulation::platforms());
    }
    let parse = |text: &String| match text.parse::<Platform>() {
        Ok(platform) => Ok(platform.normalize()),
        Err(e) => Err(Error::user(format!("invalid platforms: {e}"))),
    };
    let mut platforms = given.iter().map(parse).collect::<Result<Vec<_>>>()?;
    let host = Platform::host();
    if !platforms.iter().any(|platform| platform.matches(&host)) {
        platforms.push(host);
    }
    Ok(platforms)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn what_an_engine_builds() {
        let check = |words: &[&str], config: &str, expect: &[&str]| {
            let args = Args::try_parse_from([&["d"], words].concat()).expect("valid");
            let config = Config::parse(config).expect("valid");
            let told = match platforms(&args, &config) {
                Ok(platforms) => platforms.iter().map(Platform::to_string).collect(),
                Err(e) => vec![e.to_string()],
            };
            let host = Platform::host().to_string();
            let expect: Vec<_> = expect.iter().map(|text| text.replace("HOST", &host)).collect();
            assert_eq!(told, expect, "{words:?} {config:?}");
        };
        let config = "[worker.oci]\nplatforms = [\"linux/s390x\"]\n";
        let runs: Vec<_> = emulation::platforms().iter().map(Platform::to_string).collect();
        check(&[], "", &runs.iter().map(String::as_str).collect::<Vec<_>>());
        check(&[], config, &["linux/s390x", "HOST"]);
        check(
            &["--oci-worker-platform=linux/riscv64,local/x"],
            config,
            &["linux/riscv64", "local/x", "HOST"],
        );
        check(
            &["--oci-worker-platform", "*"],
            "",
            &["invalid platforms: \"*\": wildcards not yet supported: invalid argument"],
        );
    }
}
