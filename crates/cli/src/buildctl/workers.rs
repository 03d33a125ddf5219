use client::{Client, Device, GcPolicy, PruneRequest, Worker};
use errdefs::Result;
use serde_json::{Value, json};

use crate::buildctl::args::{FormatArgs, Global, WorkersArgs};
use crate::buildctl::format::size;
use crate::buildctl::place::connect;
use crate::console;
use crate::table::Table;
use crate::template::Template;

/// What a worker and a version are made of, in JSON.
const FIELDS: &[&str] = &[
    "id",
    "labels",
    "platforms",
    "gcPolicy",
    "buildkitVersion",
    "cdiDevices",
    "name",
    "autoAllow",
    "annotations",
    "onDemand",
    "package",
    "version",
    "revision",
    "dockerfileVersion",
    "architecture",
    "os",
    "variant",
];

/// Lists workers.
pub(super) async fn workers(args: &WorkersArgs, global: &Global) -> Result<()> {
    let template = args.format.format.as_deref().map(|t| Template::parse(t, FIELDS)).transpose()?;
    let client: Client = connect(global).await?;
    let workers = client.workers_where(&args.filter).await?;
    let text = match template {
        Some(template) => template.fill(&Value::Array(workers.iter().map(worker_json).collect()))? + "\n",
        None if args.verbose => workers.iter().map(verbose).collect(),
        None => table(&workers),
    };
    console::out(text)
}

/// Shows the engine's version.
pub(super) async fn info(args: &FormatArgs, global: &Global) -> Result<()> {
    let template = args.format.as_deref().map(|t| Template::parse(t, FIELDS)).transpose()?;
    let version = connect(global).await?.version().await?.unwrap_or_default();
    if let Some(template) = template {
        let all = json!({"buildkitVersion": version_json(&version)});
        return console::out(template.fill(&all)? + "\n");
    }
    let mut text = format!("BuildKit:   {} {} {}\n", version.package, version.version, version.revision);
    if !version.dockerfile_version.is_empty() {
        text.push_str(&format!("Dockerfile: {}\n", version.dockerfile_version));
    }
    console::out(text)
}

fn table(workers: &[Worker]) -> String {
    let mut table = Table::default();
    table.row(["ID".to_owned(), "PLATFORMS".to_owned()]);
    for worker in workers {
        table.row([worker.id.clone(), worker.platforms.join(",")]);
    }
    table.to_string()
}

fn verbose(worker: &Worker) -> String {
    let v = &worker.version;
    let mut out = format!("ID:\t\t{}\nPlatforms:\t{}\n", worker.id, worker.platforms.join(","));
    out.push_str(&format!("BuildKit:\t{} {} {}\n", v.package, v.version, v.revision));
    if !v.dockerfile_version.is_empty() {
        out.push_str(&format!("Dockerfile:\t{}\n", v.dockerfile_version));
    }
    out.push_str("Labels:\n");
    for (key, value) in &worker.labels {
        out.push_str(&format!("\t{key}:\t{value}\n"));
    }
    if !worker.devices.is_empty() {
        out.push_str("Devices:\n");
        out.extend(worker.devices.iter().map(device));
        out.push('\n');
    }
    for (index, rule) in worker.gc_policy.iter().enumerate() {
        out.push_str(&format!("GC Policy rule#{index}:\n"));
        out.push_str(&policy(rule));
    }
    out + "\n"
}

fn device(device: &Device) -> String {
    let mut out = format!("\tName:\t{}\n", device.name);
    match device.on_demand {
        true => out.push_str("\tOnDemand:\ttrue\n"),
        false => out.push_str(&format!("\tAutoAllow:\t{}\n", device.auto_allow)),
    }
    for (key, value) in &device.annotations {
        out.push_str(&format!("\tAnnotations:\t{key}:\t{value}\n"));
    }
    out
}

fn policy(rule: &GcPolicy) -> String {
    let PruneRequest { filter, all, keep_duration, reserved_space, max_used_space, min_free_space } = rule;
    let mut out = format!("\tAll:\t\t\t{all}\n");
    if !filter.is_empty() {
        out.push_str(&format!("\tFilters:\t\t{}\n", filter.join(" ")));
    }
    if !keep_duration.is_zero() {
        let (minutes, seconds) = (keep_duration.as_secs() / 60, keep_duration.as_secs() % 60);
        out.push_str(&format!("\tKeep duration:\t\t{}h{}m{seconds}s\n", minutes / 60, minutes % 60));
    }
    for (name, bytes) in [
        ("Reserved space:\t", *reserved_space),
        ("Minimum free space:", *min_free_space),
        ("Maximum used space:", *max_used_space),
    ] {
        if bytes > 0 {
            out.push_str(&format!("\t{name}\t{}\n", size(bytes)));
        }
    }
    out
}

fn worker_json(worker: &Worker) -> Value {
    let platforms: Vec<_> = worker
        .platforms
        .iter()
        .map(|text| {
            let mut words = text.split('/');
            let os = words.next().unwrap_or_default();
            let architecture = words.next().unwrap_or_default();
            match words.next() {
                Some(variant) => json!({"architecture": architecture, "os": os, "variant": variant}),
                None => json!({"architecture": architecture, "os": os}),
            }
        })
        .collect();
    // Go's empty lists are null.
    let devices: Option<Vec<_>> =
        (!worker.devices.is_empty()).then(|| worker.devices.iter().map(device_json).collect());
    json!({
        "id": worker.id,
        "labels": worker.labels,
        "platforms": platforms,
        "gcPolicy": worker.gc_policy.iter().map(policy_json).collect::<Vec<_>>(),
        "buildkitVersion": version_json(&worker.version),
        "cdiDevices": devices,
    })
}

fn device_json(device: &Device) -> Value {
    json!({
        "name": device.name,
        "autoAllow": device.auto_allow,
        "annotations": device.annotations,
        "onDemand": device.on_demand,
    })
}

fn policy_json(rule: &GcPolicy) -> Value {
    json!({
        "filter": rule.filter,
        "all": rule.all,
        "keepDuration": u64::try_from(rule.keep_duration.as_nanos()).unwrap_or(u64::MAX),
        "reservedSpace": rule.reserved_space,
        "maxUsedSpace": rule.max_used_space,
        "minFreeSpace": rule.min_free_space,
    })
}

fn version_json(version: &client::EngineVersion) -> Value {
    let mut value = json!({
        "package": version.package,
        "version": version.version,
        "revision": version.revision,
    });
    if !version.dockerfile_version.is_empty() {
        value["dockerfileVersion"] = Value::String(version.dockerfile_version.clone());
    }
    value
}
