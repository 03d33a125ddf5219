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

use client::{HistoryChange, HistoryQuery};
use errdefs::{Error, Result};

use crate::args::{HistoryArgs, HistoryCommand, HistoryLogsArgs, HistoryRmArgs, InspectCommand};
use crate::console;
use crate::display::{Display, Target};
use crate::engine::{Place, connect};
use crate::environment::Environment;
use crate::settings::ProgressMode;

use find::{find, id};
pub(crate) use local::Local;

/// Looks back at builds.
pub(crate) async fn history(args: &HistoryArgs, place: &Place, env: &Environment) -> Result<ExitCode> {
    match &args.command {
        HistoryCommand::Ls(args) => ls::ls(args, place, env).await?,
        HistoryCommand::Inspect(args) => match &args.attachment {
            Some(InspectCommand::Attachment(args)) => attachment::print(args, place).await?,
            None => inspect::inspect(&args.build, &args.format, place, env).await?,
        },
        HistoryCommand::Logs(args) => logs(args, place, env).await?,
        HistoryCommand::Open(args) => open(&args.build, place, env).await?,
        HistoryCommand::Trace(args) => trace::trace(args, place, env).await?,
        HistoryCommand::Rm(args) => rm(args, place).await?,
        HistoryCommand::Export(args) => bundle::export(args, place, env).await?,
        HistoryCommand::Import(args) => import::import(args, place, env).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn logs(args: &HistoryLogsArgs, place: &Place, env: &Environment) -> Result<()> {
    let client = connect(place).await?;
    let record = find(&client, &args.build).await?;
    let mode = match ProgressMode::choose(&args.progress, false, env)? {
        ProgressMode::Auto => ProgressMode::Plain,
        mode => mode,
    };
    let (display, sender) = Display::plainly(mode, env, Target::Stderr)?;
    let drawing = display.start();
    let replayed = client.replay(&record.id, sender).await;
    drawing.finish().await?;
    replayed
}

/// There is no Docker Desktop to open it in, so it is shown here, with all that it told.
async fn open(build: &str, place: &Place, env: &Environment) -> Result<()> {
    console::note("There is no Docker Desktop here; this is what it would show.\n\n");
    inspect::inspect(build, "pretty", place, env).await?;
    logs(&HistoryLogsArgs { build: build.to_owned(), progress: "plain".into() }, place, env).await
}

/// One that cannot be removed does not keep others.
async fn rm(args: &HistoryRmArgs, place: &Place) -> Result<()> {
    let client = connect(place).await?;
    let mut ids = Vec::new();
    for build in &args.builds {
        // A name is taken as it is: records may be there that no list shows.
        ids.push(match build.starts_with('^') {
            true => find(&client, build).await?.id,
            false => id(build).to_owned(),
        });
    }
    if args.all {
        let records = client.records(&HistoryQuery::default()).await?;
        ids.extend(records.into_iter().filter(|r| r.completed_at.is_some()).map(|r| r.id));
    }
    let mut failed = Vec::new();
    for id in ids {
        if let Err(e) = client.update_history(&id, HistoryChange::Delete).await {
            failed.push(format!("{id}: {e}"));
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::environment(format!("not removed: {}", failed.join("; ")))),
    }
}
