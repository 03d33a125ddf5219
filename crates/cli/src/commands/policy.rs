//! `kiln policy`, with the output and the exit codes of `docker buildx policy`.

mod eval;
mod test;

use std::process::ExitCode;
use std::sync::Arc;

use errdefs::{Error, Result};
use session::Attachables;

use crate::args::{GlobalArgs, PolicyCommand};
use crate::engine::Builder;
use crate::environment::Environment;
use crate::nodes::Nodes;
use crate::policies::{Engine, Files, Host, Place};

pub(crate) async fn policy(
    command: &PolicyCommand,
    global: &GlobalArgs,
    env: &Environment,
) -> Result<ExitCode> {
    match command {
        PolicyCommand::Eval(args) => eval::eval(args, global, env).await,
        PolicyCommand::Test(args) => test::test(args, global, env).await,
    }
}

/// The first engine of the builder; it is reached here.
async fn engine(global: &GlobalArgs, env: &Environment) -> Result<Engine> {
    let builder = Builder::find(global, env)?;
    let nodes = Nodes::new(&builder);
    let client = nodes.first().await?.clone();
    let docker = Arc::new(env.docker_config()?);
    Ok(Engine::new(client, Attachables::new().auth(docker as Arc<_>)))
}

/// A policy here reads files below the folder that the command runs in.
fn host(engine: &Arc<Engine>, env: &Environment) -> Arc<dyn policy::Host> {
    let place = Place { cwd: env.cwd.clone(), folder: Some(env.cwd.clone()), ..Place::default() };
    let files = Arc::new(Files::new(place, Arc::clone(engine)));
    Arc::new(Host::new(files, Arc::clone(engine), None, None))
}

/// Work that blocks, off the runtime's own threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::internal(format!("a policy broke off: {e}")))?
}
