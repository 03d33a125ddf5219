//! Puts the parts of an engine together.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use control::About;
use engine::{Engine, Parts};
use errdefs::{Error, Result, ResultExt};
use executor::Executor;
use exporter::Exporters;
use frontend::Frontend;
use oci::{Digest, Platform};
use ops::Ops;
use refs::Refs;
use registry::Registry;
use session::Sessions;
use solver::{Options, Scheduler};
use source::Sources;

use crate::args::Args;
use crate::config::Config;

/// Starts the helper that makes containers.
pub fn executor(root: &Path, config: &Config) -> Result<Executor> {
    let mut options = executor::Options::new(root.join("executor"));
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

/// Opens the store and puts the engine together.
pub async fn engine(args: &Args, config: &Config, root: &Path, executor: Executor) -> Result<Engine> {
    let path = root.join("metadata");
    let database = redb::Database::create(&path)
        .map_err(|e| Error::environment(e.to_string()))
        .with_context(|| format!("failed to open `{}`", path.display()))?;
    let database = Arc::new(database);
    let content = content::Store::open(root, Arc::clone(&database))?;
    let snapshots = snapshot::Store::open(root, snapshot::Options::default())?;
    let refs = Refs::open(Arc::clone(&database), snapshots, content.clone()).await?;
    let records = refs::Records::open(&refs)?;
    let max_parallelism = NonZeroUsize::new(config.worker.oci.max_parallelism);
    let scheduler = Scheduler::new(records.keys, records.results, Options { max_parallelism });
    let registry = Registry::new(registry_config(config), Arc::new(registry::Anonymous));
    let sources = Arc::new(Sources::new(source::Parts {
        refs: refs.clone(),
        content: content.clone(),
        registry: registry.clone(),
    }));
    let ops = Ops::new(ops::Parts { refs: refs.clone(), sources: Arc::clone(&sources), executor });
    let exporters = Arc::new(Exporters::new(refs.clone(), registry));
    let dockerfile: Arc<dyn Frontend> = Arc::new(dockerfile_llb::DockerfileFrontend);
    Ok(Engine::new(Parts {
        sessions: Sessions::new(),
        refs,
        sources,
        ops,
        scheduler,
        exporters,
        frontends: BTreeMap::from([("dockerfile.v0".to_owned(), dockerfile)]),
        entitlements: entitlements(args, config),
    }))
}

/// A user's own engine grants the host's network, which its steps share anyway.
fn entitlements(args: &Args, config: &Config) -> BTreeSet<String> {
    let asked = args.allow.iter().chain(&config.insecure_entitlements).cloned();
    asked.chain(["network.host".to_owned()]).collect()
}

fn registry_config(config: &Config) -> registry::Config {
    let host = |r: &crate::config::Registry| registry::HostConfig {
        mirrors: r.mirrors.clone(),
        http: r.http,
        insecure: r.insecure,
        ca: r.ca.clone(),
        keys: Vec::new(),
    };
    let variable =
        |name: &str| std::env::var(name).or_else(|_| std::env::var(name.to_lowercase())).unwrap_or_default();
    registry::Config {
        hosts: config.registry.iter().map(|(name, r)| (name.clone(), host(r))).collect(),
        proxy: registry::ProxyConfig {
            http: variable("HTTP_PROXY"),
            https: variable("HTTPS_PROXY"),
            no: variable("NO_PROXY"),
        },
        ..registry::Config::default()
    }
}

/// What the engine says of itself.
pub fn about(args: &Args, config: &Config, root: &Path) -> About {
    let mut labels = config.worker.oci.labels.clone();
    labels.extend(args.labels.iter().cloned());
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for (key, value) in [
        ("executor", "kiln"),
        ("snapshotter", "overlayfs"),
        ("network", "host"),
        ("hostname", hostname.as_str()),
        ("oci.process-mode", "sandbox"),
    ] {
        labels.insert(format!("org.mobyproject.buildkit.worker.{key}"), value.to_owned());
    }
    About {
        package: "kiln".into(),
        version: format!("v{}", env!("CARGO_PKG_VERSION")),
        revision: option_env!("KILN_REVISION").unwrap_or_default().into(),
        dockerfile_version: "1.20.0".into(),
        worker_id: Digest::of(root.as_os_str().as_encoded_bytes()).hex()[..25].to_owned(),
        labels,
        platforms: vec![Platform::host()],
    }
}
