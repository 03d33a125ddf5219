use client::{Client, HistoryChange, HistoryEvent, HistoryQuery};
use errdefs::{Error, Result};

use crate::buildctl::args::{CtlArgs, Global, LogsArgs, MonitorArgs};
use crate::buildctl::place::connect;
use crate::buildctl::records::{descriptor_json, parts};
use crate::console;
use crate::display::{Display, Target};
use crate::environment::Environment;
use crate::settings::ProgressMode;

/// Shows what a build told, or tells.
pub(super) async fn logs(args: &LogsArgs, global: &Global, env: &Environment) -> Result<()> {
    let client = connect(global).await?;
    if args.trace {
        return trace(&client, &args.id).await;
    }
    let mode = ProgressMode::choose(&args.progress, false, env)?;
    let (display, sender) = Display::plainly(mode, env, Target::Stdout)?;
    let drawing = display.start();
    let replayed = client.replay(&args.id, sender).await;
    drawing.finish().await?;
    replayed
}

async fn trace(client: &Client, id: &str) -> Result<()> {
    let query = HistoryQuery { id: id.to_owned(), ..HistoryQuery::default() };
    let record = client.records(&query).await?.pop();
    let record = record.ok_or_else(|| Error::not_found(format!("ref {id} not found")))?;
    match record.trace {
        Some(trace) => client.read_blob(&trace.digest, console::out).await,
        None => Err(Error::not_found(format!("ref {id} does not have trace"))),
    }
}

/// Prints a blob.
pub(super) async fn get(digest: &str, global: &Global) -> Result<()> {
    let digest: oci::Digest =
        digest.parse().map_err(|_| Error::user(format!("invalid digest `{digest}`")))?;
    connect(global).await?.read_blob(digest.as_str(), console::out).await
}

/// Changes a record.
pub(super) async fn ctl(args: &CtlArgs, global: &Global) -> Result<()> {
    let change = match args {
        CtlArgs { pin: true, .. } => HistoryChange::Pin,
        CtlArgs { unpin: true, .. } => HistoryChange::Unpin,
        CtlArgs { delete: true, .. } => HistoryChange::Delete,
        _ => return Err(Error::user("must specify one of --pin, --unpin, --delete")),
    };
    connect(global).await?.update_history(&args.id, change).await
}

/// Tells of builds as they come and go.
pub(super) async fn monitor(args: &MonitorArgs, global: &Global) -> Result<()> {
    let query = HistoryQuery {
        active_only: !args.completed,
        id: args.id.clone().unwrap_or_default(),
        ..HistoryQuery::default()
    };
    let client = connect(global).await?;
    let mut told = Ok(());
    let tell = |event: HistoryEvent| {
        told = console::out(describe(&event));
        told.is_ok()
    };
    client.history(&query, tell).await?;
    told
}

fn describe(event: &HistoryEvent) -> String {
    let (kind, r) = parts(event);
    let mut out = format!("event: {kind} ref:{}\n", r.id);
    if r.steps.total != 0 {
        out.push_str(&format!("  cache: {}/{}\n", r.steps.cached, r.steps.total));
    }
    if r.steps.warnings != 0 {
        out.push_str(&format!("  warnings: {}\n", r.steps.warnings));
    }
    let named = [("logs", &r.logs), ("trace", &r.trace)];
    for (name, descriptor) in named.into_iter().filter_map(|(name, d)| Some((name, d.as_ref()?))) {
        out.push_str(&format!("  {name}: {}\n", descriptor_json(descriptor)));
    }
    for descriptor in r.results.values() {
        out.push_str(&format!("  descriptor: {}\n", descriptor_json(descriptor)));
    }
    for (platform, attestations) in &r.attestations {
        let place = if platform.is_empty() { String::new() } else { format!("[{platform}] ") };
        for descriptor in attestations {
            out.push_str(&format!("  {place}attestation: {}\n", descriptor_json(descriptor)));
        }
    }
    out
}
