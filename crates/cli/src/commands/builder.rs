//! `kiln builder`, which is also `docker buildx create`, `ls` and so on.

mod boot;
mod create;
mod inspect;
mod ls;
mod rm;
mod seen;

use std::process::ExitCode;

use ::builder::Store;
use errdefs::{Error, Result, ResultExt as _};

use crate::args::{BuilderCommand, GlobalArgs, UseBuilderArgs};
use crate::docker::contexts;
use crate::engine::Builder;
use crate::engine::builder::{DEFAULT, asked_for, store};
use crate::environment::Environment;

/// Looks after builders.
pub(crate) async fn builder(
    command: &BuilderCommand,
    global: &GlobalArgs,
    env: &Environment,
) -> Result<ExitCode> {
    match command {
        BuilderCommand::Create(args) if args.leave => create::leave(args, env).await?,
        BuilderCommand::Create(args) => create::create(args, global, env).await?,
        BuilderCommand::Ls(args) => ls::ls(args, global, env).await?,
        BuilderCommand::Inspect(args) => inspect::inspect(args, global, env).await?,
        BuilderCommand::Use(args) => use_it(args, global, env)?,
        BuilderCommand::Stop(args) => stop(&one(args.name.as_deref(), global, env)?).await?,
        BuilderCommand::Rm(args) => return rm::rm(args, global, env).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// The builder that a command is about.
fn one(name: Option<&str>, global: &GlobalArgs, env: &Environment) -> Result<Builder> {
    match name.map(str::to_owned).or_else(|| asked_for(global, env)) {
        Some(name) => Builder::named(&name, global, env),
        None => Builder::current(global, env),
    }
}

/// The store, which has to have a place.
fn there(env: &Environment) -> Result<Store> {
    let homeless = || Error::environment("HOME is not set, so there is no place to keep builders");
    store(env).ok_or_else(|| homeless().hint("name a folder in BUILDX_CONFIG"))
}

fn use_it(args: &UseBuilderArgs, global: &GlobalArgs, env: &Environment) -> Result<()> {
    let (store, key) = (there(env)?, contexts::key(env));
    let name = args.name.clone().or_else(|| asked_for(global, env)).unwrap_or_default();
    let locked = store.lock()?;
    if store.get(&name)?.is_some() {
        return locked.set_current(&key, &name, args.global, args.default);
    }
    if name == DEFAULT {
        return locked.set_current(&key, "", false, false);
    }
    let name = ::builder::check_name(&name).context(format!("failed to find instance {name:?}"))?;
    if contexts::names(env)?.contains(&name) {
        return Err(Error::user(format!("run `docker context use {name}` to switch to context {name}")));
    }
    let path = store.instance(&name);
    let message =
        format!("failed to find instance {name:?}: open {}: no such file or directory", path.display());
    Err(Error::not_found(message).hint("`kiln builder ls` lists builders"))
}

/// All nodes are stopped, also after one that does not.
async fn stop(builder: &Builder) -> Result<()> {
    let mut failed = None;
    for member in &builder.nodes {
        let stopped = match member.driver() {
            Ok(driver) => driver.stop().await,
            Err(e) => Err(e),
        };
        if let Err(e) = stopped {
            failed = Some(e.context(format!("failed to stop node {}", member.node.name)));
        }
    }
    failed.map_or(Ok(()), Err)
}
