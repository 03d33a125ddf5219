//! `kiln builder ls`, laid out as `docker buildx ls`.

use std::time::Duration;

use ::builder::{Group, platform_list, short_platforms};
use errdefs::{Error, Result};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::seen::{Seen, look};
use crate::args::{GlobalArgs, LsBuilderArgs};
use crate::console;
use crate::docker::contexts;
use crate::engine::builder::{DEFAULT, store};
use crate::engine::driver::KILN;
use crate::engine::{Builder, Member};
use crate::environment::Environment;
use crate::flags::parse_duration;
use crate::table::line_up;
use crate::template::Template;

/// Columns of the table: their names in templates, and above the table.
const COLUMNS: [(&str, &str); 5] = [
    ("Name", "NAME/NODE"),
    ("DriverEndpoint", "DRIVER/ENDPOINT"),
    ("Status", "STATUS"),
    ("Buildkit", "BUILDKIT"),
    ("Platforms", "PLATFORMS"),
];
/// Before a node in a table.
const INDENT: &str = r" \_ ";

/// A builder of the list.
struct Entry {
    name: String,
    driver: String,
    last_activity: Option<Timestamp>,
    is_current: bool,
    dynamic: bool,
    /// What is wrong with all of it.
    error: Option<Error>,
    nodes: Vec<(Member, Seen)>,
}

/// Lists builders, and tells after a table what is wrong with them.
pub(super) async fn ls(args: &LsBuilderArgs, global: &GlobalArgs, env: &Environment) -> Result<()> {
    let timeout = parse_duration(&args.timeout)?;
    let mut entries = entries(timeout, global, env).await?;
    entries.sort_by_key(|entry| entry.error.is_some());
    let (is_table, form) = match args.format.strip_prefix("table") {
        Some("") => (true, COLUMNS.map(|(field, _)| format!("{{{{.{field}}}}}")).join("\t")),
        Some(form) => (true, form.trim_start().replace("\\t", "\t")),
        None => (false, args.format.clone()),
    };
    let template = Template::parse(&form, &[])?;
    if matches!(template, Template::Json) {
        return entries.iter().try_for_each(|entry| console::out(format!("{}\n", json_of(entry, env))));
    }
    let mut text = String::new();
    if is_table {
        let heads = COLUMNS.iter().chain(&[("LastActivity", "LAST ACTIVITY"), ("Error", "ERROR")]);
        let heads: Map<_, _> = heads.map(|(field, head)| ((*field).to_owned(), json!(head))).collect();
        text.push_str(&(template.fill(&Value::Object(heads))? + "\n"));
    }
    for entry in &entries {
        for row in rows(entry, is_table, !args.no_trunc) {
            text.push_str(&(template.fill(&row)? + "\n"));
        }
    }
    console::out(if is_table { line_up(&text, 10, 3) } else { text })?;
    if is_table {
        console::note(troubles(&entries));
    }
    Ok(())
}

/// All builders with what their engines say, each asked at the same time.
async fn entries(timeout: Duration, global: &GlobalArgs, env: &Environment) -> Result<Vec<Entry>> {
    let mut current = DEFAULT.to_owned();
    let mut builders: Vec<(Group, Result<Builder>)> = Vec::new();
    if let Some(store) = store(env) {
        current = store.current(&contexts::key(env))?.map_or(current, |group| group.name);
        let open = |group: Group| (group.clone(), Builder::of(group, &store, env));
        builders.extend(store.list()?.into_iter().map(open));
    }
    if !builders.iter().any(|(group, _)| group.name == DEFAULT) {
        builders.push((Group::new(DEFAULT, KILN), Builder::own(global, env)));
    }
    let looked = builders.into_iter().map(async |(Group { name, driver, dynamic, .. }, opened)| {
        let is_current = name == current;
        let (error, last_activity, nodes) = match opened {
            Err(e) => (Some(e), None, Vec::new()),
            Ok(builder) => {
                let seen = look(&builder, timeout).await;
                (None, builder.last_activity, builder.nodes.into_iter().zip(seen).collect())
            }
        };
        Entry { name, driver, last_activity, is_current, dynamic, error, nodes }
    });
    Ok(join_all(looked).await)
}

/// One row for the builder, and one for each node.
fn rows(entry: &Entry, is_table: bool, is_short: bool) -> Vec<Value> {
    let mark = if entry.is_current && is_table { "*" } else { "" };
    let indent = if is_table { INDENT } else { "" };
    let text = |error: &Option<Error>| error.as_ref().map_or_else(String::new, Error::to_string);
    let mut rows = vec![json!({
        "Name": format!("{}{mark}", entry.name),
        "DriverEndpoint": entry.driver,
        "LastActivity": entry.last_activity.map_or_else(String::new, |at| at.to_string()),
        "Status": if entry.error.is_some() { "error" } else { "" },
        "Buildkit": "",
        "Platforms": "",
        "Error": text(&entry.error),
    })];
    for (Member { node, .. }, seen) in &entry.nodes {
        let platforms = platform_list(&node.platforms, &seen.platforms);
        rows.push(json!({
            "Name": format!("{indent}{}", node.name),
            "DriverEndpoint": format!("{indent}{}", node.endpoint),
            "LastActivity": "",
            "Status": status(seen),
            "Buildkit": seen.version,
            "Platforms": if is_table && is_short { short_platforms(&platforms) } else { platforms.join(", ") },
            "Error": text(&seen.error),
        }));
    }
    rows
}

fn status(seen: &Seen) -> String {
    seen.status.map_or_else(|| "error".into(), |status| status.to_string())
}

/// What is wrong with builders and nodes.
fn troubles(entries: &[Entry]) -> String {
    let mut lines = Vec::new();
    for Entry { name, error, nodes, .. } in entries {
        lines.extend(error.iter().map(|e| format!("Cannot load builder {name}: {e}\n")));
        for (Member { node, .. }, seen) in nodes {
            let told = |e| format!("Failed to get status for {name} ({}): {e}\n", node.name);
            lines.extend(seen.error.iter().map(told));
        }
    }
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.concat()) }
}

/// The fields of buildx, which leaves out what is empty.
fn json_of(entry: &Entry, env: &Environment) -> Value {
    let proxies = proxies(env);
    let mut json = json!({
        "Name": entry.name,
        "Driver": entry.driver,
        "LastActivity": entry.last_activity.unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
        "Dynamic": entry.dynamic,
        "Nodes": entry.nodes.iter().map(|(member, seen)| node_json(member, seen, &proxies)).collect::<Vec<_>>(),
        "Current": entry.is_current,
    });
    if entry.last_activity.is_none() {
        json["LastActivity"] = json!("0001-01-01T00:00:00Z");
    }
    if let Some(e) = &entry.error {
        json["Err"] = json!(e.to_string());
    }
    json
}

fn node_json(Member { node, .. }: &Member, seen: &Seen, proxies: &Map<String, Value>) -> Value {
    let policy = |rule: &client::GcPolicy| {
        json!({
            "all": rule.all,
            // Go's empty lists are null.
            "filter": (!rule.filter.is_empty()).then_some(&rule.filter),
            "keepDuration": u64::try_from(rule.keep_duration.as_nanos()).unwrap_or(u64::MAX),
            "reservedSpace": rule.reserved_space,
            "maxUsedSpace": rule.max_used_space,
            "minFreeSpace": rule.min_free_space,
        })
    };
    let platforms = ::builder::without_repeats(node.platforms.iter().chain(&seen.platforms).cloned());
    let all = [
        ("Flags", json!(node.flags)),
        ("DriverOpts", json!(node.driver_opts)),
        ("Files", json!(node.files)),
        ("Status", json!(status(seen))),
        ("ProxyConfig", json!(proxies)),
        ("Version", json!(seen.version)),
        ("Err", json!(seen.error.as_ref().map_or_else(String::new, Error::to_string))),
        ("IDs", json!(seen.ids)),
        ("Platforms", json!(platforms.iter().map(ToString::to_string).collect::<Vec<_>>())),
        ("GCPolicy", json!(seen.gc_policy.iter().map(policy).collect::<Vec<_>>())),
        ("Labels", json!(seen.labels)),
    ];
    let mut json = json!({"Name": node.name, "Endpoint": node.endpoint});
    for (name, value) in all {
        let is_empty = match &value {
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !is_empty {
            json[name] = value;
        }
    }
    json
}

/// Proxies of Docker's configuration, which are for all builders.
fn proxies(env: &Environment) -> Map<String, Value> {
    let all = env.docker_config().unwrap_or_default().build_proxies("default");
    let is_told =
        |name: &String| matches!(name.as_str(), "HTTP_PROXY" | "HTTPS_PROXY" | "FTP_PROXY" | "NO_PROXY");
    all.into_iter().filter(|(name, _)| is_told(name)).map(|(name, value)| (name, json!(value))).collect()
}
