use client::{HistoryChange, HistoryEvent, HistoryQuery};
use errdefs::{Error, Result};

use crate::buildctl::args::{FormatArgs, Global};
use crate::buildctl::format::time;
use crate::buildctl::place::connect;
use crate::buildctl::records::{FIELDS, event_json, parts};
use crate::console;
use crate::table::Table;
use crate::template::Template;

/// Lists the records of builds.
pub(super) async fn list(args: &FormatArgs, global: &Global) -> Result<()> {
    let template = args.format.as_deref().map(|t| Template::parse(t, FIELDS)).transpose()?;
    let client = connect(global).await?;
    let mut events = Vec::new();
    let query = HistoryQuery { early_exit: true, ..HistoryQuery::default() };
    let keep = |event| {
        events.push(event);
        true
    };
    client.history(&query, keep).await?;
    print(&events, template.as_ref())
}

/// Deletes the records of builds that are over and not pinned. One that cannot be deleted does not keep others.
pub(super) async fn prune(args: &FormatArgs, global: &Global) -> Result<()> {
    let template = args.format.as_deref().map(|t| Template::parse(t, FIELDS)).transpose()?;
    let client = connect(global).await?;
    let mut events = Vec::new();
    let query = HistoryQuery { early_exit: true, ..HistoryQuery::default() };
    let keep = |event| {
        if matches!(&event, HistoryEvent::Complete(record) if !record.pinned) {
            events.push(event);
        }
        true
    };
    client.history(&query, keep).await?;
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for event in events {
        match client.update_history(&parts(&event).1.id, HistoryChange::Delete).await {
            Ok(()) => deleted.push(event),
            Err(e) => failed.push(e.to_string()),
        }
    }
    print(&deleted, template.as_ref())?;
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::environment(failed.join("\n"))),
    }
}

fn print(events: &[HistoryEvent], template: Option<&Template>) -> Result<()> {
    if let Some(template) = template {
        return events.iter().try_for_each(|event| console::out(template.fill(&event_json(event))? + "\n"));
    }
    let mut table = Table::default();
    table.row(["TYPE", "REF", "CREATED", "COMPLETED", "GENERATION", "PINNED"].map(str::to_owned));
    for event in events {
        let (kind, r) = parts(event);
        let pinned = if r.pinned { "*" } else { "" };
        let (created, completed) = (time(r.created_at), time(r.completed_at));
        let generation = r.generation.to_string();
        table.row([kind.to_owned(), r.id.clone(), created, completed, generation, pinned.to_owned()]);
    }
    console::out(table.to_string())
}
