//! `kiln history`.

mod attachment;
mod bundle;
mod find;
mod import;
mod inspect;
mod jaeger;
mod local;
mod ls;
mod name;
mod show;
mod trace;

use std::process::ExitCode;

use client::{Client, HistoryChange, HistoryQuery};
use errdefs::{Error, Result};

use crate::args::{GlobalArgs, HistoryArgs, HistoryCommand, HistoryLogsArgs, HistoryRmArgs, InspectCommand};
use crate::console;
use crate::display::{Display, Target};
use crate::engine::Builder;
use crate::environment::Environment;
use crate::settings::ProgressMode;

use find::Histories;
pub(crate) use local::Local;

/// Looks back at builds.
pub(crate) async fn history(args: &HistoryArgs, global: &GlobalArgs, env: &Environment) -> Result<ExitCode> {
    let builder = &Builder::find(global, env)?;
    let all = &Histories { builder, global, env };
    match &args.command {
        HistoryCommand::Ls(args) => ls::ls(args, all).await?,
        HistoryCommand::Inspect(args) => match &args.attachment {
            Some(InspectCommand::Attachment(args)) => attachment::print(args, all).await?,
            None => inspect::inspect(&args.build, &args.format, all).await?,
        },
        HistoryCommand::Logs(args) => logs(args, all).await?,
        HistoryCommand::Open(args) => open(&args.build, all).await?,
        HistoryCommand::Trace(args) => trace::trace(args, all).await?,
        HistoryCommand::Rm(args) => rm(args, all).await?,
        HistoryCommand::Export(args) => bundle::export(args, all).await?,
        HistoryCommand::Import(args) => import::import(args, builder.place()?, env).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn logs(args: &HistoryLogsArgs, all: &Histories<'_>) -> Result<()> {
    let found = all.find(&args.build).await?;
    let mode = match ProgressMode::choose(&args.progress, false, all.env)? {
        ProgressMode::Auto => ProgressMode::Plain,
        mode => mode,
    };
    let (display, sender) = Display::plainly(mode, all.env, Target::Stderr)?;
    let drawing = display.start();
    let replayed = found.client.replay(&found.record.id, sender).await;
    drawing.finish().await?;
    replayed
}

/// There is no Docker Desktop to open it in, so it is shown here, with all that it told.
async fn open(build: &str, all: &Histories<'_>) -> Result<()> {
    console::note("There is no Docker Desktop here; this is what it would show.\n\n");
    inspect::inspect(build, "pretty", all).await?;
    logs(&HistoryLogsArgs { build: build.to_owned(), progress: "plain".into() }, all).await
}

/// One that cannot be removed does not keep others. A build is removed on all nodes that took part.
async fn rm(args: &HistoryRmArgs, all: &Histories<'_>) -> Result<()> {
    let mut failed = Vec::new();
    for build in &args.builds {
        if let Err(e) = rm_one(build, all).await {
            failed.push(format!("{build}: {e}"));
        }
    }
    if args.all {
        let removed = all.builder.ask(None, async |client| remove_all(client).await).await?;
        failed.extend(removed.into_iter().flat_map(|(_, failed)| failed));
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::environment(format!("not removed: {}", failed.join("; ")))),
    }
}

async fn rm_one(build: &str, all: &Histories<'_>) -> Result<()> {
    if build.starts_with('^') {
        let found = all.find(build).await?;
        return found.client.update_history(&found.record.id, HistoryChange::Delete).await;
    }
    // A name is taken as it is: records may be there that no list shows.
    let removed = all.at(build, async |builder, node, id| {
        builder.ask(node, async |client| Ok(client.update_history(id, HistoryChange::Delete).await)).await
    });
    let removed: Vec<Result<()>> = removed.await?.into_iter().map(|(_, removed)| removed).collect();
    match removed.iter().any(Result::is_ok) {
        true => Ok(()),
        false => removed.into_iter().collect(),
    }
}

/// Removes all builds that are over. What failed is told.
async fn remove_all(client: &Client) -> Result<Vec<String>> {
    let mut failed = Vec::new();
    for record in client.records(&HistoryQuery::default()).await? {
        if record.completed_at.is_some()
            && let Err(e) = client.update_history(&record.id, HistoryChange::Delete).await
        {
            failed.push(format!("{}: {e}", record.id));
        }
    }
    Ok(failed)
}
