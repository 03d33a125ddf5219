//! `kiln imagetools`: images in registries and in folders, without an engine.

mod combine;
mod copy;
mod create;
mod inspect;
mod load;
mod location;
mod tools;
mod values;

use errdefs::Result;

use crate::args::{GlobalArgs, ImagetoolsCommand};
use crate::environment::Environment;

pub(crate) async fn imagetools(
    command: &ImagetoolsCommand,
    global: &GlobalArgs,
    env: &Environment,
) -> Result<()> {
    let tools = tools::Tools::new(global, env)?;
    match command {
        ImagetoolsCommand::Create(args) => create::create(args, tools, env).await,
        ImagetoolsCommand::Inspect(args) => inspect::inspect(args, &tools).await,
    }
}
