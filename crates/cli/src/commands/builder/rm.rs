//! Removing builders.

use std::process::ExitCode;

use ::builder::{Locked, Store};
use errdefs::{Error, Result, ResultExt as _};
use futures_util::future::join_all;

use super::seen::look;
use super::there;
use crate::args::{GlobalArgs, RmBuilderArgs};
use crate::commands::confirm::confirm;
use crate::console;
use crate::docker::contexts;
use crate::engine::builder::{DEFAULT, asked_for};
use crate::engine::driver::Status;
use crate::engine::{Builder, Member};
use crate::environment::Environment;
use crate::flags::parse_duration;

const INACTIVE: &str = "This will remove all builders that are not in running state.";

/// Removes builders, with their engines where those are Kiln's.
pub(super) async fn rm(args: &RmBuilderArgs, global: &GlobalArgs, env: &Environment) -> Result<ExitCode> {
    if args.all_inactive && !args.force && !confirm(INACTIVE, env)? {
        return Ok(ExitCode::SUCCESS);
    }
    let store = there(env)?;
    if args.all_inactive {
        inactive(args, &store, env).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = match (&args.names[..], asked_for(global, env)) {
        ([], Some(name)) => vec![name],
        ([], None) => vec![Builder::current(global, env)?.name],
        (names, _) => names.to_vec(),
    };
    let locked = store.lock()?;
    let removed = names.iter().map(async |name| match one(name, args, &store, &locked, env).await {
        Ok(()) => {
            console::note(format_args!("{name} removed\n"));
            true
        }
        Err(e) => {
            console::note(format_args!("failed to remove {name}: {e}\n"));
            false
        }
    });
    match join_all(removed).await.into_iter().all(|is| is) {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Error::environment("failed to remove one or more builders")),
    }
}

/// Whatever becomes of its engines, the store forgets it.
async fn one(
    name: &str,
    args: &RmBuilderArgs,
    store: &Store,
    locked: &Locked<'_>,
    env: &Environment,
) -> Result<()> {
    let Some(group) = store.get(name)? else {
        return Err(match () {
            () if name == DEFAULT => Error::user(
                "context builder cannot be removed, run `docker context rm default` to remove this context",
            ),
            () if contexts::names(env)?.iter().any(|context| context == name) => Error::user(format!(
                "context builder cannot be removed, run `docker context rm {name}` to remove this context"
            )),
            () => Error::not_found(format!("no builder {name:?} found")),
        });
    };
    let engines = match Builder::of(group, store, env) {
        _ if args.keep_daemon => Ok(()),
        Ok(builder) => engines(&builder, args).await,
        Err(e) => Err(e),
    };
    locked.remove(name)?;
    engines
}

/// Stops and removes the engines of all nodes; the first error counts once all are through.
async fn engines(builder: &Builder, args: &RmBuilderArgs) -> Result<()> {
    let gone = join_all(builder.nodes.iter().map(|member| engine(member, args))).await;
    gone.into_iter().collect()
}

async fn engine(Member { node, driver }: &Member, args: &RmBuilderArgs) -> Result<()> {
    let name = &node.name;
    let driver =
        driver.as_deref().map_err(Clone::clone).with_context(|| format!("failed to load node {name}"))?;
    driver.stop().await.with_context(|| format!("failed to stop node {name}"))?;
    driver.remove(args.keep_state).await.with_context(|| format!("failed to remove node {name}"))
}

/// Removes all builders of which no engine runs.
async fn inactive(args: &RmBuilderArgs, store: &Store, env: &Environment) -> Result<()> {
    let timeout = parse_duration(&args.timeout)?;
    let locked = store.lock()?;
    for group in store.list()?.into_iter().filter(|group| !group.dynamic) {
        let name = group.name.clone();
        let builder = Builder::of(group, store, env).with_context(|| format!("cannot load {name}"))?;
        if look(&builder, timeout).await.iter().any(|seen| seen.status == Some(Status::Running)) {
            continue;
        }
        let gone = engines(&builder, args).await;
        locked.remove(&name)?;
        console::note(format_args!("{name} removed\n"));
        gone?;
    }
    Ok(())
}
