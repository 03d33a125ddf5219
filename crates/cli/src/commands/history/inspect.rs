use std::collections::BTreeMap;

use client::{BuildRecord, Client};
use errdefs::{Detail, Error, Result};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::Local;
use super::attachment::{self, Attachment};
use super::find::{Found, Histories};
use super::name::build_name;
use super::show::{duration, is_canceled, took};
use crate::console;
use crate::environment::Environment;
use crate::flags::fields;
use crate::table::Table;
use crate::template::Template;

/// Lines of a failed step that are shown.
const LINES: usize = 16;
/// Provenance is read whole.
const PROVENANCE: usize = 64 << 20;

/// Options of a frontend that say how it was built: their names in JSON, for people, and their keys.
const CONFIG: &[(&str, &str, &str)] = &[
    ("Network", "Network", "force-network-mode"),
    ("ExtraHosts", "Extra Hosts", "add-hosts"),
    ("Hostname", "Hostname", "hostname"),
    ("CgroupParent", "Cgroup Parent", "cgroup-parent"),
    ("ImageResolveMode", "Image Resolve Mode", "image-resolve-mode"),
    ("MultiPlatform", "Multi-Platform", "multi-platform"),
    ("NoCache", "No Cache", "no-cache"),
    ("NoCacheFilter", "No Cache Filter", "no-cache"),
    ("ShmSize", "Shm Size", "shm-size"),
    ("Ulimit", "Resource Limits", "ulimit"),
    ("Memory", "Memory", "memory"),
    ("MemorySwap", "Memory Swap", "memswap"),
    ("CPUShares", "CPU Shares", "cpushares"),
    ("CPUPeriod", "CPU Period", "cpuperiod"),
    ("CPUQuota", "CPU Quota", "cpuquota"),
    ("CPUSetCPUs", "CPUSet CPUs", "cpusetcpus"),
    ("CPUSetMems", "CPUSet Mems", "cpusetmems"),
    ("CacheMountNS", "Cache Mount Namespace", "build-arg:BUILDKIT_CACHE_MOUNT_NS"),
    ("DockerfileCheckConfig", "Dockerfile Check Config", "build-arg:BUILDKIT_DOCKERFILE_CHECK"),
    ("SourceDateEpoch", "Source Date Epoch", "build-arg:SOURCE_DATE_EPOCH"),
    ("SandboxHostname", "Sandbox Hostname", "build-arg:BUILDKIT_SANDBOX_HOSTNAME"),
];

/// All that is known of one build.
struct Inspected {
    record: BuildRecord,
    name: String,
    context: String,
    dockerfile: String,
    error: Option<Told>,
    attachments: Vec<Attachment>,
    /// What it was made of, with digests.
    materials: Vec<(String, Vec<String>)>,
}

/// An error with what surrounds it.
struct Told {
    error: Error,
    /// Name and last lines of the step that failed.
    step: String,
    lines: Vec<String>,
}

/// Shows a build.
pub(super) async fn inspect(build: &str, form: &str, all: &Histories<'_>) -> Result<()> {
    let template = match form {
        "pretty" => None,
        form => Some(Template::parse(form, &[])?),
    };
    let Found { record, client, .. } = all.find(build).await?;
    let it = Inspected::of(&client, record, all.env).await?;
    let now = Timestamp::now();
    match template {
        None => console::out(it.pretty(build.is_empty(), now)),
        Some(Template::Json) => console::out(format!("{:#}\n", it.to_json(now))),
        Some(template) => console::out(template.fill(&it.to_json(now))? + "\n"),
    }
}

impl Inspected {
    async fn of(client: &Client, record: BuildRecord, env: &Environment) -> Result<Self> {
        let local = Local::load(&record.id, env);
        let attr = |key: &str| record.frontend_attrs.get(key).cloned().unwrap_or_default();
        let relative = |path: &str, to: &str| {
            let path = std::path::Path::new(path);
            path.strip_prefix(to).unwrap_or(path).display().to_string()
        };
        let context = match (local.context.as_str(), attr("context")) {
            ("", remote) => remote,
            (folder, _) if env.cwd == std::path::Path::new(folder) => ".".into(),
            (folder, _) => relative(folder, &env.cwd.display().to_string()),
        };
        let dockerfile = match local.dockerfile.as_str() {
            "" => attr("filename"),
            path => relative(path, &local.context),
        };
        let error = told(client, &record).await?;
        let attachments = attachment::all(client, &record).await?;
        let materials = materials(client, &attachments).await?;
        let name = build_name(&record.frontend_attrs, &local);
        Ok(Inspected { record, name, context, dockerfile, error, attachments, materials })
    }

    fn status(&self) -> &'static str {
        match (&self.record.completed_at, &self.record.error) {
            (None, _) => "running",
            (Some(_), None) => "completed",
            (Some(_), Some(_)) if is_canceled(&self.record) => "canceled",
            (Some(_), Some(_)) => "failed",
        }
    }

    fn attr(&self, key: &str) -> &str {
        self.record.frontend_attrs.get(key).map_or("", String::as_str)
    }

    /// Options that begin so, without their beginning.
    fn attrs_below(&self, start: &str) -> Vec<(String, String)> {
        let all = self.record.frontend_attrs.iter();
        all.filter_map(|(k, v)| Some((k.strip_prefix(start)?.to_owned(), v.clone()))).collect()
    }

    /// Build arguments that were given as such, not those that say how to build.
    fn build_args(&self) -> Vec<(String, String)> {
        let is_config = |name: &str| CONFIG.iter().any(|c| c.2.strip_prefix("build-arg:") == Some(name));
        let mut args = self.attrs_below("build-arg:");
        args.retain(|(name, _)| !is_config(name));
        args
    }

    fn config(&self) -> Vec<(&'static str, &'static str, Value)> {
        let list = |text: &str| json!(fields(text).unwrap_or_else(|_| vec![text.to_owned()]));
        let value = |name: &str, key: &str| {
            let text = self.record.frontend_attrs.get(key)?;
            match name {
                "NoCache" => text.is_empty().then_some(Value::Bool(true)),
                "NoCacheFilter" => (!text.is_empty()).then(|| list(text)),
                _ if text.is_empty() => None,
                "ExtraHosts" => Some(list(text)),
                "MultiPlatform" => Some(Value::Bool(matches!(text.as_str(), "true" | "1"))),
                _ => Some(Value::String(text.clone())),
            }
        };
        CONFIG.iter().filter_map(|(name, told, key)| Some((*name, *told, value(name, key)?))).collect()
    }

    /// Options that have no place of their own.
    fn rest(&self) -> Vec<(String, String)> {
        let placed = ["target", "platform", "context", "filename", "frontend.caps"];
        let below = ["vcs:", "build-arg:", "label:", "context:", "attest:"];
        let is_rest = |key: &&String| {
            !placed.contains(&key.as_str())
                && !below.iter().any(|start| key.starts_with(start))
                && !CONFIG.iter().any(|c| c.2 == key.as_str())
        };
        let keys = self.record.frontend_attrs.keys().filter(is_rest);
        keys.map(|key| (key.clone(), self.attr(key).to_owned())).collect()
    }

    fn to_json(&self, now: Timestamp) -> Value {
        let r = &self.record;
        let pairs = |list: Vec<(String, String)>| -> Value {
            list.into_iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect()
        };
        let mut config: Map<String, Value> =
            self.config().into_iter().map(|(name, _, value)| (name.to_owned(), value)).collect();
        let rest = self.rest();
        if !rest.is_empty() {
            config.insert("RestRaw".into(), pairs(rest));
        }
        let platforms: Vec<_> = self.attr("platform").split(',').filter(|p| !p.is_empty()).collect();
        let materials = self.materials.iter().map(|(uri, digests)| json!({"URI": uri, "Digests": digests}));
        let attachments = self
            .attachments
            .iter()
            .map(|a| filled(json!({"Digest": a.digest, "Platform": a.platform, "Type": a.kind})));
        let mut all = filled(json!({
            "Name": self.name,
            "Context": self.context,
            "Dockerfile": self.dockerfile,
            "VCSRepository": self.attr("vcs:source"),
            "VCSRevision": self.attr("vcs:revision"),
            "Target": self.attr("target"),
            "Platform": platforms,
            "NamedContexts": pairs(self.attrs_below("context:")),
            "StartedAt": r.created_at.map(|t| t.to_string()),
            "CompletedAt": r.completed_at.map(|t| t.to_string()),
            "Duration": u64::try_from(took(r, now).as_nanos()).unwrap_or(u64::MAX),
            "Status": self.status(),
            "Error": self.error.as_ref().map(|told| told.to_json(r)),
            "BuildArgs": pairs(self.build_args()),
            "Labels": pairs(self.attrs_below("label:")),
            "Materials": materials.collect::<Vec<_>>(),
            "Attachments": attachments.collect::<Vec<_>>(),
        }));
        all["Ref"] = json!(r.id);
        all["NumCompletedSteps"] = json!(r.steps.completed);
        all["NumTotalSteps"] = json!(r.steps.total);
        all["NumCachedSteps"] = json!(r.steps.cached);
        all["Config"] = Value::Object(config);
        all
    }

    fn pretty(&self, with_id: bool, now: Timestamp) -> String {
        let r = &self.record;
        let platforms = self.attr("platform").replace(',', ", ");
        let mut sections = vec![lines(&[
            ("Name", &self.name),
            ("Ref", if with_id { &r.id } else { "" }),
            ("Context", &self.context),
            ("Dockerfile", &self.dockerfile),
            ("VCS Repository", self.attr("vcs:source")),
            ("VCS Revision", self.attr("vcs:revision")),
            ("Target", self.attr("target")),
            ("Platforms", &platforms),
        ])];
        sections.push(listing("NAMED CONTEXT", &self.attrs_below("context:")));
        sections.push(self.pretty_end(now));
        let config: Vec<_> =
            self.config().into_iter().map(|(_, told, value)| (told.to_owned(), plain(&value))).collect();
        let rest = self.rest();
        let config: Vec<_> = config.iter().chain(&rest).map(|(k, v)| (k.as_str(), v.as_str())).collect();
        sections.push(lines(&config));
        sections.push(listing("BUILD ARG", &self.build_args()));
        sections.push(listing("LABEL", &self.attrs_below("label:")));
        sections.push(self.pretty_materials());
        sections.push(self.pretty_attachments());
        sections.extend(self.error.as_ref().map(Told::pretty));
        sections.push(format!("Print build logs: kiln history logs {}\n", r.id));
        sections.retain(|section| !section.is_empty());
        sections.join("\n")
    }

    fn pretty_end(&self, now: Timestamp) -> String {
        let r = &self.record;
        let local = |at: Timestamp| {
            at.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        let started = r.created_at.map(local).unwrap_or_default();
        let running = if r.completed_at.is_none() { " (running)" } else { "" };
        let lasted = format!("{}{running}", duration(took(r, now)));
        let error = r.error.as_ref().filter(|_| !is_canceled(r)).map_or("", |e| &e.message);
        let canceled = if is_canceled(r) { "Canceled" } else { "" };
        let cached = match r.steps.total {
            0 => 0.0,
            total => f64::from(r.steps.cached) / f64::from(total) * 100.0,
        };
        let steps = format!("{}/{} ({cached:.0}% cached)", r.steps.completed, r.steps.total);
        let warnings = Some(r.steps.warnings).filter(|n| *n > 0).map_or(String::new(), |n| n.to_string());
        lines(&[
            ("Started", &started),
            ("Duration", &lasted),
            ("Error", error),
            ("Status", canceled),
            ("Build Steps", &steps),
            ("Warnings", &warnings),
        ])
    }

    fn pretty_materials(&self) -> String {
        if self.materials.is_empty() {
            return String::new();
        }
        let mut table = Table::default();
        table.row(["URI", "DIGEST"].map(str::to_owned));
        for (uri, digests) in &self.materials {
            table.row([uri.clone(), digests.join(", ")]);
        }
        format!("Materials:\n{table}")
    }

    fn pretty_attachments(&self) -> String {
        if self.attachments.is_empty() {
            return String::new();
        }
        let mut table = Table::default();
        table.row(["DIGEST", "PLATFORM", "TYPE"].map(str::to_owned));
        for a in &self.attachments {
            table.row([a.digest.clone(), a.platform.clone(), a.kind.clone()]);
        }
        format!("Attachments:\n{table}")
    }
}

impl Told {
    fn sources(&self) -> String {
        self.error.source_location().map(progress::source_frame).unwrap_or_default()
    }

    fn to_json(&self, r: &BuildRecord) -> Value {
        use base64::Engine as _;
        let sources = base64::engine::general_purpose::STANDARD.encode(self.sources());
        filled(json!({
            "Code": r.error.as_ref().map(|e| e.code),
            "Message": r.error.as_ref().map(|e| &e.message),
            "Name": self.step,
            "Logs": self.lines,
            "Sources": sources,
        }))
    }

    fn pretty(&self) -> String {
        let mut out = self.sources();
        if !self.lines.is_empty() {
            out.push_str(&format!("Logs:\n> => {}:\n", self.step));
            self.lines.iter().for_each(|line| out.push_str(&format!("> {line}\n")));
        }
        self.error.hints().iter().for_each(|hint| out.push_str(&format!("hint: {hint}\n")));
        out
    }
}

/// The error of a build, with the last words of the step that failed.
async fn told(client: &Client, record: &BuildRecord) -> Result<Option<Told>> {
    let Some(error) = client.build_error(record).await? else { return Ok(None) };
    let failed = error.details().iter().find_map(|d| match d {
        Detail::Vertex { digest } => digest.parse::<oci::Digest>().ok(),
        _ => None,
    });
    let (mut step, mut text) = (String::new(), Vec::new());
    if let Some(failed) = failed {
        let (sender, mut messages) = mpsc::channel(16);
        let (client, id) = (client.clone(), record.id.clone());
        let replay = tokio::spawn(async move { client.replay(&id, sender).await });
        while let Some(message) = messages.recv().await {
            let mut vertices = message.vertexes.into_iter();
            if let Some(vertex) = vertices.find(|v| v.digest == failed) {
                step = vertex.name;
            }
            let logs = message.logs.iter().filter(|log| log.vertex == failed);
            logs.for_each(|log| text.extend_from_slice(&log.data));
        }
        replay.await.map_err(|e| Error::internal(e.to_string()))??;
    }
    let text = String::from_utf8_lossy(&text);
    let all: Vec<_> = text.lines().map(str::to_owned).collect();
    let lines = all[all.len().saturating_sub(LINES)..].to_vec();
    Ok(Some(Told { error, step, lines }))
}

/// What the provenance says that went into the build.
async fn materials(client: &Client, attachments: &[Attachment]) -> Result<Vec<(String, Vec<String>)>> {
    let provenance = attachments.iter().find(|a| a.kind.starts_with("https://slsa.dev/provenance/"));
    let Some(provenance) = provenance else { return Ok(Vec::new()) };
    let bytes = client.blob(&provenance.digest, PROVENANCE).await?;
    let json: Value = serde_json::from_slice(&bytes)
        .map_err(|e| Error::environment(format!("failed to read provenance {}: {e}", provenance.digest)))?;
    let newer = &json["buildDefinition"]["resolvedDependencies"];
    let list = if newer.is_array() { newer } else { &json["materials"] };
    let digests = |digest: &Value| {
        let named: BTreeMap<_, _> = digest.as_object().into_iter().flatten().collect();
        named.into_iter().map(|(name, hex)| format!("{name}:{}", hex.as_str().unwrap_or_default())).collect()
    };
    let material = |m: &Value| (m["uri"].as_str().unwrap_or_default().to_owned(), digests(&m["digest"]));
    Ok(list.as_array().into_iter().flatten().map(material).collect())
}

fn lines(pairs: &[(&str, &str)]) -> String {
    let mut table = Table::default();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        table.row([format!("{name}:"), (*value).to_owned()]);
    }
    table.to_string()
}

fn listing(head: &str, pairs: &[(String, String)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let mut table = Table::default();
    table.row([head.to_owned(), "VALUE".to_owned()]);
    pairs.iter().for_each(|(name, value)| table.row([name.clone(), value.clone()]));
    table.to_string()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Without what is empty.
fn filled(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    Value::Object(map.into_iter().filter(|(_, value)| !is_empty(value)).collect())
}
